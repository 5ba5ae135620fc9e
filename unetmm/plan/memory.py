"""Projected peak memory of a run, term by term. Integers only.

The streams' terms come from the engine, which adds up the very layout that it allocates; the
runtime term is measured (tests/plan/test_budget.py keeps it honest).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from unetmm.compiling.processor import LANES
from unetmm.engine.contract import DeviceTerms, Engine, Pixels
from unetmm.engine.cpu.footprint import frozen_bytes, observing_bytes
from unetmm.engine.layout import FLOAT_BYTES, Layout
from unetmm.engine.layouts import observing_layout
from unetmm.geometry import round_up
from unetmm.intensities import outliers, points
from unetmm.intensities.brackets import (
    BLOCK_ROWS,
    BOX_FLOATS,
    CELL_PX,
    box_nets,
    box_px,
    window_px,
    window_reach,
)
from unetmm.intensities.guard import guard_bytes
from unetmm.intensities.standins import REACH_PX, standing_bytes
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import parameter_count, tensor_shapes

if TYPE_CHECKING:
    from unetmm.io.image import Sink, Source

RUNTIME_BYTES = 214 * 10**6
"""Python with numpy, Numba's runtime, kernels, Dask and the image libraries, before any image. The
locked packages take 50 MB less, older ones more; SciPy counts too, which Numba loads if it can."""
WORKER_BYTES = 2 * 10**6
"""Cost of a worker's threads (reader, compute, writer) besides its buffers: the stacks as far as
used, arenas, small objects. Up to 8 workers less was measured (docs/measured/speed.md)."""

BOX_TABLES_BYTES = 300 * 10**3
"""Tables of the streams for boxes of all sizes, which share the memory of the largest."""
LAYER_COPIES = 8
"""Largest number of copies of a layer's matrix while it is folded."""
MARK_BYTES = 250
"""Cost of marking a block of rows of a cell: two numbers in a set, twice for a moment."""


@dataclass(frozen=True)
class Storage:
    """What reading from a source or writing to a sink costs."""

    chunk: tuple[int, int]
    """Rows and columns of the unit of storage."""
    resident_bytes: int
    """Bytes occupied as long as it is open."""
    scratch_bytes: Callable[[int, int], int]
    """Most bytes beyond the data itself to read or write a box (height, width)."""
    by_row: bool = False
    """Whether a few rows cost no more than their pixels: in memory, or stored plain."""


def source_storage(source: Source) -> Storage:
    """What reading from `source` costs."""
    info = source.info
    is_one_chunk = info.chunk == (info.height, info.width)
    whole = is_one_chunk and source.resident_bytes >= info.plane_bytes
    by_row = whole or source.read_bytes(1, info.width) == 0
    return Storage(info.chunk, source.resident_bytes, source.read_bytes, by_row)


def sink_storage(sink: Sink, output_scale: int = 1) -> Storage:
    """What writing to `sink` costs, in pixels of the input.

    output_scale: pixels of the output per pixel of the input and axis.
    """
    rows, columns = sink.chunk

    def write_bytes(height: int, width: int) -> int:
        return sink.write_bytes(height * output_scale, width * output_scale)

    chunk = rows // output_scale, columns // output_scale
    return Storage(chunk, sink.resident_bytes, write_bytes)


def in_memory_storage(chunk: tuple[int, int]) -> Storage:
    """An array that the caller holds anyway."""
    return Storage(chunk, 0, lambda height, width: 0, by_row=True)


@dataclass(frozen=True)
class Terms:
    """Bytes of the projected peak; the peak is their sum."""

    runtime: int
    """Python, libraries and threads, before any image."""
    weights: int
    """Matrices of the net, and those with an image's attention folded in."""
    stream_state: int
    """Rows that layers keep: rings and depthwise rows of all live strips."""
    skip: int
    """Rows held for the decoder: E' of a UNet--, or the skip queues of a NAFNet."""
    image_rows: int
    """The input image kept for the global residual, and its rows as stored."""
    arena: int
    """Working set of the inner loops and the band that leaves the stream."""
    source: int
    """Open input, and the rows read from it."""
    sink: int
    """Open output, and the rows written to it."""
    calibration: int
    """Need of loading the net and of calibration beyond the streams, which they precede."""

    excess: int = 0
    """Need of restoring what exceeds the base range: cells, and a stream for them."""
    outliers: int = 0
    """Rows held back until it is known which of their pixels no optics can make."""

    @property
    def total(self) -> int:
        return sum(getattr(self, f.name) for f in fields(self))


