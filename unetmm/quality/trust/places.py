"""A first look at a few places of both images: their noise, their values, where there is structure.

The places lie evenly, and are always the same for an image of a size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.drawn import is_drawn
from unetmm.intensities.range import fits_float32, measure_scale
from unetmm.intensities.validity import valid_mask
from unetmm.io.image import Box
from unetmm.quality.trust.blocks import BLOCK_PX, Numbers, cut_blocks, seen_means, to_spectra
from unetmm.quality.trust.noise import LayerNoise, flat_power, structure_of
from unetmm.quality.trust.pair import Layer, LayerPixels, Pair, to_floats

PLACE_PX = 4 * BLOCK_PX
"""Height and width of a place in pixels, where the image is no smaller."""
ACROSS = 8
"""Most places down, over all planes, and most across."""
BINS = 60
"""Number of bins of means."""
STRONG_NOISE = 1.0
"""Deviation of noise, as a share of the spread of means, that nets are hardly trained on."""
WINDOW_PX = 1024
"""Largest height and width of the part whose resolution is told."""


class ResolvedPart(NamedTuple):
    """A part of a plane."""

    number: int
    """Number of time and depth."""
    box: Box
    """LayerPixels of the plane."""


@dataclass
class Seen:
    """What was seen of one layer."""

    noise: LayerNoise
    """Noise of the input."""
    edges: Numbers
    """Values between bins of means."""
    part: ResolvedPart
    """Part with most structure."""
    unlike: str
    """Sentence on what makes the input unlike what nets are trained on; empty if nothing does."""
    origin: float
    """Value that is taken away before values become floats, whose digits would not do."""


@dataclass
class _Places:
    """Places of one layer, as they are read."""

    before: list[LayerPixels] = field(default_factory=list)
    after: list[LayerPixels] = field(default_factory=list)
    parts: list[ResolvedPart] = field(default_factory=list)


def see_layers(pair: Pair) -> list[Seen]:
    """Look at places of every layer."""
    found = [_Places() for _ in pair.layers]
    for number, rows, columns in _bands(pair):
        info = pair.before.info
        is_wide = 2 * info.chunk[1] >= info.width  # then parts of its rows cost as much
        spans = [(0, info.width)] if is_wide else columns
        for x0, x1 in spans:
            layer_of = pair.read(number, Box(rows[0], x0, rows[1], x1))
            for layer, places in zip(pair.layers, found, strict=True):
                before, after, *_ = layer_of(layer)
                for left, right in columns if is_wide else [(x0, x1)]:
                    part = slice(left - x0, right - x0)
                    places.before.append(_part(before, part))
                    places.after.append(_part(after, part))
                    places.parts.append(ResolvedPart(number, Box(rows[0], left, rows[1], right)))
    for layer, places in zip(pair.layers, found, strict=True):
        _mark_far(pair, 0, layer.before, places.before)
        _mark_far(pair, 1, layer.after, places.after)
    layers = zip(pair.layers, found, strict=True)
    return [_seen(pair, layer, places) for layer, places in layers]


def _mark_far(pair: Pair, image: int, sample: tuple[int, int], parts: list[LayerPixels]) -> None:
    """Note that floats far beyond all others are no measurement, as a run takes them."""
    nodata = pair.nodata(image, *sample)
    values = [p.values[..., None] for p in parts]
    if values[0].dtype.kind != "f" or not nodata.guessed:
        return
    scale = measure_scale(values, nodata, masks=[p.measured for p in parts])
    nodata = pair.marks[image, *sample] = nodata.within(scale.low, scale.high)
    for i, part in enumerate(parts):
        mask = valid_mask(values[i], nodata, part.measured)
        parts[i] = LayerPixels(part.values, None if mask is None or mask.all() else mask[..., 0])


def _bands(pair: Pair) -> Iterator[tuple[int, tuple[int, int], list[tuple[int, int]]]]:
    """(number of the plane, rows, columns of each place) of every row of places."""
    info = pair.before.info
    down = min(ACROSS, max(1, info.height // PLACE_PX))
    each = min(down, -(-ACROSS // pair.planes))
    planes = min(pair.planes, ACROSS)
    columns = _spread(info.width, min(ACROSS, max(1, info.width // PLACE_PX)))
    rows = _spread(info.height, down)
    for i in range(planes):
        number = (2 * i + 1) * pair.planes // (2 * planes)
        for j in range(each):
            yield number, rows[(i + (2 * j + 1) * down // (2 * each)) % down], columns


def _spread(length: int, count: int) -> list[tuple[int, int]]:
    """Spans that lie evenly along an axis."""
    size = min(PLACE_PX, length)
    starts = ((2 * i + 1) * (length - size) // (2 * count) for i in range(count))
    return [(start, start + size) for start in starts]


def _part(pixels: LayerPixels, columns: slice) -> LayerPixels:
    """Some columns, copied, so that the rest can be let go."""
    mask = pixels.measured
    return LayerPixels(
        pixels.values[:, columns].copy(), None if mask is None else mask[:, columns].copy()
    )


def _seen(pair: Pair, layer: Layer, places: _Places) -> Seen:
    """What the places of a layer say."""
    means = np.concatenate([_means(p) for p in (*places.before, *places.after)])
    spread = _spread_of(means, places)
    origin = float(np.median(means)) if means.size and _is_wide(places) else 0.0
    patches = [p.values[..., None] for p in places.before]
    masks = [p.measured for p in places.before]
    noise = LayerNoise.of(patches, pair.nodata(0, *layer.before), masks, spread, origin)
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.unique(np.quantile(means, shares)) if means.size else means
    before, removed, structure, owner = _spectra(places, noise, origin)
    if len(structure):
        noise = noise.seeing(flat_power(before, structure), flat_power(removed, structure))
        sums = np.bincount(owner, np.sqrt(structure), len(places.parts))
        place = places.parts[int(sums.argmax())]
    else:
        place = places.parts[0]
    part = _around(pair, place)
    return Seen(noise, edges, part, _unlike(patches, noise, spread), origin)


def _spread_of(means: Numbers, places: _Places) -> float:
    """Distance between dark and bright values."""
    spread = float(np.ptp(np.percentile(means, (1, 99)))) if means.size else 0.0
    if spread > 0:
        return spread
    parts = [p.values if p.measured is None else p.values[p.measured] for p in places.before]
    values = np.concatenate([part.ravel() for part in parts]).astype(np.float64)
    return float(np.ptp(values) or np.abs(values).max()) if values.size else 0.0


def _is_wide(places: _Places) -> bool:
    """Whether single precision lacks digits of the values."""
    return any(not fits_float32(parts[0].values.dtype) for parts in (places.before, places.after))


def _unlike(patches: list[NDArray[Any]], noise: LayerNoise, spread: float) -> str:
    """In what an input is unlike what nets are trained on."""
    if is_drawn(patches):
        return (
            "The input looks like a drawing, a text or a screenshot. Nets are trained on what "
            "cameras and microscopes see; check what they made of it."
        )
    if noise.is_known and noise.level > STRONG_NOISE * spread:
        return (
            "Noise is about as strong as what is shown. Few nets are trained on that: small "
            "structure in the output may as well be noise."
        )
    return ""


def _spectra(
    places: _Places, noise: LayerNoise, origin: float
) -> tuple[Numbers, Numbers, Numbers, NDArray[np.intp]]:
    """Power of each whole block and of what was removed, structure of the output, and its place."""
    power, removed, structure, owner = [], [], [], []
    for i, pair in enumerate(zip(places.before, places.after, strict=True)):
        blocks = [cut_blocks(to_floats(p.values, p.measured, origin)) for p in pair]
        whole = np.ones(len(blocks[0]), bool)
        for pixels in pair:
            if pixels.measured is not None:
                whole &= cut_blocks(pixels.measured).all((1, 2))
        if not whole.any():
            continue
        before, after = (b[whole] for b in blocks)
        means = after.mean((1, 2))
        units = noise.deviation(seen_means(after) + origin).astype(np.float32)
        x = to_spectra(before, before.mean((1, 2)), units)
        y = to_spectra(after, means, units)
        power.append(np.square(np.abs(x), dtype=np.float64))
        removed.append(np.square(np.abs(x - y), dtype=np.float64))
        structure.append(structure_of(np.square(np.abs(y), dtype=np.float64), noise))
        owner.append(np.full(len(means), i))
    if not removed:
        none = np.zeros((0, 0))
        return none, none, np.zeros(0), np.zeros(0, np.intp)
    return (
        np.concatenate(power), np.concatenate(removed), np.concatenate(structure),
        np.concatenate(owner),
    )  # fmt: skip


def _means(pixels: LayerPixels) -> Numbers:
    """Means of blocks that are measured as a whole."""
    blocks = cut_blocks(pixels.values)
    if pixels.measured is not None:
        blocks = blocks[cut_blocks(pixels.measured).all((1, 2))]
    found: Numbers = blocks.mean((1, 2), np.float64)
    return found


def _around(pair: Pair, place: ResolvedPart) -> ResolvedPart:
    """A larger part of the plane, with a place in its middle as far as that can be."""
    info, box = pair.before.info, place.box
    height, width = min(WINDOW_PX, info.height), min(WINDOW_PX, info.width)
    y = min(max(0, (box.y0 + box.y1 - height) // 2), info.height - height)
    x = min(max(0, (box.x0 + box.x1 - width) // 2), info.width - width)
    return ResolvedPart(place.number, Box(y, x, y + height, x + width))
