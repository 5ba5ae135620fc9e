"""What a plan costs in time: how an image is divided, and the price of doing it that way.

What a step costs: its multiply-adds, the weights that stream through the cache once a step, the
maps where a band of them is larger than the cache, a fixed price a stage, and waiting where threads
share columns. Reading and writing go on beside that, but take the cores' time as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from unetmm.compiling.processor import LANES, multiplies_tiles
from unetmm.engine.cpu.precision import Precision
from unetmm.engine.layout import FLOAT_BYTES, Block, Ending, Layout
from unetmm.engine.target import Kind
from unetmm.geometry import Span, round_up, split_axis
from unetmm.nets.shapes import macs_per_px
from unetmm.plan.memory import packed_bytes

if TYPE_CHECKING:
    from unetmm.plan.types import Cut, Division, Request

MACS_PER_S = 85e9 * LANES / 16
"""Multiply-adds a second of one thread, of 136e9 that the vector units can do."""
SPEED: dict[Precision, float] = {"fp32": 1.0, "bf16": 1.9 if multiplies_tiles() else 1.3}
"""How much faster a whole net is, of which only the blocks' products are: 1.2 to 1.4 by vectors,
1.3 (tiny) to 2.6 (NAFNet-32) by tiles."""
WEIGHT_BYTES_PER_S = 20e9
"""Rate at which weights come from beyond a core's own cache, once a step and thread."""
CACHE_BYTES = 8 * 10**6
"""Of a core's share in the last cache: what it holds of a band from one stage to the next."""
MAP_BYTES_PER_S = 20e9
"""Rate at which a thread reads and writes maps that the cache does not hold."""
TORCH_BYTES_PER_S: dict[Kind, float] = {"torch": 6e9, "cuda": 1e12}
"""Rate at which torch operations read and write maps on a core, or on a GPU (an H200)."""
TORCH_PASSES = 12
"""Times that torch operations read and write a map, for each time that a kernel does."""
OPERATIONS = 16
"""Torch operations that a stage is made of."""
OPERATION_S = 8e-6
"""Fixed price of one of them."""
STORAGE_BYTES_PER_S = 250e6
"""Rate at which chunks are read and decoded, or encoded and written; whole chunks count."""
CONVERT_S = 2.5e-9
"""Turning one sample into the net's scale and back."""
STAGE_S = 1e-6
"""Fixed price of one stage in one step."""
PHASE_S = 4e-6
"""Waiting for the neighbours, once or twice a stage, where threads share columns."""
WAKE_S = 30e-6
"""Starting a step on several threads."""
WAKE_THREAD_S = 5e-6
"""The same, for each thread."""


