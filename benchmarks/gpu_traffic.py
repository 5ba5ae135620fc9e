"""What the stream of torch operations computes and moves on its device, from its layout alone."""

from __future__ import annotations

from unetmm.engine.layout import FLOAT_BYTES, Block, Ending, Guide, Layout, Product, Ring
from unetmm.engine.torch.footprint import frozen_numbers, is_fused, weight_numbers
from unetmm.engine.torch.kernels.tiles import Fusing


def macs_per_px(layout: Layout) -> float:
    """Multiply-adds per pixel; a UNet--'s differ from the whole-image forward's, as its linear
    layers between encoder and decoder are folded into one another."""
    total = 0.0
    for stage in layout.stages:
        if isinstance(stage, Block):
            c = stage.channels
            total += (6 * c * c + 9 * 2 * c) / stage.ring.scale**2
        elif isinstance(stage, Product):
            n, c, finer = stage.target.channels, stage.source.channels, stage.target.scale
            total += n * c * stage.taps**2 / finer**2
        elif isinstance(stage, Ending):
            total += layout.config.out_channels * stage.source.channels * 9
    return total


def moved_bytes_per_px(
    layout: Layout, width_px: int, item_bytes: int, fusing: Fusing | None = None
) -> float:
    """Bytes per pixel of a steady step of the torch engine.

    Every operation reads its operands once and writes its result once; what a fused kernel keeps
    in its scratch memory is taken to stay in the caches.
    """
    pixels = layout.band_rows * width_px
    total = item_bytes * (weight_numbers(layout) + frozen_numbers(layout))
    for stage in layout.stages:
        if isinstance(stage, Block):
            total += (
                _block(stage, width_px, item_bytes)
                if fusing is None
                else item_bytes * _fused(stage, width_px, fusing)
            )
        elif fusing is not None and is_fused(stage):
            total += _convolution(stage, layout, width_px, item_bytes)
        elif isinstance(stage, Product):
            total += _product(stage, width_px, item_bytes)
        elif isinstance(stage, Guide):
            shared = stage.target.channels - stage.image.channels
            copied = 2 * shared * item_bytes + stage.image.channels * (FLOAT_BYTES + item_bytes)
            total += copied * pixels
        else:
            total += _ending(stage, layout, width_px, item_bytes)
    for ring in layout.rings:
        item = FLOAT_BYTES if ring.name == "image" else item_bytes
        total += 2 * item * ring.channels * (ring.rows - ring.band) * (width_px // ring.scale)
    # Each band is written to or read from its slot by the bus, and copied once beside it.
    channels = layout.config.in_channels + layout.config.out_channels
    total += 3 * FLOAT_BYTES * channels * pixels
    return total / pixels


def _pixels(ring: Ring, width_px: int) -> int:
    """Pixels of a band of a map."""
    return ring.band * (width_px // ring.scale)


def _block(stage: Block, width_px: int, item: int) -> int:
    c, width = stage.channels, width_px // stage.ring.scale
    n = _pixels(stage.ring, width_px)
    normalise = 6 * c * n * item + 8 * n * FLOAT_BYTES  # reads x four times, writes it twice
    first = 3 * c * n
    kept = 2 * 2 * (2 * c * 2 * width)  # both rows, in and out
    depthwise = 2 * c * (n + 2 * width) + 2 * c * n
    gate = 3 * c * n
    residual = 3 * c * n + 2 * c * n  # the product onto x, then the bias
    fourth = 3 * c * n
    return 2 * normalise + item * (first + kept + depthwise + 2 * gate + 2 * residual + fourth)


def _fused(stage: Block, width_px: int, fusing: Fusing) -> int:
    """Numbers that a block of fused kernels moves, rows that it keeps included."""
    c, kept = stage.channels, 2 * 2 * (stage.channels * 2 * (width_px // stage.ring.scale))
    n = c * _pixels(stage.ring, width_px)
    if fusing.halves(c) is not None:
        return 4 * n + kept  # two kernels, each of which reads and writes the map
    first, depthwise, residual, gate = 3 * n, 3 * n, 3 * n, 2 * n
    return first + depthwise + 2 * residual + gate + 2 * kept


def _product(stage: Product, width_px: int, item: int) -> int:
    c, outputs = stage.source.channels, stage.target.channels
    n = _pixels(stage.target, width_px)
    if stage.pad:
        read = FLOAT_BYTES if stage.source.name == "image" else item
        rows = stage.target.band + stage.taps - 1
        return _three(c, outputs, stage.taps, rows, n // stage.target.band, read, item)
    depth, made = stage.taps**2 * c, outputs * stage.repeat**2
    n //= stage.repeat**2
    total = depth * n + made * n
    if stage.step > 1:
        total += 2 * depth * n  # pixels become channels
    if stage.repeat > 1:
        total += (3 if stage.accumulate else 2) * made * n  # channels become pixels
    elif stage.accumulate:
        total += 3 * made * n  # reads what is there, and once more for the bias
    return total * item


def _convolution(stage: Product | Ending, layout: Layout, width_px: int, item: int) -> int:
    """A fused one reads its map once and writes its result, with what it is added to."""
    read = stage.source.channels * _pixels(stage.source, width_px)
    read *= FLOAT_BYTES if stage.source.name == "image" else item
    if isinstance(stage, Ending):
        outputs = layout.config.answer_channels * _pixels(stage.source, width_px)
        return read + outputs * FLOAT_BYTES * (2 if stage.image else 1)
    made = stage.target.channels * _pixels(stage.target, width_px) * item
    return read + made * (2 if stage.accumulate else 1)


def _three(
    channels: int, outputs: int, taps: int, rows: int, width: int, read: int, item: int
) -> int:
    """A square convolution; `rows` it reads, `read` bytes an item of them."""
    patches = taps * channels * rows * width * (read + item)
    n = (rows - taps + 1) * width
    products = taps * taps * channels * n + (2 * taps - 1) * outputs * n
    return patches + products * item


def _ending(stage: Ending, layout: Layout, width_px: int, item: int) -> int:
    outputs, n = layout.config.out_channels, _pixels(stage.source, width_px)
    total = _three(stage.source.channels, outputs, 3, stage.source.band + 2, width_px, item, item)
    added = item + FLOAT_BYTES + (FLOAT_BYTES if stage.image else 0)
    return total + added * outputs * n
