"""What the colours of an image have in common: noise, as of a grey image saved as RGB, or content.

A net for colours was trained on noise that is another one in each of them, and on content that is
much the same. What all of them show alike it takes for content, and leaves. Where they show nothing
alike, as channels of a microscope that were put together, each is better restored by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.doubts import Mask, Pairs
from unetmm.intensities.smear import block_view
from unetmm.intensities.validity import NoData, valid_mask

CELL_PX = 8
"""Side in pixels of the cells that are looked at."""
FEWEST = 4
"""Fewest such cells by which anything is told."""
UNLIKE = 0.2
"""Correlation of the steps from cell to cell of two colours up to which they may show different
things. Photographs of saturated colours have 0.1 at least, most of them 0.4."""
FINE_POWER = 36.0 * CELL_PX**2
"""Sum of the squares of second differences, along both axes, of a cell of noise of deviation 1."""
CONTENT = 4.0
"""Factor by which the squares of steps exceed those of noise alone where there is content."""
IN_COMMON = 0.95
"""Correlation of two colours that most cells have to exceed."""


def are_one_grey(pairs: Pairs, nodata: NoData) -> bool:
    """Whether all colours have the same values, apart from those that have one value everywhere."""
    varies, same = _compared(pairs, nodata)
    first = int(np.argmax(varies))
    return bool(varies.any() and same[first][varies].all())


def colours_share_noise(pairs: Pairs, nodata: NoData) -> bool:
    """Whether what varies from pixel to pixel does so in all colours that vary, nearly everywhere.

    Fine texture of a photograph does the same: how nets do on it tells whether it is noise.
    """
    products = np.concatenate([_products(*pair, nodata) for pair in pairs])
    power = np.diagonal(products, axis1=1, axis2=2)
    varies = power.any(0)
    live = (power[:, varies] > 0).all(1)  # else a colour was cut off, or there is no noise
    if varies.sum() < 2 or live.sum() < FEWEST:
        return False
    level = np.sqrt(power[live][:, varies])
    common = products[live][:, varies][..., varies] / (level[:, :, None] * level[:, None])
    return float(np.median(common.min((1, 2)))) > IN_COMMON


def colours_are_unlike(pairs: Pairs, nodata: NoData) -> bool:
    """Whether two colours hardly ever become brighter or darker at the same places."""
    steps = np.concatenate([_steps(*pair, nodata) for pair in pairs])
    if len(steps) < FEWEST or steps.shape[-1] < 2:
        return False
    products = steps.T @ steps
    level = np.sqrt(np.diagonal(products))
    if _least_common(products, level, level > 0) >= UNLIKE:  # as that of photographs is
        return False
    fine = np.concatenate([_products(*pair, nodata) for pair in pairs])
    noise = np.median(np.diagonal(fine, axis1=1, axis2=2), axis=0) / FINE_POWER if len(fine) else 0
    varies = level**2 > CONTENT * len(steps) * 2 * noise / CELL_PX**2
    return _least_common(products, level, varies) < UNLIKE


def _least_common(products: NDArray[Any], level: NDArray[Any], some: Mask) -> float:
    """Least correlation of some colours, by products of their steps; 1 of fewer than two."""
    if some.sum() < 2:
        return 1.0
    common = products[some][:, some] / (level[some][:, None] * level[some])
    return float(common.min())


def _steps(pixels: NDArray[Any], given: Mask | None, nodata: NoData) -> NDArray[np.float64]:
    """Differences of the means of cells that are measured and side by side, (steps, samples)."""
    values = _measured(pixels, given, nodata)
    samples = values.shape[2]
    rows, columns = (n // CELL_PX for n in values.shape[:2])
    if not rows or not columns:
        return np.zeros((0, samples))
    cells = [block_view(values[..., i], CELL_PX).mean((1, 2)) for i in range(samples)]
    grid = np.stack(cells, -1).reshape(rows, columns, samples)
    found = np.concatenate([np.diff(grid, axis=i).reshape(-1, samples) for i in (0, 1)])
    return np.asarray(found[np.isfinite(found).all(1)])


def _compared(pairs: Pairs, nodata: NoData) -> tuple[Mask, Mask]:
    """Which colours vary, and which of two have the same values everywhere."""
    count = pairs[0][0].shape[-1]
    varies, same = np.zeros(count, bool), np.ones((count, count), bool)
    level: NDArray[Any] | None = None
    for pixels, given in pairs:
        whole = _whole(pixels, given, nodata)
        values = pixels.reshape(-1, count) if whole is None else pixels[whole]
        if not len(values):
            continue
        level = values[0] if level is None else level
        varies |= (values != level).any(0)
        for i in range(count):
            for other in range(i):
                alike = same[i, other] and np.array_equal(values[:, i], values[:, other])
                same[i, other] = same[other, i] = alike
    return varies, same


def _products(pixels: NDArray[Any], given: Mask | None, nodata: NoData) -> NDArray[np.float64]:
    """Mean products of second differences of two colours in every measured cell of a patch,
    (cells, samples, samples).
    """
    values = _measured(pixels, given, nodata)
    steps = np.diff(np.diff(values, 2, axis=0), 2, axis=1)
    cells = np.stack([block_view(steps[..., i], CELL_PX) for i in range(steps.shape[2])], -1)
    products = np.einsum("byxi,byxj->bij", cells, cells)
    return np.asarray(products[np.isfinite(products).all((1, 2))])


def _measured(pixels: NDArray[Any], given: Mask | None, nodata: NoData) -> NDArray[np.float64]:
    """Values as floats, NaN where not all colours are measured."""
    whole = _whole(pixels, given, nodata)
    values = pixels.astype(np.float64)
    if whole is not None:
        values[~whole] = np.nan
    return values


def _whole(pixels: NDArray[Any], given: Mask | None, nodata: NoData) -> Mask | None:
    """Pixels of which all colours are measured; None where all are."""
    mask = valid_mask(pixels, nodata, given)
    return None if mask is None else np.asarray(mask.all(-1))
