"""Both images, read once from top to bottom: tiles of them and of what differs, and histograms."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import BudgetError
from unetmm.intensities.validity import valid_mask
from unetmm.io.image import Box, Plane, Source
from unetmm.io.measured import Mask, read_measured
from unetmm.process import available_cores, resident_bytes
from unetmm.quality.trust.pair import Pair
from unetmm.sizes import default_budget_bytes, format_size
from unetmm_cli.display.compare.pyramid import TILE_PX, Encoder, Pyramid, TileStore
from unetmm_cli.display.compare.values import Shades
from unetmm_cli.display.preview.pictures import difference_range, shown_samples, stretch_of

NAMES = ("before", "after", "difference")
"""Names of the pictures."""
LOOKS = 8
"""Rows of places that the stretch is measured by."""
LOOK_PX = 64
"""Height of them in pixels."""
LOOK_COLUMNS = 4096
"""Most columns of such a row that count, evenly spread."""
LEAST_ROWS = 32
"""Fewest rows that are read at once."""
PROFILE_PX = 800
"""Length of a profile in pixels, where the image is as wide."""
SPARE_BYTES = 90 * 10**6
"""Memory for libraries that are loaded late, tiles that wait, and the page."""

OnRows = Callable[[int, int], None]
"""Callback with the pixels that are done, and their final number."""


class Chosen(NamedTuple):
    """The plane that is shown, in each image."""

    before: Plane
    after: Plane


class Profile(NamedTuple):
    """Values along a part of a row, of the first shown sample."""

    row: int
    """Row of the plane."""
    column: int
    """First column."""
    before: NDArray[np.float64]
    after: NDArray[np.float64]


@dataclass(frozen=True)
class Built:
    """What was made of both images."""

    height: int
    """Height of the plane in pixels."""
    width: int
    """Width of the plane in pixels."""
    shades: Shades
    """Values that are black and white."""
    histograms: NDArray[np.int64]
    """Number of samples by byte, before and after, (2, 256)."""
    profile: Profile
    """Values along a row."""
    has_gaps: bool
    """Whether some pixels are not measured."""


def build(
    pair: Pair,
    chosen: Chosen,
    row: int | None,
    store: TileStore,
    budget_bytes: int | None,
    on_rows: OnRows | None = None,
) -> Built:
    """Write all tiles.

    Parameters
    ----------
    row : of the profile; None for the one in the middle.

    Raises
    ------
    BudgetError
        If the budget is too small for a few rows.
    """
    info = pair.before.info
    height, width = info.height, info.width
    colours = _colours(pair)
    rows = _rows_at_once(pair, colours, budget_bytes)
    shades = _shades(pair, chosen, colours)
    profile_row = height // 2 if row is None else row
    encoder = Encoder(store, available_cores())
    pyramids = [Pyramid(name, height, width, encoder.encode) for name in NAMES]
    histograms, profile, has_gaps = np.zeros((2, 256), np.int64), None, False
    try:
        with ThreadPoolExecutor(len(NAMES)) as pool:
            for y in range(0, height, rows):
                box = Box(y, 0, min(y + rows, height), width)
                pixels, measured = _read(pair, chosen, box, colours)
                has_gaps = has_gaps or measured is not None
                if box.y0 <= profile_row < box.y1:
                    profile = _profile(pixels, profile_row, box)
                histograms += _add_all(pool, pyramids, shades, pixels, measured)
                if on_rows is not None:
                    on_rows(box.y1 * width, height * width)
        for pyramid in pyramids:
            pyramid.close()
    finally:
        encoder.close()
    assert profile is not None, "its row lies in the plane"
    return Built(height, width, shades, histograms, profile, has_gaps)


def _add_all(
    pool: ThreadPoolExecutor,
    pyramids: list[Pyramid],
    shades: Shades,
    pixels: list[NDArray[Any]],
    measured: Mask | None,
) -> NDArray[np.int64]:
    """Add some rows to all pictures; gives how often each byte is there, before and after."""
    work = [
        pool.submit(_add, pyramids[0], shades.picture, pixels[0], measured),
        pool.submit(_add, pyramids[1], shades.picture, pixels[1], measured),
        pool.submit(_add, pyramids[2], shades.difference, *pixels, measured),
    ]
    before, after, _ = (one.result() for one in work)
    return np.stack([before, after])


def _add(pyramid: Pyramid, shade: Callable[..., Any], *values: Any) -> NDArray[np.int64]:
    """Shade some rows and add them to a picture; gives how often each byte is there."""
    picture = shade(*values)
    pyramid.add(picture)
    return np.bincount(picture.ravel(), minlength=256)


def _colours(pair: Pair) -> int:
    """Samples that are shown of each image: three colours, or one."""
    found = [s.info.samples - s.info.alpha for s in (pair.before, pair.after)]
    return 3 if min(found) >= 3 else 1


def _read(
    pair: Pair, chosen: Chosen, box: Box, colours: int
) -> tuple[list[NDArray[Any]], Mask | None]:
    """What is shown of a box of both images, and where both are measured."""
    pixels, mask = [], None
    for source, plane in zip((pair.before, pair.after), chosen, strict=True):
        values, own = _read_one(source, plane, box, colours)
        pixels.append(values)
        if own is not None:
            mask = own if mask is None else mask & own
    return pixels, mask


def _read_one(
    source: Source, plane: Plane, box: Box, colours: int
) -> tuple[NDArray[Any], Mask | None]:
    info = source.info
    read, given = read_measured(source, plane, box)
    values = shown_samples(read, info.alpha)[..., :colours]
    nodata = info.nodata_of(plane[1], range(colours))
    mask = valid_mask(values, nodata, given)
    return values, None if mask is None or mask.all() else np.asarray(mask.all(-1))


def _shades(pair: Pair, chosen: Chosen, colours: int) -> Shades:
    """The stretch, by rows that lie evenly over the plane."""
    info = pair.before.info
    height = min(LOOK_PX, max(1, info.height // LOOKS))
    step = max(1, info.width // LOOK_COLUMNS)
    found: list[list[NDArray[Any]]] = [[], []]
    for i in range(min(LOOKS, info.height)):
        y = (2 * i + 1) * (info.height - height) // (2 * LOOKS)
        box = Box(y, 0, y + height, info.width)
        pixels, mask = _read(pair, chosen, box, colours)
        for kept, values in zip(found, pixels, strict=True):
            part = values[:, ::step]
            known = part if mask is None else part[mask[:, ::step]]
            kept.append(known.reshape(-1, 1, colours).copy())
    before, after = (np.concatenate(parts) for parts in found)
    if not before.size:
        return Shades(stretch_of(before, None), 0.0)
    return Shades(stretch_of(before, None), difference_range(before, [after], None))


def _rows_at_once(pair: Pair, colours: int, budget_bytes: int | None) -> int:
    """Rows that are read at once, so that all fits the budget."""
    info = pair.before.info
    budget = default_budget_bytes() if budget_bytes is None else budget_bytes
    sources = (pair.before, pair.after)
    # Rows that wait to become tiles, at all levels, of three pictures, and copies of them.
    held = resident_bytes() + SPARE_BYTES + sum(s.resident_bytes for s in sources)
    held += 3 * 3 * TILE_PX * info.width * colours
    rows = TILE_PX
    while True:
        row_bytes = sum(info.width * (s.info.samples * s.info.dtype.itemsize + 4) for s in sources)
        needed = held + rows * (row_bytes + 5 * info.width * colours)
        needed += max(s.read_bytes(rows, info.width) for s in sources)
        if needed <= budget:
            return rows
        if rows == LEAST_ROWS:
            raise BudgetError(
                f"Budget {format_size(budget)} is too small for a page of these images: "
                f"{format_size(needed)} is the least", budget_bytes=budget, needed_bytes=needed,
            )  # fmt: skip
        rows //= 2


def _profile(pixels: list[NDArray[Any]], row: int, box: Box) -> Profile:
    """Values along the middle of a row."""
    width = pixels[0].shape[1]
    first = max(0, (width - PROFILE_PX) // 2)
    lines = [np.asarray(v[row - box.y0, first : first + PROFILE_PX, 0], np.float64) for v in pixels]
    return Profile(row, first, lines[0], lines[1])
