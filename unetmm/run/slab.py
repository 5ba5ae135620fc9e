"""Rows that were read at once, and what the net sees of them where nothing was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.standins import REACH_PX, stand_in
from unetmm.intensities.validity import LARGEST, valid_mask
from unetmm.io.image import Box, Plane
from unetmm.io.measured import Mask, read_measured
from unetmm.models.groups import slice_of
from unetmm.run.job import Job


class Rows(NamedTuple):
    """Some rows of a strip."""

    stored: NDArray[Any]
    """Pixels as stored, (n, width, samples)."""
    given: Mask | None
    """Mask that came with the pixels; None where all of them are measured."""
    seen: NDArray[Any]
    """Pixels as the net sees them, in stored units: with stand-ins near measured ones."""
    known: NDArray[np.bool_] | None
    """Flags of samples of `seen` that are measured or stood in for; None if all are."""
    measured: NDArray[np.bool_] | None = None
    """Flags of samples of `stored` that are measured; None if all are."""
    points: NDArray[np.uint8] | None = None
    """Share of its stored value that a pixel of a point source keeps in each group of samples, in
    parts of 255; None if there are none."""
    outliers: NDArray[np.uint8] | None = None
    """Kind of each outlier among the colours of `stored`, 0 elsewhere; None if there are none."""


@dataclass(frozen=True)
class _Part:
    """Pixels of a box."""

    box: Box
    pixels: NDArray[Any]
    given: Mask | None


class Slab:
    """Rows of a strip that were read at once.

    Where pixels at its edge are not measured, those beyond that stand in for them are read too.
    """

    def __init__(self, job: Job, plane: Plane, box: Box) -> None:
        self._job, self._channel, self.box = job, plane[1], box
        self._main = _Part(box, *read_measured(job.source, plane, box))
        self._beyond: list[_Part] = []
        if job.source.info.may_have_gaps:
            found = (b for edge, b in self._around() if self._has_gaps(edge))
            self._beyond = [_Part(b, *read_measured(job.source, plane, b)) for b in found]

    def _around(self) -> Iterator[tuple[tuple[slice, slice], Box]]:
        """Each edge of the pixels, and the box of the image beyond it."""
        info, b, reach = self._job.source.info, self.box, REACH_PX
        left, right = max(0, b.x0 - reach), min(info.width, b.x1 + reach)
        top, bottom = max(0, b.y0 - reach), min(info.height, b.y1 + reach)
        everything = slice(None)
        edges = (
            ((slice(0, reach), everything), Box(top, left, b.y0, right)),
            ((slice(-reach, None), everything), Box(b.y1, left, bottom, right)),
            ((everything, slice(0, reach)), Box(b.y0, left, b.y1, b.x0)),
            ((everything, slice(-reach, None)), Box(b.y0, b.x1, b.y1, right)),
        )
        return (pair for pair in edges if pair[1].height and pair[1].width)

    def _has_gaps(self, where: tuple[slice, slice]) -> bool:
        given = None if self._main.given is None else self._main.given[where]
        return self._measured(self._main.pixels[where], given) is not None

    def _measured(self, pixels: NDArray[Any], given: Mask | None) -> NDArray[np.bool_] | None:
        """Flags of the samples that are measured; None if all are."""
        job = self._job
        masks = [
            valid_mask(pixels[..., slice_of(g)], job.nodata(self._channel, i), given)
            for i, g in enumerate(job.groups)
        ]
        if all(mask is None or bool(mask.all()) for mask in masks):
            return None
        shapes = [(*pixels.shape[:2], len(group)) for group in job.groups]
        found = [np.ones(s, bool) if m is None else m for m, s in zip(masks, shapes, strict=True)]
        return np.concatenate(found, axis=-1) if len(found) > 1 else found[0]

    def rows(self, y0: int, y1: int) -> Rows:
        """Some rows of the image that are in the slab."""
        part = slice(y0 - self.box.y0, y1 - self.box.y0)
        stored = self._main.pixels[part]
        given = None if self._main.given is None else self._main.given[part]
        measured = self._measured(stored, given)
        if measured is None:
            return Rows(stored, given, stored, None)
        self._warn_of_far(stored, given)
        return Rows(stored, given, *stand_in(*self._window(y0, y1)), measured)

    def _warn_of_far(self, stored: NDArray[Any], given: Mask | None) -> None:
        """Say once that values are no measurement because they are far beyond all others."""
        job = self._job
        if job.excess.warned or stored.dtype.kind != "f":
            return
        for i, group in enumerate(job.groups):
            nodata = job.nodata(self._channel, i)
            pixels = stored[..., slice_of(group)]
            mask = valid_mask(pixels, replace(nodata, largest=LARGEST), given)
            with np.errstate(over="ignore"):  # the limit may be beyond what float16 holds
                if mask is not None and (mask & (np.abs(pixels) > nodata.largest)).any():
                    job.excess.warn()

    def _window(self, y0: int, y1: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Rows with their surroundings, and where these are measured."""
        top, left = y0 - REACH_PX, self.box.x0 - REACH_PX
        colours = sum(map(len, self._job.groups))
        shape = (y1 - y0 + 2 * REACH_PX, self.box.width + 2 * REACH_PX, colours)
        window, measured = np.zeros(shape, self._main.pixels.dtype), np.zeros(shape, bool)
        for part in (self._main, *self._beyond):
            a, b = max(part.box.y0, top), min(part.box.y1, top + shape[0])
            if a >= b:
                continue
            rows = slice(a - part.box.y0, b - part.box.y0)
            pixels = part.pixels[rows]
            at = slice(a - top, b - top), slice(part.box.x0 - left, part.box.x1 - left)
            window[at] = pixels[..., :colours]
            found = self._measured(pixels, None if part.given is None else part.given[rows])
            measured[at] = True if found is None else found
        return window, measured
