"""Writes MRC, laid out whole when it is begun and filled in place."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from unetmm.io.flat.mrc import HEADER_BYTES, check_mrc, make_header, ordered
from unetmm.io.flat.npy_store import NpyStore
from unetmm.io.image import ImageInfo, SinkOptions


class MrcStore(NpyStore):
    """Grey planes, times before depths, row behind row."""

    file_name = "image.mrc"
    title = "MRC"

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        check_mrc(options.file, info)
        super().__init__(options, ordered(info))

    def write_header(self, file: BinaryIO) -> None:
        """The header, whose statistics are marked as not determined."""
        file.write(make_header(self.info))

    def read_start(self, path: Path) -> int:
        """Offset of the first pixel."""
        return HEADER_BYTES
