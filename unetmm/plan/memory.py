"""Projected peak memory of a run, term by term. Integers only.

The stream's terms are sums over the very layout that the stream allocates; the runtime term is
measured (tests/plan/test_budget.py keeps it honest).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import (
    LINE_FLOATS,
    frozen_floats,
    output_bytes,
    packed_floats,
    ring_bytes,
    scratch_bytes,
    skip_bytes,
    stream_bytes,
)
from unetmm.engine.cpu.precision import Precision
from unetmm.engine.layout import FLOAT_BYTES, Layout, padded
from unetmm.engine.target import Kind, Target
from unetmm.engine.torch.footprint import (
    DeviceTerms,
    attended_bytes,
    host_slot_bytes,
    project_device,
)
from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import parameter_count

if TYPE_CHECKING:
    from unetmm.io.image import Sink, Source

RUNTIME_BYTES = 193 * 10**6
"""Python with numpy, Numba's runtime, kernels, Dask and the image libraries, before any image."""
WORKER_BYTES = 2 * 10**6
"""What a worker's threads (reader, compute, writer) cost besides its buffers: the stacks as far as
used, allocator arenas, small objects. Less could be measured up to 8 workers, see NOTES.md."""
THREAD_BYTES = 256 * 1024
"""What each further thread of a stream costs besides its scratch: its stack, as far as used."""
TORCH_BYTES: dict[Kind, int] = {"kernels": 0, "torch": 240 * 10**6, "cuda": 1500 * 10**6}
"""What torch takes in the process itself; with CUDA an estimate that no GPU has confirmed yet."""


@dataclass(frozen=True)
class Storage:
    """What reading from a source or writing to a sink costs."""

    chunk: tuple[int, int]
    """Rows and columns of the unit of storage."""
    resident_bytes: int
    """Occupied as long as it is open."""
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


def sink_storage(sink: Sink) -> Storage:
    """What writing to `sink` costs."""
    return Storage(sink.chunk, sink.resident_bytes, sink.write_bytes)


def in_memory_storage(chunk: tuple[int, int]) -> Storage:
    """An array that the caller holds anyway."""
    return Storage(chunk, 0, lambda height, width: 0, by_row=True)


@dataclass(frozen=True)
class Pixels:
    """What of an image matters for memory."""

    height: int
    width: int
    samples: int
    """Interleaved samples per pixel as stored, alpha included."""
    itemsize: int
    """Bytes of one sample."""
    nets: int
    """Streams side by side on one strip: 1 for a colour net, the samples for a mono net."""


@dataclass(frozen=True)
class Terms:
    """Bytes of the projected peak; the peak is their sum."""

    runtime: int
    weights: int
    stream_state: int
    """Rows that layers keep: rings and depthwise rows of all live strips."""
    skip: int
    """What is held for the decoder: E' of a UNet--, or the skip queues of a NAFNet."""
    image_rows: int
    """The input image kept for the global residual, and its rows as stored."""
    arena: int
    """Working set of the inner loops and the band that leaves the stream."""
    source: int
    sink: int
    calibration: int
    """What loading the net and calibration need beyond the streams, which they precede."""

    @property
    def total(self) -> int:
        return sum(getattr(self, f.name) for f in fields(self))


@lru_cache(maxsize=4096)
def _stream_terms(
    layout: Layout, lanes: int, read_px: int, threads: int
) -> tuple[int, int, int, int]:
    """(state, skip, image, arena) bytes of one stream."""
    skip = skip_bytes(layout, read_px, lanes)
    image = ring_bytes(layout, "image", read_px, lanes)
    arena = scratch_bytes(layout, lanes, threads) + output_bytes(layout, read_px)
    state = stream_bytes(layout, read_px, lanes, threads) - skip - image - arena
    return state, skip, image, arena


def loading_bytes(config: NetConfig) -> int:
    """Tensors as loaded, and what folding a block of them takes; given back before anything runs.

    Folding works on a few float64 copies of a block's largest matrix, (2c, c).
    """
    widest = config.width << config.levels
    return FLOAT_BYTES * parameter_count(config) + 4 * 8 * 2 * widest**2


@lru_cache(maxsize=64)
def packed_bytes(layout: Layout, lanes: int, precision: Precision = "fp32") -> int:
    """A net folded for the stream, with what each block needs to fold its attention in."""
    attended = 0
    for block in layout.blocks:
        c, real = padded(block.channels, lanes), block.channels
        attended += c * (c + 1) + real * (real + 1)
    return FLOAT_BYTES * (packed_floats(layout, lanes, precision) + LINE_FLOATS + attended)


@lru_cache(maxsize=64)
def frozen_bytes(layout: Layout, lanes: int, precision: Precision = "fp32") -> int:
    """The matrices with an image's attention folded in, which every live stream holds."""
    return FLOAT_BYTES * (frozen_floats(layout, lanes, precision) + LINE_FLOATS)


def slab_rows(storage: Storage, band_rows: int, height: int) -> int:
    """Rows read at once: whole chunks, at least a band; a band where rows cost nothing more."""
    chunk_rows = storage.chunk[0]
    if storage.by_row:
        return min(band_rows, height)
    return min(height, round_up(band_rows, chunk_rows))


