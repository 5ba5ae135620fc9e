"""Arrays in memory as source and sink."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.io.axes import AXES, guess_axes
from unetmm.io.image import Box, ImageInfo, Plane

log = logging.getLogger(__name__)

ALPHA_SAMPLES = (2, 4)


def array_info(shape: tuple[int, ...], dtype: np.dtype[Any], axes: str | None) -> ImageInfo:
    """What is known of an array; where its axes are guessed and may be others, that is said.

    Raises
    ------
    ShapeError
        If axes and shape do not fit, the last axis looks like channels and no axes were given, or
        the dtype is not one that can be restored.
    """
    axes = (axes or "").upper()
    if not axes:
        guess = guess_axes(shape)
        axes = guess.axes
        if guess.doubt:
            log.warning("%s", guess.doubt)
    known = len(set(axes)) == len(axes) == len(shape) and set(axes) <= set(AXES)
    if not known or not {"Y", "X"} <= set(axes):
        raise ShapeError(
            f"axes {axes!r} do not fit shape {shape}; use {len(shape)} letters of {AXES}, each "
            "once, Y and X among them"
        )
    if not all(float(n).is_integer() for n in shape):
        raise ShapeError(
            f"shape {shape} is not of whole numbers; where chunks of a Dask array have an unknown "
            f"size, call its compute_chunk_sizes() first"
        )
    if min(shape) < 1:
        raise ShapeError(f"an image of shape {shape} has no pixels")
    is_known = dtype.kind in "uif" and dtype.itemsize <= (8 if dtype.kind == "f" else 4)
    if not is_known:
        raise ShapeError(f"dtype {dtype} cannot be restored; use 8 to 32-bit integers or floats")
    height, width = shape[axes.index("Y")], shape[axes.index("X")]
    alpha = "S" in axes and shape[axes.index("S")] in ALPHA_SAMPLES
    return ImageInfo("array", axes, shape, dtype, (height, width), alpha=alpha)


class _Array:
    """A view of an array as (t, c, z, y, x, s)."""

    def __init__(self, array: NDArray[Any], info: ImageInfo) -> None:
        self.info = info
        order = sorted(range(array.ndim), key=lambda i: AXES.index(info.axes[i]))
        view = array.transpose(order)
        missing = [i for i, a in enumerate(AXES) if a not in info.axes]
        self.view = np.expand_dims(view, missing)


class ArraySource(_Array):
    """Boxes of an array; the array itself is the caller's memory."""

    resident_bytes = 0

    def read_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def read(self, plane: Plane, box: Box) -> NDArray[Any]:
        pixels: NDArray[Any] = self.view[plane][box.y0 : box.y1, box.x0 : box.x1]
        return pixels

    def close(self) -> None:
        pass


class ArraySink(_Array):
    """Writes boxes into an array of the source's shape."""

    resident_bytes = 0

    def __init__(self, array: NDArray[Any], info: ImageInfo, chunk_px: int) -> None:
        super().__init__(array, info)
        self.chunk = (chunk_px, chunk_px)

    def write_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def write(self, plane: Plane, box: Box, pixels: NDArray[Any]) -> None:
        self.view[plane][box.y0 : box.y1, box.x0 : box.x1] = pixels
