"""Boxes of arrays in chunks, of Zarr and HDF5: one chunk after another, so few are unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, ImageInfo, Plane


def read_box(
    array: Any, axes: str, info: ImageInfo, plane: Plane, box: Box, chunk: tuple[int, int]
) -> NDArray[Any]:
    """A box of a plane as (height, width, samples).

    Parameters
    ----------
    axes : letters of the array's axes, in its order; those of an image that lies in it.
    chunk : rows and columns of what is read at once.
    """
    out = np.empty((box.height, box.width, info.samples), info.dtype)
    for part in _parts(box, chunk):
        where: dict[str, int | slice] = dict(zip("TCZ", plane, strict=True))
        where |= {"Y": slice(part.y0, part.y1), "X": slice(part.x0, part.x1), "S": slice(None)}
        pixels = np.asarray(array[tuple(where[axis] for axis in axes)])
        left = [axis for axis in axes if axis in "YXS"]
        pixels = pixels.transpose([left.index(axis) for axis in "YXS" if axis in left])
        rows = slice(part.y0 - box.y0, part.y1 - box.y0)
        columns = slice(part.x0 - box.x0, part.x1 - box.x0)
        out[rows, columns] = pixels.reshape(part.height, part.width, info.samples)
    return out


def _parts(box: Box, chunk: tuple[int, int]) -> Iterator[Box]:
    """The parts of a box that lie in one chunk each."""
    for y0, y1 in _cuts(box.y0, box.y1, chunk[0]):
        for x0, x1 in _cuts(box.x0, box.x1, chunk[1]):
            yield Box(y0, x0, y1, x1)


def _cuts(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of `step`."""
    return pairwise([start, *range((start // step + 1) * step, stop, step), stop])