def project(
    layout: Layout,
    lanes: int,
    pixels: Pixels,
    source: Storage,
    sink: Storage,
    workers: int,
    threads: int,
    read_px: int,
    write_px: int,
    calibration_bytes: int,
    held_bytes: int = 0,
    precision: Precision = "fp32",
) -> Terms:
    """Terms of a run with `workers` live strips that read `read_px` and write `write_px` columns.

    threads: that share the columns of each live stream.
    calibration_bytes: what the calibration pass allocates while no strip is live. Before it the
        tensors are loaded and folded, and given back.
    held_bytes: what the process holds already beyond a fresh one.
    """
    config, band = layout.config, layout.band_rows
    live = workers * pixels.nets
    pixel_bytes = pixels.samples * pixels.itemsize
    state, skip, image, arena = _stream_terms(layout, lanes, read_px, threads)
    # The rows as stored, for what must pass through unchanged, and copies of one band: pushed,
    # compared with the answer, and added to it in float64 where the type is wide.
    stored = (layout.lag_rows + band) * write_px * pixel_bytes
    wide = 4 if pixels.itemsize >= FLOAT_BYTES else 0
    conversion = (3 + wide) * band * read_px * config.in_channels * FLOAT_BYTES
    mirrored = mirrored_bytes(config, read_px)
    read, write = _storing_bytes(pixels, source, sink, band, read_px, write_px)
    streaming = workers * (read + write + stored + conversion) + live * (
        state + skip + image + mirrored + arena
    )
    return Terms(
        runtime=RUNTIME_BYTES
        + held_bytes
        + workers * WORKER_BYTES
        + live * (threads - 1) * THREAD_BYTES,
        weights=packed_bytes(layout, lanes, precision)
        + live * frozen_bytes(layout, lanes, precision),
        stream_state=live * state,
        skip=live * skip,
        image_rows=live * (image + mirrored) + workers * stored,
        arena=live * arena + workers * conversion,
        source=source.resident_bytes + workers * read,
        sink=sink.resident_bytes + workers * write,
        calibration=max(0, max(calibration_bytes, loading_bytes(config)) - streaming),
    )


def mirrored_bytes(config: NetConfig, read_px: int) -> int:
    """The image's last rows, and a copy backwards, for what the stride asks for below them."""
    return 2 * (config.stride_px - 1) * read_px * config.in_channels * FLOAT_BYTES


def _storing_bytes(
    pixels: Pixels, source: Storage, sink: Storage, band: int, read_px: int, write_px: int
) -> tuple[int, int]:
    """Bytes of a worker's reading and of its writing."""
    pixel_bytes = pixels.samples * pixels.itemsize
    rows_in = slab_rows(source, band, pixels.height)
    rows_out = min(pixels.height, sink.chunk[0])
    # Twice: one slab is read while another is used up, one row of chunks written while the next
    # is filled.
    read_rows, written_rows = min(pixels.height, 2 * rows_in), min(pixels.height, 2 * rows_out)
    read = read_rows * read_px * pixel_bytes + source.scratch_bytes(rows_in, read_px)
    write = written_rows * write_px * pixel_bytes + sink.scratch_bytes(rows_out, write_px)
    return read, write


def project_for_device(
    layout: Layout,
    pixels: Pixels,
    source: Storage,
    sink: Storage,
    read_px: int,
    write_px: int,
    calibration_bytes: int,
    held_bytes: int,
    target: Target,
    threads: int = 1,
) -> tuple[Terms, DeviceTerms]:
    """Terms of the process, and of the device, of a run of torch operations; one strip is live.

    On the CPU the device's memory is the process's and counted in both. Calibration is done by
    the compiled kernels in any case.
    """
    band, pixel_bytes = layout.band_rows, pixels.samples * pixels.itemsize
    device = project_device(layout, read_px, target, pixels.nets)
    here = device if target.kind == "torch" else DeviceTerms(0, 0, 0, 0, 0, 0, 0)
    # A band more than of the kernels' streams: it comes out a push later.
    stored = (layout.lag_rows + 2 * band) * write_px * pixel_bytes
    stored += pixels.nets * mirrored_bytes(layout.config, read_px)
    slots = pixels.nets * host_slot_bytes(layout, read_px, target)
    conversion = band * read_px * _conversion_bytes(layout.config, pixels)
    read, write = _storing_bytes(pixels, source, sink, band, read_px, write_px)
    streaming = here.total - here.weights + stored + slots + conversion + read + write
    folded = packed_bytes(layout, LANES) + attended_bytes(layout)
    terms = Terms(
        runtime=RUNTIME_BYTES
        + TORCH_BYTES[target.kind]
        + held_bytes
        + WORKER_BYTES
        + (threads - 1) * THREAD_BYTES,
        weights=folded + here.weights,
        stream_state=here.stream_state,
        skip=here.skip,
        image_rows=stored + here.image_rows,
        arena=slots + conversion + here.arena + here.workspace,
        source=source.resident_bytes + read,
        sink=sink.resident_bytes + write,
        calibration=max(0, max(calibration_bytes, loading_bytes(layout.config)) - streaming),
    )
    return terms, device


def _conversion_bytes(config: NetConfig, pixels: Pixels) -> int:
    """Of a pixel, all that a band is copied to on its way to the net's scale and back.

    Each lane's normalised rows; the rows compared with the answer; as stored: the original, the
    chosen samples before and after; masks; sums in float64 where the type is wide.
    """
    channels, item = config.in_channels, pixels.itemsize
    wide = 16 if item >= FLOAT_BYTES else 0
    normalised = FLOAT_BYTES * channels * (pixels.nets + 1)
    return normalised + channels * (4 * item + 3 + wide) + pixels.samples * item