def divisions(
    length_px: int, align_px: int, chunk_px: int, layout: Layout, limit: int
) -> Iterator[Division]:
    """Ways to divide an axis: every small number of pieces, then ever larger steps."""
    seen = set()
    pieces, most = 1, min(limit, -(-length_px // align_px))
    while True:
        spans = split_axis(length_px, pieces, align_px, layout.halo_px, layout.config.stride_px)
        widest = max(s.read_px for s in spans)
        if widest not in seen:  # more pieces that are not narrower only add halo
            seen.add(widest)
            yield Division(
                tuple(spans),
                widest,
                max(s.write_px for s in spans),
                max(s.write_stop - s.read_start for s in spans),
                max(_touched(s, chunk_px, length_px) for s in spans),
            )
        if pieces >= most:
            return
        pieces = min(most, pieces + 1 + pieces // 12)


def _touched(span: Span, chunk_px: int, length_px: int) -> int:
    """Pixels of the chunks that a span's read box touches along an axis."""
    first = span.read_start // chunk_px * chunk_px
    return min(length_px, round_up(span.read_stop, chunk_px)) - first


def device_s(request: Request, cut: Cut, threads: int) -> float:
    """Seconds of the whole run by torch operations, which compute whole bands, one strip at a time.

    They wait for memory, on a GPU as on a CPU, so bytes are what is counted.
    """
    layout, kind = cut.layout, request.target.kind
    steps = -(-(cut.segments.new_px + layout.lag_rows) // layout.band_rows)
    rows = steps * layout.band_rows  # a band that is begun is computed, for the lag's rows as well
    passes = TORCH_PASSES * request.target.item_bytes / FLOAT_BYTES
    map_bytes = rows * cut.strips.read_px * _map_bytes_per_px(layout) * passes
    compute_s = map_bytes / TORCH_BYTES_PER_S[kind] / threads
    compute_s += steps * len(layout.stages) * OPERATIONS * OPERATION_S
    return cut.tasks * (compute_s * request.pixels.nets + _storing_s(request, cut))


def least_s(request: Request, cut: Cut, cores: int) -> float:
    """What the arithmetic takes at least, however the cores are used."""
    read_px = sum(s.read_px for s in cut.strips.spans) * request.pixels.height
    return _arithmetic_s(request, read_px * request.planes) / cores


def _arithmetic_s(request: Request, pixels: int) -> float:
    return (
        pixels * _macs_per_px(request.config) / (MACS_PER_S * SPEED[request.target.host_precision])
    )


_macs_per_px = lru_cache(maxsize=64)(macs_per_px)


def estimated_s(request: Request, cut: Cut, workers: int, threads: int) -> float:
    """Seconds of the whole run: rounds of `workers` tasks, each with its reading and writing."""
    layout, stride = cut.layout, request.config.stride_px
    steps = -(-(cut.segments.new_px + layout.lag_rows) // layout.band_rows)
    # The thread with the most columns counts.
    columns = -(-(cut.strips.read_px // stride) // threads) * stride
    compute_s = _arithmetic_s(request, cut.segments.new_px * columns)
    compute_s += steps * _step_s(layout, threads, request.target.host_precision)
    in_work_bytes = (
        workers * layout.band_rows * cut.strips.read_px * request.config.width * FLOAT_BYTES
    )
    beyond_cache = max(0.0, 1 - CACHE_BYTES * workers * threads / in_work_bytes)
    # The fine stages take turns with pieces of a band, so a map leaves the cache only between the
    # encoder and the decoder, which both write and read one.
    map_bytes = cut.segments.new_px * columns * 4 * FLOAT_BYTES * request.config.width
    compute_s += beyond_cache * map_bytes / MAP_BYTES_PER_S
    task_s = compute_s * request.pixels.nets + _storing_s(request, cut)
    return -(-cut.tasks // workers) * task_s


@lru_cache(maxsize=64)
def _map_bytes_per_px(layout: Layout) -> float:
    """Bytes that the stages read and write, for each image pixel."""
    made = [
        s.ring if isinstance(s, Block) else s.target
        for s in layout.stages
        if not isinstance(s, Ending)
    ]
    return sum(2 * FLOAT_BYTES * ring.channels / ring.scale**2 for ring in made)


@lru_cache(maxsize=4096)
def _step_s(layout: Layout, threads: int, precision: Precision) -> float:
    """What a step costs besides its arithmetic."""
    stages = len(layout.stages)
    seconds = packed_bytes(layout, LANES, precision) / WEIGHT_BYTES_PER_S + STAGE_S * stages
    if threads > 1:
        phases = stages + len(layout.blocks)
        seconds += phases * PHASE_S + WAKE_S + threads * WAKE_THREAD_S
    return seconds


def _storing_s(request: Request, cut: Cut) -> float:
    """Seconds of reading a task's box, of converting its samples and of writing them."""
    pixels, strips, segments = request.pixels, cut.strips, cut.segments
    samples = segments.write_px * strips.read_px * pixels.samples
    stored_bytes = samples * pixels.itemsize
    if not request.source.by_row:  # every chunk that is touched is decoded
        touched = segments.touched_px * strips.touched_px
        stored_bytes += touched * pixels.samples * pixels.itemsize
    return samples * CONVERT_S + stored_bytes / STORAGE_BYTES_PER_S
