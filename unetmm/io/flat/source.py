"""Reads files whose pixels lie there as they are: NumPy .npy, binary PNM, MRC and FITS.

Rows are read, not mapped: mapped pages would count as this process's memory.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError, ShapeError
from unetmm.io.array import array_info
from unetmm.io.axes import Guess, doubt_opacity, guess_axes
from unetmm.io.failures import translated
from unetmm.io.files import READING, read_into
from unetmm.io.flat.fits import find_fits
from unetmm.io.flat.header import FlatLayout
from unetmm.io.flat.mrc import find_mrc
from unetmm.io.image import Box, ImageInfo, Plane
from unetmm.io.metadata import DisplayFacts, Metadata, ReadingFacts

log = logging.getLogger(__name__)

_PNM_HEAD_BYTES = 4096
_PNM_HEADER = re.compile(rb"P([56])" + 3 * rb"(?:\s+|#[^\n]*\n)+(\d{1,9})" + rb"\s")


class FlatSource:
    """Boxes of one array in a file, rows or (Fortran order) columns behind one another."""

    def __init__(
        self, path: Path, format: str, axes: str = "", layout: FlatLayout | None = None
    ) -> None:
        with translated(path, f"read it as {format.upper()}"):
            if format == "npy":
                layout = _find_npy(path, axes)
            found = layout or _FINDERS[format](path)
            self.info, self._stored, self._offset = found.info, found.stored, found.offset
            self._by_columns, self._shifted = found.by_columns, found.shifted
            self._handle = os.open(path, READING)
            size = os.fstat(self._handle).st_size
        end = self._offset + len(self.info.planes) * self._plane_bytes
        if end > size:
            self.close()
            raise ImageError(
                f"{path}: is truncated: its pixels reach to byte {end}, the file ends at byte "
                f"{size}; copy it again"
            )
        self.path = path

    resident_bytes = 0

    @property
    def _channels(self) -> int:
        """Number of channels that lie pixel by pixel, 1 if these are planes of their own."""
        return self.info.length("C") if self.info.axes.endswith("C") else 1

    @property
    def _pixel_bytes(self) -> int:
        return self.info.samples * self._channels * self._stored.itemsize

    @property
    def _plane_bytes(self) -> int:
        return self.info.height * self.info.width * self._pixel_bytes // self._channels

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """A row of all channels where they lie pixel by pixel; other rows go into the result."""
        return box_width * self._pixel_bytes if self._channels > 1 else 0

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        if self._channels > 1:
            return self._read_channel(plane, box)
        info = self.info
        start = self._offset + info.plane_number(plane) * self._plane_bytes
        lines, length = (box.y0, box.y1), info.width
        first, last = box.x0, box.x1
        if self._by_columns:
            lines, length = (box.x0, box.x1), info.height
            first, last = box.y0, box.y1
        out = np.empty((lines[1] - lines[0], last - first, info.samples), self._stored)
        with translated(self.path, "read its pixels"):
            for target, line in zip(out, range(*lines), strict=True):
                at = start + (line * length + first) * self._pixel_bytes
                read_into(self._handle, target, at, self.path)
        if not self._stored.isnative:
            out = out.byteswap(inplace=True).view(self._stored.newbyteorder("="))
        if self._shifted:
            out = _shift(out, info.dtype)
        return out.swapaxes(0, 1) if self._by_columns else out

    def _read_channel(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        """A box of one of the channels that lie pixel by pixel."""
        info = self.info
        before, channel = divmod(info.plane_number(plane), self._channels)
        start = self._offset + before * self._channels * self._plane_bytes
        out = np.empty((box.height, box.width, 1), info.dtype)
        row = np.empty((box.width, self._channels), self._stored)
        with translated(self.path, "read its pixels"):
            for target, y in zip(out, range(box.y0, box.y1), strict=True):
                at = start + (y * info.width + box.x0) * self._pixel_bytes
                read_into(self._handle, row, at, self.path)
                target[:, 0] = row[:, channel]
        return out

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _shift(out: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values with half of the range of their type added, in place."""
    size = dtype.itemsize
    bits = out.view(f"u{size}")
    bits ^= np.array(1 << (8 * size - 1), bits.dtype)
    return bits.view(dtype)


def _find_npy(path: Path, axes: str) -> FlatLayout:
    """Layout of a .npy.

    Parameters
    ----------
    axes : letters that the user has stated, or empty.
    """
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    try:
        guess = Guess(axes) if axes else guess_axes(array.shape, "--axes {}")
        if not axes:
            guess = doubt_opacity(guess, array.shape, "--axes {}")
        info = array_info(array.shape, array.dtype, guess.axes)
    except ShapeError as error:
        raise ImageError(f"{path}: {error}") from None
    if guess.doubt:
        log.warning("%s: %s", path, guess.doubt)
    if info.axes.rstrip("SC")[-2:] != "YX" or {"S", "C"} <= set(info.axes[-2:]):
        raise ImageError(
            f"{path}: axes {info.axes} of .npy are not read: rows and columns have to be followed "
            "by nothing but channels or colours; save it in the order of ZYX, YXC or YXS"
        )
    columns = not array.flags.c_contiguous
    if columns and array.ndim > 2:
        raise ImageError(
            f"{path}: is stored in Fortran order; save it with np.ascontiguousarray(array)"
        )
    guessed = "" if axes or array.ndim < 3 else guess.axes
    info = replace(
        info,
        format="npy",
        dtype=array.dtype.newbyteorder("="),
        chunk=(info.height, 1) if columns else (1, info.width),
        metadata=Metadata(reading=ReadingFacts(guessed_axes=guessed)),
    )
    return FlatLayout(info, array.dtype, int(array.offset), columns)


def _find_pnm(path: Path) -> FlatLayout:
    """Layout of a PGM or PPM."""
    with path.open("rb") as file:
        found = _PNM_HEADER.match(file.read(_PNM_HEAD_BYTES))
    if found is None:
        raise ImageError(f"{path}: has no valid PGM or PPM header; it is damaged")
    kind, width, height, top = (int(text) for text in found.groups())
    if not (width and height and 0 < top < 65536):
        raise ImageError(f"{path}: claims {width} x {height} px up to {top}; it is damaged")
    stored = np.dtype(np.uint8 if top < 256 else ">u2")
    shape = (height, width) if kind == 5 else (height, width, 3)
    bits = top.bit_length()
    info = ImageInfo(
        format="pnm",
        axes="YX" if kind == 5 else "YXS",
        shape=shape,
        dtype=stored.newbyteorder("="),
        chunk=(1, width),
        metadata=Metadata(
            display=DisplayFacts(bits if bits < 8 * stored.itemsize else 0),
            reading=ReadingFacts(left_out=("comments",) if b"#" in found[0] else ()),
        ),
    )
    return FlatLayout(info, stored, found.end())


_FINDERS: dict[str, Callable[[Path], FlatLayout]] = {
    "pnm": _find_pnm,
    "mrc": find_mrc,
    "fits": find_fits,
}
"""Short name of a format -> finder of the layout of a file."""
