"""Wider ranges for what lies beyond the base range, blended pixel by pixel.

A net knows values of 0 to 1. What lies far beyond is restored in a wider range that holds it:

    rung          0      1        2         3
    range width   1      8        64        512   ... times that of the base range
    holds up to   1.5    12       96        768

Which rung a pixel uses is a function of the stored values at most REACH_PX away, so it does not
depend on how an image is cut. Cells of a fixed grid that hold such pixels are computed by
themselves, each with a margin, in the rungs that they need. Each rung's input is clipped where the
next one takes over, so that the brighter does not spoil the dimmer next to it.

Values here are on the net's scale: `low` of the base range is 0, `high` is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.range import ValueScale

Floats = NDArray[np.float32]

CELL_PX = 64
"""Height and width in pixels of a cell of the grid."""
MARGIN_PX = 16
"""Pixels around a cell that are computed with it. Fewer than the receptive field: a cell is the
same for every cut, so the margin only has to hide its edges."""
BOX_PX = CELL_PX + 2 * MARGIN_PX
"""Height and width in pixels of what goes through the net for a cell."""
BOX_FLOATS = 40
"""Most float32 numbers for each pixel of a box and each channel that are alive at once, beside the
net's."""
BLOCK_ROWS = 16
"""Rows of a cell that are marked together as exceeding the base range."""
REACH_PX = 5
"""Distance in pixels within which values decide on a pixel's rung: 3 of the blur, 1 of the local
maximum, 1 of the mean."""
RATIO = 8.0
"""Width of a rung's range relative to that of the rung below."""
RUNGS = 8
"""Number of rungs above the base range. What is beyond them is no measurement of this image."""
HOLDS = 1.5
"""Largest value, relative to its range, that a rung is used for by itself."""
CLIPPED = 2.0
"""Value, relative to its range, at which the next rung has taken over, and input is clipped."""
LARGEST = RATIO**RUNGS
"""Distance from the base range, in widths of it, beyond which a value counts as no measurement."""
PLAIN_SHARE = 0.75
"""Share of its own value that a pixel counts with at least, however dark its neighbours are."""
DOUBT = (2.0, 4.0)
"""Structure in what the net took away, in deviations of noise, at which a pixel begins to stay as
it is stored, and at which it does."""
FLOOR = (0.003, 0.006)
"""Noise relative to a pixel's value below which a net has nothing to remove, and above which it
restores as usual; its own errors are about 0.25/255."""
NOISE_FACTOR = 1.6
"""Factor that makes the least of several local deviations one of the noise."""
MOST_NOISE = 2.0
"""Largest factor by which there may be more noise than the image was measured to have."""

_BLUR = np.exp(-(np.arange(-3, 4) ** 2) / 2.0)
_BLUR = (_BLUR / _BLUR.sum()).astype(np.float32)
BLURRED_DEVIATION = np.float32((_BLUR**2).sum())
"""Deviation that white noise of deviation 1 has after the blur, along both axes."""


@dataclass(frozen=True)
class Mended:
    """What a cell asks for: the answer becomes `share` times itself plus `add`."""

    share: Floats
    """Share (rows, columns, 1) of the base range's answer."""
    add: Floats
    """Values (rows, columns, channels) to add to it."""
    rungs: tuple[int, ...]
    """Number of pixels that use each rung most, from rung 1 on."""


def may_exceed(dtype: np.dtype[Any], scale: ValueScale) -> bool:
    """Whether a type has values that the base range does not hold."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    most, least = max(scale.seen(float(limits.max))), min(scale.seen(float(limits.min)))
    return most > HOLDS or least < 1 - HOLDS


def exceeding(values: Floats) -> NDArray[np.bool_] | None:
    """Where values (rows, columns, channels) exceed the base range; None: nowhere."""
    if not values.size or (values.max() <= HOLDS and values.min() >= 1 - HOLDS):
        return None
    found = (values > HOLDS) | (values < 1 - HOLDS)
    return np.asarray(found.any(2))


def stand_in(values: Floats, fill: float) -> bool:
    """Make values bearable for the base range, in place; gives whether some are no measurement.

    fill: what stands in for those, on the net's scale.
    """
    far = ~(np.abs(values) <= LARGEST)  # as written for NaN, which an overflow may leave
    is_far = bool(far.any())
    if is_far:
        values[far] = fill
    np.clip(values, 1 - CLIPPED, CLIPPED, out=values)
    return is_far


def mend(
    box: Floats,
    inner: tuple[slice, slice],
    forward: Callable[[Floats], Floats],
    noise: Sequence[NoiseModel] = (),
) -> Mended:
    """Restore what exceeds the base range in a cell.

    Parameters
    ----------
    box : (BOX_PX, BOX_PX, channels)
        The cell with its margin.
    inner : the cell within it, as far as it lies in the image.
    forward : the net, with the attention of its input.
    noise : of each channel, on the net's scale; none where it is not known.
    """
    height = local_height(box)
    weights = rung_weights(height, _rungs_for(float(height[inner].max())))
    used = [r for r, weight in enumerate(weights) if r and weight[inner].any()]
    pixels = [0] * RUNGS
    change = np.zeros_like(box)
    shift, both = _position(box)
    most = np.argmax(np.stack([weight[inner] for weight in weights]), axis=0)
    for rung in used:
        width = np.float32(RATIO**rung)
        seen = np.clip(box, 1 - CLIPPED * width, CLIPPED * width)
        width *= both
        seen = (seen - shift) / width + shift
        seen -= forward(seen)
        change -= weights[rung][..., None] * width * seen
        pixels[rung - 1] = int((most == rung).sum())
    change *= trust(box, change, height, noise)[..., None]
    base = weights[0][..., None]
    add = box + change - base * np.clip(box, 1 - CLIPPED, CLIPPED)
    return Mended(base[inner].copy(), add[inner].copy(), tuple(pixels))


def local_height(box: Floats) -> Floats:
    """How far from the other end of the base range a pixel's neighbourhood lies."""
    distance = np.maximum(box, 1 - box).max(2)
    blurred = np.maximum(_separable(distance, _blur), PLAIN_SHARE * distance)
    return _separable(_separable(blurred, _most), _mean)


