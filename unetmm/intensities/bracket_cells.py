"""Cells of what exceeds the base range, restored in wider ranges (see `brackets`); loads Numba."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.geometry import round_up
from unetmm.intensities import brackets_kernel as kernel
from unetmm.intensities.brackets import (
    CLIPPED,
    HOLDS,
    LEAST_SHARE,
    MARGIN_PX,
    MOST_NOISE,
    RATIO,
    RUNGS,
    Floats,
)
from unetmm.intensities.brackets_rows import compile_rows
from unetmm.intensities.noise import NoiseModel

Area = tuple[slice, slice]
"""Rows and columns of a map."""


@dataclass(frozen=True)
class Mended:
    """What a cell asks for: of the base range's answer `share` counts, the rest is the stored value
    and `change`.
    """

    share: Floats
    """Share (rows, columns) of the base range's answer."""
    change: Floats
    """Values (rows, columns, channels) to add."""
    rungs: tuple[int, ...]
    """Number of pixels that were restored in each rung most, from rung 1 on."""


def mend(
    window: Floats,
    inner: tuple[slice, slice],
    forward: Callable[[Floats], Floats],
    noise: Sequence[NoiseModel] | None = (),
    stride_px: int = 1,
) -> Mended:
    """Restore what exceeds the base range in a cell.

    Parameters
    ----------
    window : (rows, columns, channels)
        The cell with `window_reach` pixels around it, as far as the image has them.
    inner : the cell within it.
    forward : the net, with the attention of its input, whose sides are multiples of its stride.
    noise : of each channel, on the net's scale; none where it is not known. None: the net is not to
        remove noise, and all that it changes counts.
    """
    look = _Look(window, inner)
    change, pixels = np.zeros_like(window), [0] * RUNGS
    if look.largest > 0 and noise is not None:
        look.measure(noise)
    keep = look.keep_all if noise is None else look.keep_noise
    for rung in range(1, math.ceil(look.largest) + 1):
        for box in look.boxes(rung, stride_px):
            keep(_taken(window, box, rung, forward), rung, box, change)
            pixels[rung - 1] += look.count(rung)
    share = np.empty(window[inner].shape[:2], np.float32)
    maps = (np.ascontiguousarray(m[inner]) for m in (window, look.place, look.near))
    kernel.shares_near(*maps, share)
    return Mended(share, change[inner].copy(), tuple(pixels))


class _Look:
    """What is known of the pixels of a window, and room to find it out."""

    def __init__(self, window: Floats, inner: tuple[slice, slice]) -> None:
        self.window, self.inner = window, inner
        rows, columns, _ = window.shape
        self.height, self.place, self.room = np.empty((3, rows, columns), np.float32)
        self.near, self.need, self.flags = np.zeros((3, rows, columns), np.uint8)
        self.noise = np.empty((0, rows, columns), np.float32)
        """Noise around each pixel, by channel; of none before it is measured."""
        self.line = np.empty(columns + 2 * kernel.SIDE_PX, np.float32)
        self.sums = np.empty(columns, np.int64)
        self.largest = float(
            kernel.places(
                window, self.height, self.place, self.near, self.flags, self.room, self.line,
                self.sums,
            )
        )  # fmt: skip

    def measure(self, models: Sequence[NoiseModel]) -> None:
        """Measure the noise around each pixel."""
        self.noise = np.empty((self.window.shape[2], *self.height.shape), np.float32)
        for i, noise in enumerate(self.noise):
            limit = np.empty((0, 0), np.float32)
            if models:
                limit = (MOST_NOISE * models[i].deviation(self.window[..., i])).astype(np.float32)
            kernel.local_noise(self.window, i, limit, noise, self.room, self.line)

    def boxes(self, rung: int, stride_px: int) -> Iterator[Area]:
        """The boxes to compute in a rung that are worth it; they may reach beyond the window's
        edges where those are the image's. While one is used, `need` has the pixels that need it.
        """
        box = np.zeros(4, np.int64)
        y, x = self.inner
        found = kernel.needed(
            rung, self.place, self.height, self.noise, (y.start, x.start), (y.stop, x.stop),
            self.need, self.flags, self.sums, box,
        )  # fmt: skip
        if not found:
            return
        top, left, bottom, right = box.tolist()
        need = self.need
        for part in _apart(need, np.s_[top:bottom, left:right], stride_px):
            if np.count_nonzero(need[part]) >= LEAST_SHARE * _computed_px([part], stride_px):
                self.need = np.zeros_like(need)
                self.need[part] = need[part]
                yield _with_margins(part, stride_px)
        self.need = need

    def keep_noise(
        self, taken: Floats, rung: int, box: tuple[slice, slice], change: Floats
    ) -> None:
        """Add to `change` what of a rung's is noise."""
        kept, blurred, room = np.empty((3, *taken.shape[:2]), np.float32)
        line = np.empty(taken.shape[1] + 2 * kernel.SIDE_PX, np.float32)
        kernel.keep_noise(
            taken, rung, box[0].start, box[1].start, self.place, self.height, self.noise,
            self.need, change, kept, blurred, room, line,
        )  # fmt: skip

    def keep_all(self, taken: Floats, rung: int, box: tuple[slice, slice], change: Floats) -> None:
        """Add to `change` all of a rung's, whatever it is."""
        y, x = (
            slice(max(0, side.start), min(length, side.stop))
            for side, length in zip(box, self.place.shape, strict=True)
        )
        rows, columns = (
            slice(own.start - side.start, own.stop - side.start)
            for own, side in zip((y, x), box, strict=True)
        )
        weight = 1 - np.abs(self.place[y, x] - np.float32(rung))
        weight *= (weight > 0) & (self.need[y, x] != 0)
        change[y, x] -= weight[..., None] * taken[rows, columns]

    def count(self, rung: int) -> int:
        """Number of pixels that were restored mostly in the rung that was asked for last."""
        mostly = np.abs(self.place - np.float32(rung)) <= np.float32(0.5)
        return int(np.count_nonzero(mostly[self.need != 0]))


