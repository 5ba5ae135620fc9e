"""What the compiled kernels cost in time.

A step costs its multiply-adds, the weights that stream through the cache once a step, the maps
where a band of them is larger than the cache, a fixed price a stage, and waiting where threads
share columns.
"""

from __future__ import annotations

from functools import lru_cache

from unetmm.compiling.processor import LANES, multiplies_tiles
from unetmm.engine.cpu.footprint import packed_bytes
from unetmm.engine.layout import FLOAT_BYTES, Layout
from unetmm.engine.precision import Precision
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import macs_per_px

MACS_PER_S = 85e9 * LANES / 16
"""Multiply-adds a second of one thread, of 136e9 that the vector units can do."""
SPEED: dict[Precision, float] = {"fp32": 1.0, "bf16": 1.9 if multiplies_tiles() else 1.3}
"""Factor by which a whole net is faster, of which only the blocks' products are: 1.2 to 1.4 by
vectors, 1.3 (tiny) to 2.6 (NAFNet-32) by tiles."""
WEIGHT_BYTES_PER_S = 20e9
"""Rate at which weights come from beyond a core's own cache, once a step and thread."""
CACHE_BYTES = 8 * 10**6
"""Bytes of a core's share in the last cache that hold a band from one stage to the next."""
MAP_BYTES_PER_S = 20e9
"""Rate at which a thread reads and writes maps that the cache does not hold."""
STAGE_S = 1e-6
"""Fixed price of one stage in one step."""
PHASE_S = 4e-6
"""Waiting for the neighbours, once or twice a stage, where threads share columns."""
WAKE_S = 30e-6
"""Starting a step on several threads."""
WAKE_THREAD_S = 5e-6
"""Time to start a step on each of several threads, in seconds."""


def compute_s(
    layout: Layout, precision: Precision, rows: int, width_px: int, workers: int, threads: int
) -> float:
    """Seconds of one stream over `rows` new rows of a strip, of `workers` side by side."""
    stride, width = layout.config.stride_px, layout.config.width
    steps = -(-(rows + layout.lag_rows) // layout.band_rows)
    # The thread with the most columns counts.
    columns = -(-(width_px // stride) // threads) * stride
    seconds = arithmetic_s(layout.config, precision, rows * columns)
    seconds += steps * _step_s(layout, threads, precision)
    in_work_bytes = workers * layout.band_rows * width_px * width * FLOAT_BYTES
    beyond_cache = max(0.0, 1 - CACHE_BYTES * workers * threads / in_work_bytes)
    # The fine stages take turns with parts of a band, so a map leaves the cache only between the
    # encoder and the decoder, which both write and read one.
    map_bytes = rows * columns * 4 * FLOAT_BYTES * width
    seconds += beyond_cache * map_bytes / MAP_BYTES_PER_S
    return seconds


def arithmetic_s(config: NetConfig, precision: Precision, pixels: int) -> float:
    """Seconds that the multiply-adds of so many pixels take one core."""
    return pixels * _macs_per_px(config) / (MACS_PER_S * SPEED[precision])


_macs_per_px = lru_cache(maxsize=64)(macs_per_px)


@lru_cache(maxsize=4096)
def _step_s(layout: Layout, threads: int, precision: Precision) -> float:
    """What a step costs besides its arithmetic."""
    stages = len(layout.stages)
    seconds = packed_bytes(layout, LANES, precision) / WEIGHT_BYTES_PER_S + STAGE_S * stages
    if threads > 1:
        phases = stages + len(layout.blocks)
        seconds += phases * PHASE_S + WAKE_S + threads * WAKE_THREAD_S
    return seconds
