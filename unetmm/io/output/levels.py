"""The levels of a pyramid: how large each is, how it is cut into chunks, how one makes the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.validity import NOTHING, NoData, finite_mask
from unetmm.io.image import Box, ImageInfo


@dataclass(frozen=True)
class Level:
    """One resolution of an image, as a grid of chunks."""

    height: int
    """Rows in pixels."""
    width: int
    """Columns in pixels."""
    chunk: tuple[int, int]
    """Rows and columns of a chunk; those at the lower and right edge may be smaller."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of chunks."""
        return -(-self.height // self.chunk[0]), -(-self.width // self.chunk[1])

    def box(self, row: int, column: int) -> Box:
        """The pixels of a chunk."""
        y, x = row * self.chunk[0], column * self.chunk[1]
        return Box(y, x, min(y + self.chunk[0], self.height), min(x + self.chunk[1], self.width))


def make_levels(info: ImageInfo, chunk: tuple[int, int]) -> tuple[Level, ...]:
    """A pyramid: full resolution, then each half of the one before, until one chunk holds it."""
    height, width = info.height, info.width
    for length, side in ((height, chunk[0]), (width, chunk[1])):
        assert side % 2 == 0 or length <= side, f"chunks of {side} px cannot be halved one by one"
    levels = [Level(height, width, chunk)]
    while height > chunk[0] or width > chunk[1]:
        height, width = -(-height // 2), -(-width // 2)
        levels.append(Level(height, width, chunk))
    return tuple(levels)


def halve(
    pixels: NDArray[Any], nodata: NoData = NOTHING, given: NDArray[np.bool_] | None = None
) -> NDArray[Any]:
    """Means of 2 x 2 pixels (h, w, samples) -> (ceil(h / 2), ceil(w / 2), samples), same dtype.

    Integers are rounded half up. Pixels without a measurement (NaN, nodata) are left out of the
    mean; where none of the four has one, the upper left stays. Every value depends on its four
    pixels only, so an image may be halved in any parts of even length.

    given: (h, w), where pixels hold a measurement by a mask beside them; None if everywhere.
    """
    h, w, _ = pixels.shape
    if h % 2 or w % 2:
        pixels = np.pad(pixels, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
        given = None if given is None else np.pad(given, ((0, h % 2), (0, w % 2)), mode="edge")
    quarters = [pixels[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    masks = [None if given is None else given[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    valid = _valid(quarters, nodata, masks)
    if valid is not None:
        return _mean_of_valid(quarters, valid)
    total = np.zeros(quarters[0].shape, _sum_dtype(pixels.dtype))
    for quarter in quarters:
        total += quarter
    if pixels.dtype.kind == "f":
        total *= 0.25
    else:
        total += 2
        total >>= 2
    return total.astype(pixels.dtype)


def halve_bytes(chunk: tuple[int, int], info: ImageInfo) -> int:
    """Most bytes `halve` takes beyond its argument and result, for a chunk.

    A padded copy and sums of a quarter of the values; where pixels may be left out, masks, and
    the sums and their rounding in float64.
    """
    dtype = info.dtype
    all_measured = dtype.kind != "f" and not info.nodata.stated and not info.has_mask
    each = dtype.itemsize + (
        _sum_dtype(dtype).itemsize // 4 if all_measured else dtype.itemsize + 6
    )
    masks = 2 if info.has_mask else 0  # as given and padded
    return chunk[0] * chunk[1] * (info.samples * each + masks)


def _sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "f":
        return np.dtype(np.float64)  # as `_mean_of_valid`: the pixels around must not matter
    return np.dtype(np.int32 if dtype.itemsize < 4 else np.int64)


def halve_mask(given: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where one of 2 x 2 pixels (h, w) at least holds a measurement, (ceil(h / 2), ceil(w / 2))."""
    h, w = given.shape
    padded = np.pad(given, ((0, h % 2), (0, w % 2)))
    found: NDArray[np.bool_] = padded[::2] | padded[1::2]
    return found[:, ::2] | found[:, 1::2]


def _valid(
    quarters: list[NDArray[Any]], nodata: NoData, given: list[NDArray[np.bool_] | None]
) -> list[NDArray[np.bool_]] | None:
    """Where each quarter holds a measurement; None if everywhere."""
    found = [finite_mask(q, nodata, m) for q, m in zip(quarters, given, strict=True)]
    if all(mask is None or bool(mask.all()) for mask in found):
        return None
    pairs = zip(quarters, found, strict=True)
    return [np.ones(q.shape, bool) if m is None else m for q, m in pairs]


def _mean_of_valid(quarters: list[NDArray[Any]], valid: list[NDArray[np.bool_]]) -> NDArray[Any]:
    dtype = quarters[0].dtype
    total = np.zeros(quarters[0].shape, np.float64)
    count = np.zeros(quarters[0].shape, np.int8)
    for quarter, mask in zip(quarters, valid, strict=True):
        np.add(total, quarter, out=total, where=mask)
        count += mask
    total /= np.maximum(count, 1)
    if dtype.kind != "f":
        np.floor(total + 0.5, out=total)
    mean = np.where(count > 0, total, 0).astype(dtype)
    return np.where(count > 0, mean, quarters[0])
