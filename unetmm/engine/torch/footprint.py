"""What a stream of torch operations takes on its device. Integers only.

Maps are (channels, rows, columns): then a 1x1 is a matrix product with a long side of pixels, the
depthwise convolution has its fastest layout, and LayerNorm runs along whole rows even where there
are few channels. Everything is cut out of two tensors, one of maps and one of float32, that are
allocated at once; only what the depthwise convolution gives has no other place than a new tensor.
Fused kernels make none, and keep rows of a block's input rather than those that it convolves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Literal

from unetmm.engine.contract import DeviceTerms, Pixels
from unetmm.engine.layout import FLOAT_BYTES, Block, Ending, Layout, Pointwise, Product, Ring, Stage
from unetmm.engine.torch.kernels.tiles import MOST_CHANNELS, Fusing
from unetmm.geometry import round_up
from unetmm.nets.layers import BORDERS

ALIGN = 128
"""Numbers of which every part begins at a multiple: 256 bytes or more."""
SLOTS = 2
"""Bands each way: one is filled, or used up, on the host while another is under way."""
WORKSPACE_BYTES = 128 * 2**20
"""Memory that cuBLAS may take (32 MiB a handle, one for each thread that computes, and as much for
its newer half), and that torch's allocator rounds up. cuDNN is not used."""
COMPILED_BYTES = 900_000
"""Machine code that oneDNN makes and keeps, on the CPU, for a product of one shape in half
precision: measured as 0.68 to 0.81 MB. float32 goes to MKL, which compiles nothing."""

MAX_NUMBERS = 2**31 - 1
"""Most numbers that a depthwise convolution may read or give: on a GPU it counts in 32 bits."""
Place = Literal["cpu", "cuda"]
"""Kind of a device, as torch names it."""
LIBRARY_BYTES: dict[Place, int] = {"cpu": 240 * 10**6, "cuda": 1500 * 10**6}
"""Memory of torch in the process itself; with CUDA an estimate that no GPU has confirmed yet."""

TRITON_BYTES = 250 * 10**6
"""Memory of Triton in the process itself, its compiler at work: 146 MB without a GPU."""


@dataclass(frozen=True)
class Shapes:
    """Shapes of everything that a stream allocates."""

    maps: dict[str, tuple[int, int, int]]
    """Each ring's rows, the oldest first, by the ring's name; the image's are float32."""
    kept: dict[str, tuple[int, int, int]]
    """The two rows that a block's depthwise convolution keeps, by the block's name."""
    arena: int
    """Numbers that one stage needs beside the maps."""
    moments: int
    """float32 numbers of a block's LayerNorm, a mean and a scale for each pixel of its band."""
    convolved: int
    """Numbers of the largest band that a depthwise convolution gives."""
    convolving: int
    """Numbers of the largest band that one reads, with the two rows above."""
    out: tuple[int, int, int]
    """The band that leaves the stream, float32."""
    is_fused: bool = False
    """Whether blocks are fused kernels, which count all numbers of a map in 32 bits."""

    @property
    def numbers(self) -> int:
        """Of the tensor of maps."""
        maps = (shape for name, shape in self.maps.items() if name != "image")
        return aligned([*maps, *self.kept.values(), (self.arena,)])

    @property
    def addressable(self) -> bool:
        """Whether every operation can count its numbers."""
        maps = [prod(shape) for shape in self.maps.values()] if self.is_fused else []
        return max(self.arena, self.convolved, *maps) <= MAX_NUMBERS

    @property
    def floats(self) -> int:
        """Of the float32 tensor."""
        return aligned([self.maps["image"], (self.moments,), self.out])


def aligned(shapes: Iterable[tuple[int, ...]]) -> int:
    """Numbers of parts one behind the other."""
    return sum(round_up(prod(shape), ALIGN) for shape in shapes)


