"""OME-Zarr in one file (.ozx): a zip archive whose members are stored as they are.

Source: RFC-9 of NGFF, https://ngff.openmicroscopy.org/rfc/9
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.image import ImageInfo, SinkOptions
from unetmm.io.omezarr.source import OmeZarrSource
from unetmm.io.omezarr.store import OmeZarrStore
from unetmm.io.output.disk import sync
from unetmm.io.places import ZARR_MARKS

FILE = "image.ozx"
"""Name of the archive in the folder of a growing output."""
_MEMBER_BYTES = 1200
"""Memory of what is known of a member of an archive, measured."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of all members, so that the same image gives the same bytes."""
_FIRST_NAME = "zarr.json"
_COMMENT = {"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}}


class OzxSource(OmeZarrSource):
    """Boxes of the finest level of an OME-Zarr in a zip archive."""

    def __init__(self, path: Path, axes: str = "", labels: bool = False) -> None:
        with translated(path, "read it as a zip archive"), zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        self._members = len(names)
        if not any(mark in names for mark in ZARR_MARKS):
            raise ImageError(
                f"{path}: the file is a zip archive (such as NumPy .npz) without a Zarr at its "
                "top; unpack it, and give an image"
            )
        super().__init__(path, axes, labels)

    @property
    def resident_bytes(self) -> int:
        """What zarr occupies, and the table of members."""
        return super().resident_bytes + self._members * _MEMBER_BYTES


class OzxStore(OmeZarrStore):
    """An OME-Zarr 0.5 that is put into an archive once it is whole."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        if options.encoding.ome_zarr != "0.5":
            raise ImageError(f"{options.path}: .ozx holds OME-Zarr 0.5; leave --ome-zarr out")
        super().__init__(options, info)

    @property
    def resident_bytes(self) -> int:
        """What zarr occupies, and the table of members: a chunk each, where there are no shards."""
        planes = len(self.info.planes)
        chunks = planes * sum(rows * columns for rows, columns in (x.grid for x in self.levels))
        return super().resident_bytes + (chunks + 4 * len(self.levels) + 4) * _MEMBER_BYTES

    def finish(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> Any:
        group = super().finish(checksums, found)
        file = self._folder / FILE
        with translated(self.path, "put it into an archive"):
            _pack(group, file)
            sync(file)
        return file


def _pack(group: Path, file: Path) -> None:
    """All files of a folder, those that say what the others are first, as they are."""
    members = [path for path in group.rglob("*") if path.is_file()]
    names = {path: path.relative_to(group).as_posix() for path in members}
    members.sort(key=lambda p: (p.name != _FIRST_NAME, names[p].count("/"), names[p]))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.comment = json.dumps(_COMMENT).encode()
        for path in members:
            member = zipfile.ZipInfo(names[path], _EPOCH)
            member.external_attr = 0o644 << 16
            member.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(member, "w") as target:
                shutil.copyfileobj(source, target)