def loading_bytes(config: NetConfig) -> int:
    """Tensors as loaded, and what folding a block of them takes; given back before anything runs.

    Folding works on a few float64 copies of a block's largest matrix, (2c, c); on some float32
    copies of a layer's.
    """
    if config.layers:
        largest = max(map(math.prod, tensor_shapes(config).values()), default=0)
        return FLOAT_BYTES * (parameter_count(config) + LAYER_COPIES * largest)
    widest = config.width << config.levels
    return FLOAT_BYTES * parameter_count(config) + 4 * 8 * 2 * widest**2


def slab_rows(storage: Storage, band_rows: int, height: int) -> int:
    """Rows read at once: whole chunks, at least a band; a band where rows cost nothing more."""
    chunk_rows = storage.chunk[0]
    if storage.by_row:
        return min(band_rows, height)
    return min(height, round_up(band_rows, chunk_rows))


def project(
    engine: Engine,
    layout: Layout,
    pixels: Pixels,
    source: Storage,
    sink: Storage,
    workers: int,
    threads: int,
    read_px: int,
    write_px: int,
    calibration_bytes: int,
    held_bytes: int = 0,
    exceeds: bool = False,
    searches: bool = False,
) -> tuple[Terms, DeviceTerms | None]:
    """Terms of a run with `workers` live strips that read `read_px` and write `write_px` columns,
    and those of a GPU's memory where there is one.

    threads: that share the columns of each live stream.
    calibration_bytes: what calibration allocates while no strip is live. Before it the tensors are
        loaded and folded, and given back.
    held_bytes: what the process holds already beyond a fresh one.
    exceeds: whether values can leave the base range.
    searches: whether outliers are looked for.
    """
    config, band = layout.config, layout.band_rows
    streams = engine.footprint(layout, read_px, pixels, workers, threads)
    # The rows as stored, for what must pass through unchanged.
    kept_rows = layout.lag_rows + (1 + engine.delay_bands) * band
    kept_bytes = kept_rows * write_px * pixels.kept_bytes
    stored = workers * (kept_bytes + gap_bytes(pixels, band, read_px))
    stored += workers * opacity_bytes(pixels, band, kept_rows, write_px, config.output_scale)
    mirrored = workers * pixels.nets * mirrored_bytes(config, read_px)
    across = read_px + 2 * outliers.REACH_PX * searches, write_px
    read, write = _storing_bytes(pixels, source, sink, band, *across, config.output_scale)
    under_way = read_px * (kept_rows + band + 4 * BLOCK_ROWS + rows_of_cells(config))
    cells = excess_bytes(layout, pixels, source, write_px, threads, under_way)
    windows = window_px(config.stride_px), box_nets(threads) * exceeds
    searching = workers * outlier_bytes(pixels, band, read_px, kept_rows * write_px, *windows)
    before = max(calibration_bytes, loading_bytes(config))
    before -= streams.streaming + stored + mirrored + workers * (read + write)
    before -= (excess := workers * cells * exceeds) + searching * searches
    terms = Terms(
        RUNTIME_BYTES + held_bytes + workers * WORKER_BYTES + streams.runtime,
        streams.weights, streams.stream_state, streams.skip,
        image_rows=streams.image_rows + mirrored + stored, arena=streams.arena,
        source=source.resident_bytes + workers * read, sink=sink.resident_bytes + workers * write,
        calibration=max(0, before), excess=excess, outliers=searching * searches,
    )  # fmt: skip
    return terms, streams.device


def excess_bytes(
    layout: Layout, pixels: Pixels, source: Storage, write_px: int, threads: int, under_way_px: int
) -> int:
    """Bytes of a worker for what exceeds the base range: rows as they are, streams of boxes for
    every net, the windows that are worked on, and the cells of a row of them across the strip.

    under_way_px: pixels that are under way, those of a band, and of some blocks.
    """
    config = layout.config
    side_px, most_px, nets = (
        window_px(config.stride_px), box_px(config.stride_px), box_nets(threads)
    )  # fmt: skip
    observing = observing_layout(config, most_px)
    stream = observing_bytes(observing, most_px, most_px, LANES, 1) + BOX_TABLES_BYTES
    matrices = frozen_bytes(observing, LANES)
    box = side_px**2 * (config.in_channels * BOX_FLOATS * FLOAT_BYTES)
    pixel_bytes = pixels.samples * pixels.itemsize + 2 * pixels.mask_bytes
    read = side_px**2 * pixel_bytes + source.scratch_bytes(side_px, side_px)
    read += gap_bytes(pixels, side_px, side_px)
    across = write_px // CELL_PX + 2
    value_bytes = (config.in_channels + 1) * FLOAT_BYTES
    cells = across * CELL_PX**2 * value_bytes
    marks = across * (layout.lag_rows + 2 * layout.band_rows) * MARK_BYTES // BLOCK_ROWS
    held = under_way_px * config.in_channels * FLOAT_BYTES
    return pixels.nets * (nets * (stream + matrices) + cells + marks + held) + nets * (box + read)


