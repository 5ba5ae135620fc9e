"""Frames that another library decodes: kept as long as their neighbours may be asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.image import Box, ImageInfo, Plane

Decode = Callable[[int], NDArray[Any]]
"""Decoder of the frame of a number, (height, width) or (height, width, samples)."""


@dataclass(frozen=True)
class Frames:
    """How the planes of an image are cut into frames."""

    numbers: NDArray[np.int64] | None
    """Number of each frame by (plane, row of frames, column of frames), -1 where there is none;
    None where each plane is one frame."""
    height: int
    """Rows of a frame; those beyond the image are left out."""
    width: int
    """Columns of a frame."""


class FrameSource:
    """Boxes of an image whose frames are decoded one at a time.

    A row of frames is kept, as the next box most likely lies in it.
    """

    def __init__(
        self,
        path: Path,
        info: ImageInfo,
        frames: Frames,
        decode: Decode,
        copies: float,
        kept_bytes: int = 0,
    ) -> None:
        self.path, self.info, self._kept_bytes = path, info, kept_bytes
        self._frames, self._decode, self._copies = frames, decode, copies
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._most = 1 if frames.numbers is None else frames.numbers.shape[2]
        self._lock = threading.Lock()

    @property
    def _frame_bytes(self) -> int:
        frames, info = self._frames, self.info
        return frames.height * frames.width * info.samples * info.dtype.itemsize

    @property
    def resident_bytes(self) -> int:
        """A row of frames, the peak of decoding one more, and what the decoder keeps."""
        return int((self._most + self._copies) * self._frame_bytes) + self._kept_bytes

    def read_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        out = np.zeros((box.height, box.width, self.info.samples), self.info.dtype)
        frames, number = self._frames, self.info.plane_number(plane)
        table = np.array([[number]]) if frames.numbers is None else frames.numbers[number]
        for i in range(box.y0 // frames.height, -(-box.y1 // frames.height)):
            for j in range(box.x0 // frames.width, -(-box.x1 // frames.width)):
                if table[i, j] < 0:
                    continue
                top, left = i * frames.height, j * frames.width
                y0, y1 = max(box.y0, top), min(box.y1, top + frames.height)
                x0, x1 = max(box.x0, left), min(box.x1, left + frames.width)
                pixels = self._frame(int(table[i, j]))[y0 - top : y1 - top, x0 - left : x1 - left]
                out[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = pixels
        return out

    def _frame(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number not in self._kept:
                while len(self._kept) >= self._most:
                    self._kept.popitem(last=False)
                self._kept[number] = self._decoded(number)
            self._kept.move_to_end(number)
            return self._kept[number]

    def _decoded(self, number: int) -> NDArray[Any]:
        with translated(self.path, "decode a part of it"):
            pixels = self._decode(number)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        expected = (self._frames.height, self._frames.width, self.info.samples)
        if pixels.shape != expected or pixels.dtype != self.info.dtype:
            raise ImageError(
                f"{self.path}: its header states {expected} {self.info.dtype}, its pixels are "
                f"{pixels.shape} {pixels.dtype}; it is damaged"
            )
        return pixels

    def close(self) -> None:
        self._kept.clear()


def one_frame(info: ImageInfo) -> Frames:
    """Frames of an image each of whose planes is decoded as a whole."""
    return Frames(None, info.height, info.width)
