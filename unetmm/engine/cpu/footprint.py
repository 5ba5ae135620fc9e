"""What a stream takes in memory: the sizes of its parts, and where each lies. Integers only.

The plan adds these sizes up and the stream allocates them, so the two cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from unetmm.engine.cpu.precision import words
from unetmm.engine.layout import (
    FLOAT_BYTES,
    Block,
    Guide,
    Layout,
    MaxPool,
    Pointwise,
    Product,
    Stage,
    padded,
)
from unetmm.engine.precision import Precision
from unetmm.geometry import round_up

LINE_FLOATS = 16
"""Floats of a cache line; every part of a stream's memory starts on one."""
BATCH_PX = 64
"""Pixels that share a pass over a block's weights, where a row of a panel is shorter."""
SCRATCH_TARGET_BYTES = 320 * 1024
"""Working set of a block's inner loop; it should stay in a core's second-level cache."""
POINTWISE_NUMBERS = 5
"""Floats that every stage of single values has: two factors, a constant, two numbers."""
PART_ROWS = 16
"""Full-resolution rows that the stages at fine scales make in turn, a multiple of PART_SCALE."""
PART_SCALE = 4
"""Coarsest scale of these stages; coarser ones take a band at once, for their weights' sake."""


def parts(layout: Layout, stage: Stage) -> int:
    """Into how many parts a step of a stage is divided, so that what it makes stays in cache."""
    if isinstance(stage, Product):
        scale = max(stage.source.scale, stage.target.scale)
    elif isinstance(stage, MaxPool | Pointwise):
        scale = stage.target.scale
    elif isinstance(stage, Block):
        scale = stage.ring.scale
    elif isinstance(stage, Guide):
        scale = stage.aggregate.scale
    else:
        scale = stage.source.scale
    whole, rest = divmod(layout.band_rows, PART_ROWS)
    return whole if scale <= PART_SCALE and rest == 0 else 1


@dataclass(frozen=True)
class MemoryMap:
    """Where each part of a stream lies in the one array that it allocates, in floats."""

    rings: dict[str, int]
    """First float of each ring, by its name."""
    kept: dict[str, int]
    """The two rows that a block's depthwise convolution keeps, by the block's name."""
    out: int
    """The band that leaves the stream."""
    scratch: tuple[tuple[int, ...], ...]
    """First float of each part of `scratch_floats`, thread by thread."""
    size_floats: int
    """Size of all of it, with room to start on a cache line."""


def memory_map(layout: Layout, width_px: int, lanes: int, threads: int) -> MemoryMap:
    """Lay a stream's parts out one behind the other."""
    end = 0

    def place(floats: int) -> int:
        nonlocal end
        start, end = end, end + round_up(floats, LINE_FLOATS)
        return start

    rings = {r.name: place(r.size_floats(width_px, lanes)) for r in layout.rings}
    kept = {b.name: place(kept_floats(b, width_px, lanes)) for b in layout.blocks}
    out = place(layout.band_rows * width_px * layout.config.answer_channels)
    sizes = scratch_floats(layout, lanes)
    scratch = tuple(tuple(place(n) for n in sizes) for _ in range(threads))
    return MemoryMap(rings, kept, out, scratch, end + LINE_FLOATS)


