"""`unetmm benchmark`: what is under way on stderr, and the table of what was found."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from unetmm.errors import UnetmmError
from unetmm_cli import display
from unetmm_cli.options.arguments import AsJson
from unetmm_cli.options.former_names import with_former_names

if TYPE_CHECKING:
    from unetmm.benchmark import Setting, Step

ALL_PEERS = "all"
"""Word for every peer that is installed."""

ModelName = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Of the zoo, a weight file, or nafnet-32 or unetmm-32 with random weights.",
    ),
]
Size = Annotated[
    int, typer.Option(metavar="N", min=1, help="Height and width of the image in pixels.")
]
Repeat = Annotated[int, typer.Option(metavar="N", min=1, help="Runs of everything.")]
RepeatSlow = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Runs of what takes more than 20 s.")
]
Peers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="openvino, onnxruntime (-tiled), dask, monai, tiler, or all that are installed; "
        "may be repeated.",
    ),
]
Cores = Annotated[
    int, typer.Option(metavar="N", min=0, help="Threads of everything; 0 for all cores.")
]


@with_former_names
def benchmark(
    model: ModelName = "tiny-rgb",
    size: Size = 2048,
    repeat: Repeat = 5,
    repeat_slow: RepeatSlow = None,
    peer: Peers = None,
    cores: Cores = 0,
    as_json: AsJson = False,
) -> None:
    """Measure speed and memory on this machine, against plain forwards and other tools.

    Times are medians in seconds a megapixel, each from a process of its own. Takes minutes.

    Example: unetmm benchmark --model tiny-rgb --size 1024 --peer all
    """
    from unetmm.benchmark import Setting
    from unetmm.process import available_cores

    threads = cores or available_cores()
    setting = Setting(model, size, repeat, repeat_slow or 0, threads, tuple(peer or ()))
    measure(setting, as_json)


def measure(setting: Setting, as_json: bool) -> None:
    """Run a benchmark and show what it found.

    Raises
    ------
    UnetmmError
        If model or peers cannot be used.
    """
    from dataclasses import replace

    from unetmm.benchmark import run_benchmark
    from unetmm.benchmark.session import installed_peers
    from unetmm_cli.display.benchmark import show_benchmark

    if ALL_PEERS in setting.peers:
        setting = replace(setting, peers=installed_peers())
    if os.name != "posix":
        raise UnetmmError("benchmark measures processes as Linux and macOS allow; not on Windows")
    # A batch system's signal ends the run as Ctrl-C does: its processes and files go with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcome = run_benchmark(setting, _show)
    if sys.stderr.isatty():
        display.progress_line("")
    if as_json:
        display.result_json(outcome.as_dict())
    else:
        show_benchmark(outcome)


def _show(step: Step) -> None:
    took = f" {step.seconds:.2f} s" if step.seconds else ""
    text = f"{step.label}: {step.what}{took}"
    if sys.stderr.isatty() and not step.what.startswith("failed"):
        display.progress_line(text)
    else:
        display.say(text)
