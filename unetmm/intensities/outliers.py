"""Single pixels, columns and rows that no optics can make: hot and dead ones, cosmic rays.

Optics spread light. A pixel that stands far out while its neighbours do not share its height is no
star, and a net makes a blob of it. So the net sees a stand-in there, made of the pixels around. A
pixel is an outlier if its height over the median of its surroundings

- is more than noise explains: `DEVIATIONS` of it at the brighter of both levels, so that a single
  photon in the dark is none,
- is more than `LEAST_HEIGHT` of the base range, so that small things and clean drawings are none,
- is more than the differences among its neighbours explain,
- is shared by at most two of its 24 neighbours: with the peak of a point source of deviation 1 px
  eight of them share it.

A pixel of a hot or dead column stands out from both sides of it, as most pixels above and below do;
rows likewise. All that looks `REACH_PX` far and no further, so it does not depend on how an image
is cut.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.noise import UNKNOWN, NoiseModel
from unetmm.intensities.range import ValueScale

OutlierChoice = Literal["keep", "replace", "none"]
"""Choice of what becomes of outliers: they keep their value, get the net's answer, or are not
looked for."""
OUTLIERS: tuple[OutlierChoice, ...] = ("keep", "replace", "none")
POINT, COLUMN, ROW = 1, 2, 3
"""Kinds of outliers: a single pixel, or one of a column or row."""
NEAR_PX = 3
"""Distance in pixels within which neighbours decide on a single pixel: two, and one more where a
cluster may go on."""
LINE_PX = 12
"""Distance in pixels along a column or row within which its pixels decide on one of them."""
REACH_PX = LINE_PX + NEAR_PX
"""Distance in pixels within which values decide on an outlier: a single pixel's neighbours may
belong to a line."""
DEVIATIONS = 8.0
"""Least height of a single outlier over its surroundings, in deviations of the noise."""
LINE_DEVIATIONS = 6.0
"""Least height of each pixel of a line over its two sides, in deviations of the noise."""
LEAST_HEIGHT = 0.12
"""Least height of an outlier, in widths of the base range."""
LEAST_LINE_HEIGHT = 0.3
"""Least height of a line, of which photos have more, in widths of the base range."""
COUNTED = NoiseModel(1.0, 0.0, 0.0)
"""Noise of whole numbers where none was measured: they may be single photons."""
LIMITS = 8
"""Number of limits of a sample, see `limits_of`."""
SCRATCH = 32
"""Numbers that a search needs for itself."""

Floats = NDArray[np.float32]


def limits_of(scale: ValueScale, noise: NoiseModel, dtype: np.dtype[Any]) -> Floats | None:
    """What a search needs to know of a sample, in its units; None if outliers cannot be told."""
    if noise == UNKNOWN:
        if dtype.kind == "f":
            return None
        noise = COUNTED
    low, unit = units_of(scale, dtype)
    width = (scale.high - scale.low) / unit
    read, gain, offset = noise.read / unit, noise.gain / unit, (noise.offset - low) / unit
    return np.array(
        [
            LEAST_HEIGHT * width, read**2, gain, offset, DEVIATIONS, LINE_DEVIATIONS,
            LEAST_LINE_HEIGHT * width, width,
        ],
        np.float32,
    )  # fmt: skip


def units_of(scale: ValueScale, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Stored value that is 0 to a search, and the one of its units: small whole numbers are looked
    at as they are, others in base ranges, or float32 would not hold their squares.
    """
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return 0.0, 1.0
    return scale.low, scale.high - scale.low


def window_rows(band_rows: int) -> int:
    """Rows of the windows of a strip: twice those that are needed, so that these seldom move."""
    return 4 * (REACH_PX + band_rows)


def search_bytes(rows: int, width: int, samples: int) -> int:
    """Bytes of a search in so many rows."""
    return rows * width * samples * 5 + 4 * (width + SCRATCH)