def kept_floats(block: Block, width_px: int, lanes: int) -> int:
    """Two rows of the 2c channels between a block's first 1x1 and its depthwise convolution."""
    return 2 * (width_px // block.ring.scale) * 2 * padded(block.channels, lanes)


def panel_px(block: Block, lanes: int) -> int:
    """Columns a block works on at a time, so that its scratch stays in cache."""
    # Of a column: three rows of the depthwise input, hidden, normalised and gated pixels, the map.
    column_bytes = FLOAT_BYTES * padded(block.channels, lanes) * (3 * 2 + 2 + 1 + 1 + 2)
    return max(64, min(256, SCRATCH_TARGET_BYTES // column_bytes // 8 * 8))


@lru_cache(maxsize=64)
def scratch_floats(layout: Layout, lanes: int) -> tuple[int, ...]:
    """Floats of a thread's scratch: the most that a block needs of each part.

    taps: the rows of a panel that the depthwise convolution reads. normalised, hidden, gated:
    pixels between the 1x1s. held: pixels of the map, where they are taken from several rows. seams:
    two columns of the depthwise input, for the panel to the right and for the one that comes last.
    edges: the first and the last column, for the neighbouring threads, of this block and the next.
    """
    # The end of the net notes a sum in `normalised`, also of a net without blocks.
    sizes = [(0, lanes, 0, 0, 0, 0, 0, 0, 0)]
    for block in layout.blocks:
        c, rows = padded(block.channels, lanes), block.ring.band + 2
        spans = range(1, panel_px(block, lanes) + 1)
        together = [min(block.ring.band, max(1, BATCH_PX // span)) for span in spans]
        taps = max((t + 2) * (s + 2) for s, t in zip(spans, together, strict=True))
        # A panel prepares up to a column more on either side.
        batch = max(t * (s + 2) for s, t in zip(spans, together, strict=True))
        pixels = (batch * c, batch * 2 * c, batch * c, batch * c)
        sizes.append((taps * 2 * c, *pixels, *4 * (rows * 2 * 2 * c,)))
    return tuple(max(column) for column in zip(*sizes, strict=True))


def packed_floats(layout: Layout, lanes: int, precision: Precision = "fp32") -> int:
    """Words of all folded matrices and biases that do not depend on the image."""
    answer, width = layout.config.answer_channels, layout.ending.source.channels
    sizes = [answer * 9 * padded(width, lanes), answer]
    for stage in layout.stages:
        if isinstance(stage, Product):
            source = padded(stage.source.channels, lanes, stage.source)
            depth = source * stage.taps * (stage.taps if stage.taps > 1 else 1)
            n = round_up(padded(stage.target.channels, lanes, stage.target) * stage.repeat, lanes)
            sizes += [n * depth, n] * stage.repeat
        elif isinstance(stage, Pointwise):
            sizes += [pointwise_floats(stage, lanes), 0]
        elif isinstance(stage, Block):
            c = padded(stage.channels, lanes)
            square = words(c * c, precision)
            first = fourth = [2 * square, 2 * c]
            sizes += [lanes, 0, *first, 9 * 2 * c, 2 * c, *fourth, square, c]
    return sum(round_up(n, LINE_FLOATS) for n in sizes)


def pointwise_floats(stage: Pointwise, lanes: int) -> int:
    """Floats of factors, constant and numbers, and of a slope for each channel where there are."""
    slopes = padded(stage.target.channels, lanes) if stage.layer.activation == "prelu" else 0
    return POINTWISE_NUMBERS + slopes


def frozen_floats(layout: Layout, lanes: int, precision: Precision = "fp32") -> int:
    """Words of the matrices with an image's attention folded in, which every live stream holds."""
    channels = [padded(b.channels, lanes) for b in layout.blocks]
    sizes = (n for c in channels for n in (words(c * c, precision), c))
    return sum(round_up(n, LINE_FLOATS) for n in sizes)


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


def observed_numbers(layout: Layout, width_px: int, lanes: int) -> int:
    """Sums that an observing stream keeps: one per column and channel of the widest block."""
    return max(
        (width_px // b.ring.scale * padded(b.channels, lanes) for b in layout.blocks), default=1
    )


def observed_channels(layout: Layout, lanes: int) -> int:
    """Channels of the widest block, each of which an observing stream has a factor for."""
    return max((padded(b.channels, lanes) for b in layout.blocks), default=lanes)


def observing_bytes(layout: Layout, width_px: int, height_px: int, lanes: int, threads: int) -> int:
    """Everything one observing stream allocates, weights apart."""
    sums = observed_numbers(layout, width_px, lanes)
    held = sums * height_px + observed_channels(layout, lanes) + 2 * LINE_FLOATS
    answer = observed_answer(layout, width_px, height_px)
    answer += LINE_FLOATS * (answer > 0)
    stream = stream_bytes(layout, width_px, lanes, threads)
    return stream + 8 * sums + FLOAT_BYTES * (held + answer)


def observed_answer(layout: Layout, width_px: int, height_px: int) -> int:
    """Floats of a whole answer, kept where it comes out in several bands: without blocks."""
    return 0 if layout.blocks else height_px * width_px * layout.config.answer_channels


def skip_bytes(layout: Layout, width_px: int, lanes: int) -> int:
    """Bytes held for the decoder: E' of a UNet--, the waiting rows of a NAFNet's encoder."""
    return sum(
        FLOAT_BYTES * r.skip_rows * r.row_floats(width_px, lanes)
        for r in layout.rings
        if r.name != "image"
    )


def ring_bytes(layout: Layout, name: str, width_px: int, lanes: int) -> int:
    """Bytes of one ring, 0 if the net has none of that name."""
    return sum(FLOAT_BYTES * r.size_floats(width_px, lanes) for r in layout.rings if r.name == name)


def scratch_bytes(layout: Layout, lanes: int, threads: int = 1) -> int:
    """Bytes of the working sets of the inner loops, one set a thread, shared by all blocks."""
    floats = sum(round_up(n, LINE_FLOATS) for n in scratch_floats(layout, lanes))
    return FLOAT_BYTES * threads * floats


def output_bytes(layout: Layout, width_px: int) -> int:
    """Bytes of the band that leaves the stream."""
    return FLOAT_BYTES * layout.band_rows * width_px * layout.config.answer_channels


def stream_bytes(layout: Layout, width_px: int, lanes: int, threads: int = 1) -> int:
    """Everything one stream allocates, weights apart."""
    return FLOAT_BYTES * memory_map(layout, width_px, lanes, threads).size_floats


@dataclass(frozen=True)
class StreamParts:
    """Bytes of one stream, by what they are for."""

    state: int
    """Rows that layers keep."""
    skip: int
    """Rows held for the decoder."""
    image: int
    """The input image kept for the global residual."""
    arena: int
    """Working sets of the threads, and the band that leaves."""


@lru_cache(maxsize=4096)
def stream_parts(layout: Layout, lanes: int, width_px: int, threads: int) -> StreamParts:
    """One stream for a strip `width_px` wide, part by part."""
    skip = skip_bytes(layout, width_px, lanes)
    image = ring_bytes(layout, "image", width_px, lanes)
    arena = scratch_bytes(layout, lanes, threads) + output_bytes(layout, width_px)
    state = stream_bytes(layout, width_px, lanes, threads) - skip - image - arena
    return StreamParts(state, skip, image, arena)


def converted_bytes(layout: Layout, width_px: int, itemsize: int) -> int:
    """Copies of one band: pushed, compared with the answer, and added to it in float64 where the
    stored type is wide. Where the net enlarges, they are of the output, and two more: the answer
    pixel by pixel, and the input as large.
    """
    config = layout.config
    wide = 4 if itemsize >= FLOAT_BYTES else 0
    copies = 3 + wide + 2 * (config.output_scale > 1)
    pixels = layout.band_rows * width_px * config.output_scale**2
    return copies * pixels * config.widest_end * FLOAT_BYTES