def _apart(need: NDArray[np.uint8], area: Area, stride_px: int) -> Iterator[Area]:
    """Parts of an area that need a rung, cut along the widest gaps as long as that saves pixels.

    What is near each other is one part: a net sees more of it, and each part has a cost.
    """
    used = [np.flatnonzero(need[area].any(axis=axis)) for axis in (1, 0)]
    y, x = (
        slice(side.start + int(there[0]), side.start + int(there[-1]) + 1)
        for side, there in zip(area, used, strict=True)
    )
    parts: list[Area] = [(y, x)]
    for axis, there in enumerate(used):
        gap = int(np.argmax(np.diff(there, prepend=there[0])))
        if gap == 0:
            continue
        first, last = (area[axis].start + int(there[i]) for i in (gap - 1, gap))
        before, after = slice(area[axis].start, first + 1), slice(last, area[axis].stop)
        cut = [(before, x), (after, x)] if axis == 0 else [(y, before), (y, after)]
        parts = min(parts, cut, key=lambda areas: _computed_px(areas, stride_px))
    if len(parts) == 1:
        yield y, x
        return
    for part in parts:
        yield from _apart(need, part, stride_px)


def _computed_px(areas: Iterable[Area], stride_px: int) -> int:
    """Number of pixels that go through the net for some areas."""
    sides = (_with_margins(area, stride_px) for area in areas)
    return sum((y.stop - y.start) * (x.stop - x.start) for y, x in sides)


def _with_margins(area: Area, stride_px: int) -> Area:
    """An area with a margin, and as many more pixels as the net's stride asks for."""
    y, x = (_with_margin(side.start, side.stop, stride_px) for side in area)
    return y, x


def _with_margin(first: int, last: int, stride_px: int) -> slice:
    """Pixels of an axis with a margin, and as many more as the net's stride asks for."""
    length = round_up(last - first + 2 * MARGIN_PX, stride_px)
    start = first - (length - (last - first)) // 2
    return slice(start, start + length)


def _taken(
    window: Floats, box: tuple[slice, slice], rung: int, forward: Callable[[Floats], Floats]
) -> Floats:
    """What the net takes away from a box in a rung."""
    rows, columns = (
        _inside(side, length) for side, length in zip(box, window.shape[:2], strict=True)
    )
    values = window[rows[:, None], columns]
    width = np.float32(RATIO**rung)
    seen = np.clip(values, 1 - CLIPPED * width, CLIPPED * width)
    shift, both = _position(values)
    width *= both
    seen = (seen - shift) / width + shift
    seen -= forward(seen)
    seen *= width
    return seen


def _inside(side: slice, length: int) -> NDArray[np.int64]:
    """Indices of an axis; beyond its ends it is mirrored."""
    period = max(1, 2 * (length - 1))
    index = np.arange(side.start, side.stop) % period
    return np.minimum(index, period - index) if length > 1 else 0 * index


def _position(box: Floats) -> tuple[np.float32, np.float32]:
    """Value that all rungs see alike, and a factor of their width: they hold what exceeds above,
    below, or both.
    """
    above, below = bool((box > HOLDS).any()), bool((box < 1 - HOLDS).any())
    if above and below:
        return np.float32(0.5), np.float32(2)
    return np.float32(below), np.float32(1)


def compile_brackets() -> int:
    """Compile what cells and rows ask for, or read it from disk; gives the pixels of a trial."""
    compile_rows()
    side = 8 * MARGIN_PX
    y, x = np.mgrid[:side, :side]
    uneven = (7 * y + 13 * x) % 5 < 2  # which is taken for noise
    window = np.where(uneven, HOLDS + 0.5, HOLDS + 0.7)[..., None].astype(np.float32)
    found = [
        mend(window, np.s_[0:side, 0:side], np.zeros_like, noise)
        for noise in ((), (NoiseModel(0.0, 0.0, 1.0),))
    ]
    return sum(sum(mended.rungs) for mended in found)
