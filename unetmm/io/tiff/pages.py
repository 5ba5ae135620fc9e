"""Which pages hold the planes of a TIFF, and what is done where some of them are missing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from unetmm.errors import ImageError
from unetmm.io.tiff.info import TiffAxes, missing_companions
from unetmm.io.tiff.page_list import PageList
from unetmm.io.tiff.segments import PageData, SegmentGrid

log = logging.getLogger(__name__)

_NAMES = {"T": "time points", "C": "channels", "Z": "depths"}


def find_pages(
    path: Path, series: tifffile.TiffPageSeries, grid: SegmentGrid, count: int
) -> Sequence[PageData | None]:
    """Where each page's segments lie; None for a page that was never written.

    Raises
    ------
    ImageError
        If a segment lies outside of its file or has no length, or pages are missing with the file
        they are in.
    """
    pages: Sequence[PageData | None]
    if series.is_truncated and len(series) < count:
        first = PageData.of(series.keyframe).with_counts(grid)
        pages = [first.shifted(i * grid.page_bytes) for i in range(count)]
        if not grid.raw:
            raise ImageError(f"{path}: describes {count} pages but holds 1; it is truncated")
    else:
        found = list(series)
        listed = PageList.of(found)
        if listed is not None and listed.is_sound(grid):
            pages = listed
        else:
            pages = [p if p is None else PageData.of(p).with_counts(grid) for p in found]
    if len(pages) != count:
        raise ImageError(f"{path}: describes {count} pages but holds {len(pages)}; it is damaged")
    if None in pages:
        missing = missing_companions(path, series)
        if missing:
            raise ImageError(f"{path}: needs {', '.join(missing)}; put these files beside it")
    if not isinstance(pages, PageList):
        for page in pages:
            if page is not None:
                page.check(grid)
    return pages


def drop_missing(
    path: Path, axes: TiffAxes, pages: Sequence[PageData | None]
) -> tuple[TiffAxes, Sequence[PageData | None]]:
    """What there is of an acquisition that was interrupted, with a warning.

    That is its complete first time points, or depths or channels where there is but one time.
    Planes that are missing elsewhere are left to be filled, with a warning too.
    """
    if None not in pages:
        return axes, pages
    there = np.reshape([page is not None for page in pages], axes.outer_shape)
    longer = [axis for axis in axes.outer if axes.length(axis) > 1]
    axis = "T" if "T" in longer else longer[0] if longer else ""
    if axis:
        number = axes.outer.index(axis)
        by_step = np.moveaxis(there, number, 0).reshape(axes.outer_shape[number], -1)
        whole = int(np.argmin(by_step.all(axis=1)))  # the first that is not complete
        if whole and not by_step[whole + 1 :].any():
            log.warning(
                "%s: describes %d %s but holds only the first %d completely; these are read",
                path, len(by_step), _NAMES[axis], whole,
            )  # fmt: skip
            kept = np.take(np.arange(len(pages)).reshape(there.shape), range(whole), axis=number)
            shape = (*axes.outer_shape[:number], whole, *axes.outer_shape[number + 1 :])
            return replace(axes, outer_shape=shape), [pages[int(i)] for i in kept.ravel()]
    log.warning("%s: %d of its %d planes are missing", path, pages.count(None), len(pages))
    return axes, pages