def rows_of_cells(config: NetConfig) -> int:
    """Rows that are kept because a cell may ask for them."""
    return CELL_PX + window_reach(config.stride_px)


def outlier_bytes(
    pixels: Pixels, band: int, read_px: int, kept_px: int, box_px: int = 0, boxes: int = 0
) -> int:
    """Bytes of a worker for the search for outliers: windows of its rows, rows that are held back,
    flags of those that are under way, and boxes of what exceeds the base range.

    kept_px: pixels that are under way.
    box_px: height and width of a box, of which there are so many at once.
    """
    samples, reach = pixels.samples, outliers.REACH_PX
    wide_px = read_px + 2 * reach
    windows = outliers.window_rows(band) * wide_px * samples * FLOAT_BYTES
    pixel_bytes = samples * pixels.itemsize + pixels.mask_bytes
    if pixels.may_have_gaps:  # stand-ins, and what is known, are held too
        pixel_bytes += samples * (pixels.itemsize + 1)
    held = (reach + 3 * band) * wide_px * pixel_bytes
    given = 2 * band * read_px * samples * (pixels.itemsize + 2)  # rows with stand-ins, and masks
    search = outliers.search_bytes(band, read_px, samples)
    box = points.points_bytes(band, read_px) + kept_px * pixels.nets
    side_px = box_px + 2 * reach
    read = 2 * (side_px**2 - box_px**2) * pixel_bytes + box_px**2 * pixel_bytes
    read += side_px**2 * samples * FLOAT_BYTES
    box += boxes * (read + outliers.search_bytes(box_px, box_px, samples))
    return windows + held + given + search + box + kept_px * samples


def mirrored_bytes(config: NetConfig, read_px: int) -> int:
    """The image's last rows, and a copy backwards, for what the stride asks for below them."""
    return 2 * (config.stride_px - 1) * read_px * config.in_channels * FLOAT_BYTES


def gap_bytes(pixels: Pixels, band: int, read_px: int) -> int:
    """Bytes for pixels that stand in for those without a measurement, and for telling which."""
    if not pixels.may_have_gaps:
        return 0
    beyond = 4 * REACH_PX * (read_px + band + 2 * REACH_PX)
    kept = beyond * (pixels.samples * pixels.itemsize + pixels.mask_bytes)
    return kept + standing_bytes(band, read_px, pixels.samples, pixels.itemsize)


def opacity_bytes(pixels: Pixels, band: int, kept_rows: int, write_px: int, scale: int) -> int:
    """Bytes of a worker for the opacity of an output that is larger: rows that are under way with
    those around them, a band of them, one in float64, and flags of the output's pixels.
    """
    if scale == 1 or not pixels.alpha or pixels.maps:
        return 0
    wide_px, itemsize = write_px + 2, pixels.widest_itemsize
    around = (kept_rows + 2) * itemsize + (band + 2) * (itemsize + 6) + 6 * 8
    return wide_px * around + band * write_px * scale**2 * (2 * itemsize + 4)


def _storing_bytes(
    pixels: Pixels,
    source: Storage,
    sink: Storage,
    band: int,
    read_px: int,
    write_px: int,
    output_scale: int,
) -> tuple[int, int]:
    """Bytes of a worker's reading and of its writing."""
    pixel_bytes = pixels.samples * pixels.itemsize
    rows_in = slab_rows(source, band, pixels.height)
    rows_out = min(pixels.height, sink.chunk[0])
    # Twice: one slab is read while another is used up, one row of chunks written while the next
    # is filled.
    read_rows, written_rows = min(pixels.height, 2 * rows_in), min(pixels.height, 2 * rows_out)
    # A mask is there twice while it is put together.
    with_mask = pixel_bytes + 2 * pixels.mask_bytes
    read = read_rows * read_px * with_mask + source.scratch_bytes(rows_in, read_px)
    written_bytes = pixels.written_bytes * output_scale**2
    write = written_rows * write_px * written_bytes + sink.scratch_bytes(rows_out, write_px)
    if pixels.maps:  # which no guard looks at
        return read, write
    channels = max(1, pixels.samples // pixels.nets)
    return read, write + guard_bytes(band, write_px, channels, pixels.nets)