def _rungs_for(height: float) -> int:
    """Rungs above the base range that hold such a height."""
    rungs = 0
    while rungs < RUNGS and height > HOLDS * RATIO**rungs:
        rungs += 1
    return rungs


def rung_weights(height: Floats, rungs: int) -> list[Floats]:
    """Weights of all rungs for each pixel, from the base range up to `rungs`; they add to 1."""
    above: Floats = np.log(np.maximum(height, HOLDS) / np.float32(HOLDS), dtype=np.float32)
    above = above / np.float32(np.log(RATIO))
    rise = np.float32(np.log(CLIPPED / HOLDS) / np.log(RATIO))
    reached = [smoothstep((above - np.float32(r)) / rise) for r in range(rungs)]
    bounds = [np.ones_like(height), *reached, np.zeros_like(height)]
    return [bounds[i] - bounds[i + 1] for i in range(rungs + 1)]


def _position(box: Floats) -> tuple[np.float32, np.float32]:
    """Value that all rungs see alike, and a factor of their width: they hold what exceeds above,
    below, or both.
    """
    above, below = bool((box > HOLDS).any()), bool((box < 1 - HOLDS).any())
    if above and below:
        return np.float32(0.5), np.float32(2)
    return np.float32(below), np.float32(1)


def trust(box: Floats, change: Floats, height: Floats, models: Sequence[NoiseModel] = ()) -> Floats:
    """Share of the net's change that is kept, pixel by pixel.

    What is taken away should look like noise. Where it is a blur of something, as of a star, or
    where there is less noise than the net makes itself, the stored value stays.
    """
    kept = np.ones_like(height)
    for i in range(box.shape[2]):
        model = models[i] if models else None
        np.minimum(kept, _trust(box[..., i], change[..., i], height, model), out=kept)
    return kept


def _trust(box: Floats, taken: Floats, height: Floats, model: NoiseModel | None) -> Floats:
    """The same by one channel; what is least counts for all, or colours would shift."""
    noise = local_noise(box)
    if model is not None:
        noise = np.minimum(noise, (MOST_NOISE * model.deviation(box)).astype(np.float32))
    noise = noise + np.float32(1e-12)
    structure: Floats = np.abs(_separable(taken, _blur)) / (BLURRED_DEVIATION * noise)
    begins, ends = DOUBT
    kept = 1 - smoothstep((structure - begins) / (ends - begins))
    single: Floats = np.divide(np.abs(taken), noise)
    kept *= 1 - smoothstep((single - np.float32(4)) / np.float32(2))
    least, enough = FLOOR
    known: Floats = noise / height
    return kept * smoothstep((known - least) / (enough - least))


def local_noise(mean: Floats) -> Floats:
    """Deviation of the noise near each pixel: the least around it, or edges would count as noise.

    Source: J. Immerkaer, Fast noise variance estimation, 1996, for the filter.
    """
    filtered = _separable(mean, lambda n: n[2] - 2 * n[3] + n[4])
    power = _separable(filtered * filtered, _mean)
    for _ in range(3):
        power = _separable(power, lambda n: np.minimum(np.minimum(n[2], n[3]), n[4]))
    return np.sqrt(power / 36) * np.float32(NOISE_FACTOR)


def smoothstep(t: Floats) -> Floats:
    """0 up to 0, 1 from 1 on, smooth between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


Neighbours = list[Floats]


def _separable(map: Floats, combine: Callable[[Neighbours], Floats]) -> Floats:
    """A filter along both axes, of the seven neighbours of each pixel; edges are repeated."""
    for axis in (0, 1):
        length = map.shape[axis]
        padded = np.pad(map, [(3, 3) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        rows = padded if axis == 0 else padded.T
        parts = [rows[i : i + length] for i in range(7)]
        map = combine([part if axis == 0 else part.T for part in parts])
    return map


def _blur(n: Neighbours) -> Floats:
    total: Floats = _BLUR[0] * n[0]
    for weight, part in zip(_BLUR[1:], n[1:], strict=True):
        total = total + weight * part
    return total


def _most(n: Neighbours) -> Floats:
    most: Floats = np.maximum(np.maximum(n[2], n[3]), n[4])
    return most


def _mean(n: Neighbours) -> Floats:
    mean: Floats = (n[2] + n[3] + n[4]) / np.float32(3)
    return mean
