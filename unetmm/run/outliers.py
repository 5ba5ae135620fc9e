"""Finds outliers, and point sources, in a strip's rows before these go through the net.

    rows as read, REACH_PX wider --> windows --search--> rows of the strip, with stand-ins
                                 \\--> held back until the rows below are known

A row is held back until the REACH_PX rows below it are known. What is held is a copy, so that no
slab lives on for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.outliers import POINT, REACH_PX, limits_of, units_of, window_rows
from unetmm.intensities.points import REACH_PX as POINT_REACH_PX
from unetmm.intensities.points import PointRule, point_share
from unetmm.io.image import Box
from unetmm.models.groups import slice_of
from unetmm.run.job import Job
from unetmm.run.slab import Rows
from unetmm.run.task import Task

if TYPE_CHECKING:
    from unetmm.calibrate.calibration import ChannelStatistics
    from unetmm.intensities.outlier_search import Search


LEAST_IMAGE_PX = 32
"""Least height and width of an image in which point sources are looked for."""


def reach_px(job: Job) -> int:
    """How far beyond a strip its rows are read."""
    return 0 if job.outliers == "none" else REACH_PX


def rows_with_stand_ins(job: Job, task: Task, rows: Iterator[Rows]) -> Iterator[Rows]:
    """A strip's rows, in bands as they come, with stand-ins for outliers where there are any.

    rows : those of the strip with the columns and rows that are within reach of it.
    """
    if job.outliers == "none":
        yield from rows
        return
    held = _HeldRows(job, task)
    for some in rows:
        held.take(some)
        del some  # or its slab would live on while the two next ones do
        yield from held.judged()
    held.end()
    yield from held.judged()


def search_for(job: Job, channel: int, rows: int, width: int) -> Search:
    """A search in the colours of a channel."""
    # It loads Numba, without which this package is imported for a plan.
    from unetmm.intensities.outlier_search import Search

    entries = [job.calibration.entry(channel, number) for number in range(len(job.groups))]
    dtype = job.source.info.dtype
    scales = [e.as_line for e, group in zip(entries, job.groups, strict=True) for _ in group]
    limits = [
        limits_of(e, e.noise_of(i), dtype)
        for e, group in zip(entries, job.groups, strict=True)
        for i in range(len(group))
    ]
    return Search(scales, limits, rows, width)


def box_with_stand_ins(job: Job, channel: int, rows: Rows, read: Box, box: Box) -> Rows:
    """A part of some rows with stand-ins for outliers.

    read : box of the rows: the part and what lies within reach of it.
    """
    inner = (
        slice(box.y0 - read.y0, box.y1 - read.y0), slice(box.x0 - read.x0, box.x1 - read.x0),
    )  # fmt: skip
    known = None if rows.known is None else rows.known[inner]
    given = None if rows.given is None else rows.given[inner]
    part = Rows(rows.stored[inner], given, rows.seen[inner], known)
    if job.outliers == "none":
        return part
    search = search_for(job, channel, box.height, box.width)
    shape = len(search.scales), box.height + 2 * REACH_PX, box.width + 2 * REACH_PX
    windows = np.full(shape, np.nan, np.float32)
    top, left = (REACH_PX - (box.y0 - read.y0), REACH_PX - (box.x0 - read.x0))
    target = windows[:, top : top + read.height, left : left + read.width]
    search.fill(rows.stored, rows.measured, target)
    return _stood_in(part, search, _meant(job, search.find(windows, REACH_PX, box.height)))


def _meant(job: Job, kinds: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    """The outliers that count. Clean images have lines that look like columns and rows of them,
    which a net that leaves noise in is better shown.
    """
    if kinds is None or job.removes_noise:
        return kinds
    kinds = np.where(kinds == POINT, kinds, 0).astype(np.uint8)
    return kinds if kinds.any() else None


def _stood_in(rows: Rows, search: Search, kinds: NDArray[np.uint8] | None) -> Rows:
    if kinds is None:
        return rows
    seen = rows.seen.copy()
    search.replace(seen, kinds)
    return rows._replace(seen=seen, outliers=kinds)


def _in_windows(entry: ChannelStatistics, dtype: np.dtype[Any]) -> list[PointRule]:
    """Rules for point sources in the units of windows."""
    low, unit = units_of(entry.as_line, dtype)
    factor, shift = (entry.high - entry.low) / unit, (entry.low - low) / unit
    return [rule.moved(factor, shift) for rule in entry.points]


class _HeldRows:
    """Rows of a strip that wait for those below them, and the windows that they are judged by."""

    def __init__(self, job: Job, task: Task) -> None:
        self.job = job
        info, strip, segment = job.source.info, task.strip, task.segment
        stop = min(strip.read_stop, info.width)
        read_x0 = max(0, strip.read_start - REACH_PX)
        read_x1 = min(info.width, stop + REACH_PX)
        self.inner = slice(strip.read_start - read_x0, stop - read_x0)
        left = REACH_PX - self.inner.start
        self.read = slice(left, left + read_x1 - read_x0)
        """Columns of the windows that are read; the others lie beyond the image."""
        width = stop - strip.read_start
        band = job.plan.band_rows
        self.search = search_for(job, task.plane[1], band, width)
        shape = len(self.search.scales), window_rows(band), width + 2 * REACH_PX
        self.windows = np.full(shape, np.nan, np.float32)
        self.rows = segment.read_start, min(segment.read_stop, info.height)
        """First row of the strip, and the one after its last."""
        self.known = max(0, segment.read_start - REACH_PX)
        """Rows of the image above this one are in the windows."""
        self.top = self.known - REACH_PX
        """Row of the image that is the first of the windows."""
        self.next_row = segment.read_start
        """Row of the image that is given next."""
        self.held: deque[Rows] = deque()
        entries = [job.calibration.entry(task.plane[1], g) for g in range(len(job.groups))]
        # A tiny image is a bright spot on what lies beyond it.
        large = min(info.height, info.width) >= LEAST_IMAGE_PX
        self.rules = [
            (slice_of(group), _in_windows(entry, info.dtype) if large else [])
            for group, entry in zip(job.groups, entries, strict=True)
        ]
        """Samples of each group, and what tells point sources in them."""

    def take(self, rows: Rows) -> None:
        """Put the next rows into the windows, and hold a copy of those of the strip."""
        count = len(rows.stored)
        target = self._next(count)[:, :, self.read]
        self.search.fill(rows.stored, rows.measured, target)
        first = max(0, self.rows[0] - self.known)
        last = min(count, self.rows[1] - self.known)
        self.known += count
        if first < last:
            where = slice(first, last), self.inner
            stored = rows.stored[where].copy()
            others = (None if a is None else a[where].copy() for a in (rows.given, rows.known))
            given, known = others
            seen = stored if rows.seen is rows.stored else rows.seen[where].copy()
            self.held.append(Rows(stored, given, seen, known))

    def end(self) -> None:
        """Nothing comes any more: what lies below is no measurement."""
        count = max(0, self.rows[1] + REACH_PX - self.known)
        self._next(count)[...] = np.nan
        self.known += count

    def judged(self) -> Iterator[Rows]:
        """What is known to be or not to be an outlier by now."""
        while self.held and self.next_row + len(self.held[0].stored) + REACH_PX <= self.known:
            rows = self.held.popleft()
            count = len(rows.stored)
            first = self.next_row - self.top
            kinds = _meant(self.job, self.search.find(self.windows, first, count))
            points = self._points(first, count)
            if points is not None and kinds is not None:
                points[(kinds != 0).any(2)] = 0
            self.next_row += count
            yield _stood_in(rows, self.search, kinds)._replace(points=points)

    def _points(self, first: int, count: int) -> NDArray[np.uint8] | None:
        """What of some rows belongs to point sources."""
        beyond = REACH_PX - POINT_REACH_PX
        rows = slice(first - POINT_REACH_PX, first + count + POINT_REACH_PX)
        windows = self.windows[:, rows, beyond : self.windows.shape[2] - beyond]
        shares = [
            point_share(windows[group], rules) if rules else None for group, rules in self.rules
        ]
        if all(share is None for share in shares):
            return None
        shape = count, windows.shape[2] - 2 * POINT_REACH_PX
        none = np.zeros(shape, np.uint8)
        return np.stack([none if share is None else share for share in shares], axis=-1)

    def _next(self, count: int) -> NDArray[np.float32]:
        """Room for the next rows in the windows; rows that nobody needs any more make it."""
        at = self.known - self.top
        if at + count > self.windows.shape[1]:
            gone = self.next_row - REACH_PX - self.top
            self.windows[:, : at - gone] = self.windows[:, gone:at]
            self.top += gone
            at -= gone
        return self.windows[:, at : at + count]
