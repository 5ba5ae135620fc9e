"""How fast the row stream is on this machine, against plain forwards, peers and its arithmetic.

Everything is measured in a process of its own, with the same weights, image, frozen statistics and
number of threads, so that neither memory nor thread pools of one weigh on another. The stream and
its matrix products take turns, so that a slower minute of the machine is one of both.
"""

from unetmm.benchmark.result import BenchmarkResult, Measurement
from unetmm.benchmark.session import Step, run_benchmark
from unetmm.benchmark.setting import LAYOUTS, Setting

__all__ = ["LAYOUTS", "Measurement", "BenchmarkResult", "Setting", "Step", "run_benchmark"]