@lru_cache(maxsize=4096)
def shapes_of(layout: Layout, width_px: int, fusing: Fusing | None = None) -> Shapes:
    """Of a stream for a strip `width_px` wide, a multiple of the net's stride.

    fusing : where the blocks are fused kernels.
    """
    band, is_fused = layout.band_rows, fusing is not None
    blocks = [] if is_fused else layout.blocks
    pixels = {b.name: b.ring.band * (width_px // b.ring.scale) for b in blocks}
    return Shapes(
        maps={r.name: map_shape(r, width_px) for r in layout.rings},
        kept={b.name: kept_shape(b, width_px, fusing) for b in layout.blocks},
        arena=max(aligned(scratch(s, layout, width_px, fusing)) for s in layout.stages),
        moments=2 * max(pixels.values(), default=0),
        convolved=max((2 * b.channels * pixels[b.name] for b in blocks), default=0),
        convolving=max(
            (2 * b.channels * (b.ring.band + 2) * (width_px // b.ring.scale) for b in blocks),
            default=0,
        ),
        out=(layout.config.answer_channels, band, width_px),
        is_fused=is_fused,
    )


def kept_shape(block: Block, width_px: int, fusing: Fusing | None) -> tuple[int, int, int]:
    """Rows of its first product that a block keeps, or of its input where halves are fused."""
    is_whole = fusing is not None and fusing.halves(block.channels) is not None
    return (1 if is_whole else 2) * block.channels, 2, width_px // block.ring.scale


def map_shape(ring: Ring, width_px: int) -> tuple[int, int, int]:
    return ring.channels, ring.rows, width_px // ring.scale


def scratch(
    stage: Stage, layout: Layout, width_px: int, fusing: Fusing | None = None
) -> list[tuple[int, ...]]:
    """Shapes of what a stage needs in the arena; `stages.py` and `fused.py` take exactly these."""
    if isinstance(stage, Block):
        c, band, width = stage.channels, stage.ring.band, width_px // stage.ring.scale
        tiles = fusing and fusing.halves(c)
        if fusing and tiles:
            return [(c, band, width), (fusing.cut(tiles[0], c, band, width).scratch,)]
        return [(c, band, width), (2 * c, band + 2, width)]
    if fusing and is_fused(stage):
        return []
    if isinstance(stage, Ending):
        c, band, width = stage.source.channels, stage.source.band, width_px // stage.source.scale
        return [(3, c, band + 2, width), (layout.config.answer_channels, band, width)]
    if isinstance(stage, Product):
        return _product_scratch(stage, width_px)
    if isinstance(stage, Pointwise) and stage.layer.activation == "prelu":
        return [(stage.target.channels, stage.target.band, width_px // stage.target.scale)]
    return []


def _product_scratch(stage: Product, width_px: int) -> list[tuple[int, ...]]:
    c, rows = stage.source.channels, stage.target.band // stage.repeat
    width = width_px // stage.source.scale // stage.step
    shapes: list[tuple[int, ...]] = []
    if not joins_cells(stage):  # the columns' taps side by side, the rows' by their offset
        read = stage.step * (rows - 1) + stage.taps
        shapes.append((stage.taps, c, read, width))
        if stage.step > 1:  # of which the rows of one tap
            shapes.append((stage.taps * c, rows, width))
    elif stage.taps > 1:
        shapes.append((stage.taps, stage.taps, c, rows, width))
    if stage.repeat > 1:
        shapes.append((stage.repeat, stage.repeat, stage.target.channels, rows, width))
    return shapes


def is_fused(stage: Stage) -> bool:
    """Whether a product between blocks is a kernel of its own, where blocks are."""
    if isinstance(stage, Ending):
        return stage.source.channels <= MOST_CHANNELS
    if isinstance(stage, Product):
        most = max(stage.source.channels, stage.target.channels)
        return most <= MOST_CHANNELS and stage.border == BORDERS[0]
    return False


def joins_cells(stage: Product) -> bool:
    """Whether it reads each pixel once, so that cells of pixels become channels."""
    return stage.pad == 0 and stage.taps == stage.step


@lru_cache(maxsize=4096)
def product_shapes(layout: Layout, width_px: int) -> frozenset[tuple[int | str, ...]]:
    """Of the stream's matrix products: rows, depth, pixels, and what else makes another kernel."""
    out = layout.config.answer_channels
    shapes: set[tuple[int | str, ...]] = set()
    for stage in layout.stages:
        if isinstance(stage, Product):
            n, depth = stage.target.channels * stage.repeat**2, stage.taps * stage.source.channels
            pixels = stage.target.band * (width_px // stage.target.scale) // stage.repeat**2
            shapes.add((n, depth, pixels, "accumulated" if stage.accumulate else "set"))
        elif isinstance(stage, Block):
            c, pixels = stage.channels, stage.ring.band * (width_px // stage.ring.scale)
            shapes |= {(2 * c, c, pixels, row) for row in ("below kept rows", "set")}
            shapes.add((c, c, pixels, "accumulated"))
        elif isinstance(stage, Ending):
            shapes.add((out, 3 * stage.source.channels, layout.band_rows * width_px, "accumulated"))
    return frozenset(shapes)


@lru_cache(maxsize=64)
def weight_numbers(layout: Layout) -> int:
    """Of all matrices and biases on the device that do not depend on the image."""
    answer, width = layout.config.answer_channels, layout.ending.source.channels
    shapes: list[tuple[int, ...]] = [(answer, 3, 3 * width), (answer, 1)]
    for stage in layout.stages:
        if isinstance(stage, Product):
            n = stage.target.channels * stage.repeat**2
            shapes += [(n, stage.taps, stage.taps * stage.source.channels), (n, 1)]
        elif isinstance(stage, Pointwise):
            shapes += [(stage.layer.channels, 1, 1)] * (stage.layer.activation == "prelu")
        elif isinstance(stage, Block):
            c = stage.channels
            shapes += [(2 * c, c), (2 * c, 1), (2 * c, 1, 3, 3), (2 * c,), (c, 1)]
            shapes += [(2 * c, c), (2 * c, 1), (c, c), (c, 1)]
    return aligned(shapes)


@lru_cache(maxsize=64)
def frozen_numbers(layout: Layout) -> int:
    """Of the matrices with an image's attention folded in, which every live stream holds."""
    return aligned((b.channels, b.channels) for b in layout.blocks)


@lru_cache(maxsize=64)
def attended_bytes(layout: Layout) -> int:
    """On the host: what of each block waits for an image's attention."""
    return FLOAT_BYTES * sum(b.channels**2 for b in layout.blocks)


def project_device(
    layout: Layout,
    width_px: int,
    item_bytes: int,
    place: Place,
    streams: int,
    fusing: Fusing | None = None,
) -> DeviceTerms:
    """Terms of so many streams side by side on one strip."""
    shapes, item = shapes_of(layout, width_px, fusing), item_bytes
    skip = item * sum(
        r.channels * r.skip_rows * (width_px // r.scale) for r in layout.rings if r.name != "image"
    )
    image = FLOAT_BYTES * aligned([shapes.maps["image"]])
    arena = item * (aligned([(shapes.arena,)]) + shapes.convolved) + FLOAT_BYTES * aligned(
        [(shapes.moments,), shapes.out]
    )
    held = item * (shapes.numbers + shapes.convolved) + FLOAT_BYTES * shapes.floats
    on_gpu = place == "cuda"
    # On the CPU torch copies what the convolution reads, and maps of half precision to float32;
    # within an operation, so never for two streams at once.
    copied = 0 if on_gpu else FLOAT_BYTES * shapes.convolving
    compiled = COMPILED_BYTES * len(product_shapes(layout, width_px)) if item < FLOAT_BYTES else 0
    return DeviceTerms(
        weights=item * (weight_numbers(layout) + streams * frozen_numbers(layout)),
        stream_state=streams * (held - skip - image - arena),
        skip=streams * skip,
        image_rows=streams * image,
        arena=streams * arena + copied,
        transfers=streams * sum(slot_bytes(layout, width_px)) if on_gpu else 0,
        workspace=WORKSPACE_BYTES if on_gpu else compiled,
    )


def slot_bytes(layout: Layout, width_px: int) -> tuple[int, int]:
    """Bytes of the bands under way to the device, and of those on their way back."""
    pixels = SLOTS * layout.band_rows * width_px * FLOAT_BYTES
    return pixels * layout.config.in_channels, pixels * layout.config.answer_channels


def host_slot_bytes(layout: Layout, width_px: int, place: Place) -> int:
    """The same on the host: torch rounds pinned memory up to a power of two."""
    sizes = slot_bytes(layout, width_px)
    return sum(1 << (n - 1).bit_length() for n in sizes) if place == "cuda" else sum(sizes)


def converted_bytes(layout: Layout, width_px: int, pixels: Pixels) -> int:
    """All that a band is copied to on its way to the net's scale and back.

    The normalised rows of each net; the rows compared with the answer; as stored: the original, the
    chosen samples before and after; masks; sums in float64 where the type is wide.
    """
    channels, item = layout.config.widest_end, pixels.widest_itemsize
    wide = 16 if item >= FLOAT_BYTES else 0
    normalised = FLOAT_BYTES * channels * (pixels.nets + 1)
    per_px = normalised + channels * (4 * item + 3 + wide) + pixels.samples * item
    scale = layout.config.output_scale
    enlarged = 2 * FLOAT_BYTES * channels * (scale > 1)
    return layout.band_rows * width_px * (per_px + enlarged) * scale**2
