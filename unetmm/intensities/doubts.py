"""What some pixels of an image tell of values that may be no measurement, in words for a reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.labels import labels_in_words
from unetmm.intensities.validity import (
    NoData,
    measured_of,
    measured_values,
    valid_mask,
    without_fills,
)

FLAT_PX = 16
"""Side in pixels of a square of one value that no noise leaves so."""
SPAN = (1.0, 99.0)
"""Percentiles between which a colour's values lie."""
UNEQUAL = 8.0
"""Ratio of the widest span of a colour to the narrowest that is worth a word."""
FEW_OTHERS = 16
"""Number of pixels of another value in such squares up to which one without any is chance."""
FLAT_SHARE = 0.02
"""Share of pixels in such squares above which they are doubtful."""
NARROW_PX = 32
"""Longest short side of planes that may be a row of channels."""
SOFT_SHARE = 0.5
"""Share of pixels that are neither clear nor opaque above which opacity is doubtful."""
FEW_LEVELS = 8
"""Number of different opacities up to which it is none the less one."""
_SHARE = re.compile(r"(\d[\d.e-]*) % ")
"""Share that a line begins with."""
MANY = 2
"""Least number of planes, and of pixels along the long side, for each pixel of the short one, where
axes may be taken for each other."""

Mask = NDArray[np.bool_]
Pairs = Sequence[tuple[NDArray[Any], Mask | None]]
"""Pixels (height, width, samples) of patches, and the mask that came with each."""
NONE_EVEN: Mapping[float, float] = MappingProxyType({})
"""Shares where nothing else was looked at."""


def find_narrow_planes(height_px: int, width_px: int, planes: int) -> Iterator[str]:
    """A line if planes are so narrow, and so many, that an axis may be taken for another."""
    short_px, long_px = sorted((height_px, width_px))
    if short_px <= NARROW_PX and min(planes, long_px) >= MANY * short_px:
        axis = "X" if width_px < height_px else "Y"
        yield (
            f"{planes} planes of only {width_px} x {height_px} px: noise can hardly be told from "
            f"content there; if {axis} is an axis of channels or of depth, --axes says so (axes= "
            "in Python)"
        )


def find_measured_opacity(
    opacity: Sequence[NDArray[Any]], samples: int, bands: str
) -> Iterator[str]:
    """A line if what is marked as opacity looks like a measurement.

    Parameters
    ----------
    opacity : (height, width) each, all of one dtype; the last of so many `samples`.
    bands : numbers of all samples, as --bands takes them; empty where they can be none.
    """
    values = np.concatenate([part.ravel() for part in opacity])
    opaque = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    soft = values[(values > 0) & (values < opaque)]
    share = soft.size / max(1, values.size)
    if share > SOFT_SHARE and len(np.unique(soft)) > FEW_LEVELS:
        yield (
            f"sample {samples} is marked as opacity and stays as it is, but {_percent(share)} of "
            "its pixels are neither clear nor opaque"
            + (f"; if it is a measured band, give --bands {bands}" if bands else "")
        )


def find_doubts(
    patches: Sequence[NDArray[Any]],
    nodata: NoData,
    masks: Sequence[Mask | None],
    is_grey: bool = False,
    are_colours: bool = True,
    even: Mapping[float, float] = NONE_EVEN,
) -> Iterator[str]:
    """One line for each thing that is doubtful.

    Parameters
    ----------
    patches : (height, width, samples) each, all of one dtype.
    nodata : what is said of the values of these samples.
    masks : the mask that came with each patch.
    is_grey : whether they are not of one colour of several.
    are_colours : whether several samples are the colours of a pixel, and not bands.
    even : share of small cells elsewhere in the image by the value that all their pixels have.
    """
    pairs = list(zip(patches, masks, strict=True))
    if is_grey and (words := labels_in_words(patches, masks)):
        yield f"{words}; a net would make values between those of neighbours at the edges"
        return
    values = np.concatenate([measured_values(p, nodata, m) for p, m in pairs])
    count = sum(p.size for p in patches)
    if not values.size:
        if nodata.stated or any(m is not None for m in masks):
            yield (
                "no pixel that was looked at holds a measurement by what the image says of its "
                "values, mask or opacity; such pixels stay as they are, --nodata none restores them"
            )
        else:
            yield "no pixel that was looked at is a number; such pixels stay as they are"
        return
    kept, fills = without_fills(values) if nodata.guessed else (values, ())
    if fills:
        yield (
            f"{_percent((values.size - kept.size) / count)} of the pixels looked at are "
            f"{_listed(fills)}, far beyond all others, and taken for no data; if they are "
            "measured, give --nodata none"
        )
    if are_colours:
        yield from _unequal_colours(pairs, nodata)
    least, most = float(kept.min()), float(kept.max())
    for value in dict.fromkeys((*_extremes(patches[0].dtype), least, most)):
        yield from _unmarked(pairs, nodata, value, even.get(value, 0.0))


