"""What is doubtful in the bands of an image that a net takes together, in words for a reader."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.choice import Choice
from unetmm.intensities.doubts import value_spans, values_differ_much
from unetmm.intensities.validity import NoData, measured_of
from unetmm.io.image import ImageInfo

ENDS = (0.1, 50.0, 99.9)
"""Percentiles of a band's values that are compared with the range that the net sees."""
FAINT = 0.02
"""Share of that range which the brightest band has to reach."""


def band_doubts(
    chosen: Choice, nodata: NoData, info: ImageInfo, seen: tuple[float, float] | None
) -> Iterator[str]:
    """A line for bands that hold nothing, and one if values do not go with the range seen.

    seen : stored values that the net sees as 0 and 1; None where they are measured.
    """
    values = [_values(chosen, nodata, i) for i in range(len(info.joined))]
    for empty, says in ((_has_nothing, "no measurement"), (_is_even, "a single value")):
        if listed := [band_name(info, i) for i, v in enumerate(values) if empty(v)]:
            hold = "hold" if len(listed) > 1 else "holds"
            yield (
                f"{', '.join(listed)} {hold} {says} in all that was looked at, and the net takes "
                "it as it is; see whether it is the band that the net was made for"
            )
    ends = [np.percentile(v, ENDS) for v in values if v.size]
    if not ends:
        return
    if seen is not None:
        yield from _beside(seen, float(max(e[2] for e in ends)), float(min(e[1] for e in ends)))
        return
    pairs = chosen.pairs
    if values_differ_much(pairs, nodata):
        spans = ", ".join(f"{span:.3g}" for span in value_spans(pairs, nodata))
        yield (
            f"the bands span very different ranges ({spans}), and the net sees all of them on one; "
            "where it was trained on each band's own, import it with --mean and --std"
        )


def band_name(info: ImageInfo, number: int) -> str:
    """A band as a reader knows it, counted from 1."""
    name = info.joined[number]
    return f"band {number + 1} ({name})" if name else f"band {number + 1}"


def _beside(seen: tuple[float, float], highest: float, lowest_middle: float) -> Iterator[str]:
    """A line if values are far from those that the net sees as 0 to 1."""
    low, high = seen
    if low + FAINT * (high - low) <= highest and lowest_middle <= high:
        return
    found = f"reach {highest:.6g}" if lowest_middle <= high else f"lie around {lowest_middle:.6g}"
    yield (
        f"the net sees {low:.6g} to {high:.6g} as 0 to 1, and the values looked at {found}; if the "
        "image counts in other units, --range LOW,HIGH says what they are (fixed_range in Python)"
    )


def _values(chosen: Choice, nodata: NoData, sample: int) -> NDArray[np.float64]:
    parts = [measured_of(p.pixels, sample, nodata, p.given) for p in chosen.patches]
    return np.concatenate(parts).astype(np.float64)


def _has_nothing(values: NDArray[np.float64]) -> bool:
    return not values.size


def _is_even(values: NDArray[np.float64]) -> bool:
    return bool(values.size) and float(values.min()) == float(values.max())