def _unmarked(
    pairs: Pairs,
    nodata: NoData,
    value: float,
    elsewhere: float,
) -> Iterator[str]:
    """A line if much of an image has one value that may stand for no data.

    elsewhere : share of small cells in the rest of the image that have it.
    """
    own = _flat_share(pairs, nodata, value)
    share = max(own or 0.0, elsewhere if elsewhere < 1 else 0.0)
    if own is not None and share > FLAT_SHARE:
        yield (
            f"{_percent(share)} of the pixels looked at lie in areas that are exactly "
            f"{value:.10g}, without any noise, and count as measured; if that is no data, "
            f"give --nodata {value:.10g}"
        )


def _unequal_colours(pairs: Pairs, nodata: NoData) -> Iterator[str]:
    """A line if a net sees some colours on a small part of the range of others."""
    if values_differ_much(pairs, nodata):
        spans = value_spans(pairs, nodata)
        listed = ", ".join(f"{span:.3g}" for span in spans)
        yield (
            f"the colours span very different ranges ({listed}); a colour model restores the "
            "narrow ones little: --model tiny-mono restores each by itself"
        )


def values_differ_much(pairs: Pairs, nodata: NoData) -> bool:
    """Whether a net sees some colours or bands on a small part of the range of others."""
    if pairs[0][0].shape[-1] < 2 or pairs[0][0].dtype == np.uint8:
        return False
    spans = value_spans(pairs, nodata)
    return max(spans) > UNEQUAL * min(spans) > 0


def value_spans(pairs: Pairs, nodata: NoData) -> list[float]:
    """Range of the values of each colour or band, without a few at either end."""
    spans = []
    for i in range(pairs[0][0].shape[-1]):
        values = np.concatenate([measured_of(p, i, nodata, m) for p, m in pairs])
        low, high = np.percentile(values, SPAN) if values.size else (0.0, 0.0)
        spans.append(float(high - low))
    return spans


def _extremes(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Values that often stand for no data although nobody says so."""
    if dtype.kind == "f":
        return (0.0,)
    limits = np.iinfo(dtype)
    return tuple(dict.fromkeys((0, int(limits.min), int(limits.max))))


def _flat_share(pairs: Pairs, nodata: NoData, value: float) -> float | None:
    """Share of squares that have one measured value; 0 if all have, for that is the image. None if
    the others hardly have another one: where photons are few, a square without any is chance.
    """
    flat = total = 0
    others: list[NDArray[np.intp]] = []
    for pixels, given in pairs:
        same = (pixels == value).all(axis=-1)
        if same.any() and (mask := valid_mask(pixels, nodata, given)) is not None:
            same &= mask.all(axis=-1)
        h, w = (max(1, n // FLAT_PX) for n in same.shape)
        rows, columns = min(FLAT_PX, same.shape[0]), min(FLAT_PX, same.shape[1])
        squares = same[: h * rows, : w * columns].reshape(h, rows, w, columns)
        other = rows * columns - np.count_nonzero(squares, axis=(1, 3))
        flat += int(np.count_nonzero(other == 0))
        total += other.size
        others.append(other[other > 0])
    if flat == total:
        return 0.0
    return None if np.median(np.concatenate(others)) <= FEW_OTHERS else flat / total


def without_repeats(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines, of those that differ in the share alone that they begin with the one of most."""
    most: dict[str, tuple[float, str]] = {}
    for line in lines:
        begin = _SHARE.match(line)
        share, rest = (float(begin[1]), line[begin.end() :]) if begin else (0.0, line)
        most[rest] = max((share, line), most.get(rest, (share, line)))
    return tuple(line for _, line in most.values())


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _listed(values: Sequence[float]) -> str:
    return " or ".join(f"{value:.6g}" for value in values)
