"""What a format has to do to be written: keep chunks that come in any order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, Plane
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.levels import Level

Pixels = NDArray[Any]


class ChunkStore(Protocol):
    """Keeps the chunks of an output as its format wants them; safe to use from several threads.

    Folders are Paths, or RemotePaths for a format that can be written behind an URL.
    """

    @property
    def levels(self) -> tuple[Level, ...]: ...

    @property
    def resident_bytes(self) -> int:
        """Memory that stays occupied while the store is open, until `finish` has ended."""

    @property
    def chunk_bytes(self) -> int:
        """Most memory that writing or reading one chunk takes beyond its pixels."""

    def create(self, folder: Any, record: Mapping[str, Any]) -> None:
        """Lay out an empty output in a folder, with a record of how it was made."""

    def open(self, folder: Any) -> None:
        """Go on with what `create` made."""

    def write(self, key: ChunkKey, pixels: Pixels) -> None:
        """Store a chunk (rows, columns, samples); smaller ones at the image's edge."""

    def read(self, level: int, plane: Plane, box: Box) -> Pixels:
        """Chunks as they were written, (box.height, box.width, samples)."""

    def finish(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> Any:
        """Complete the output; returns what is to get the final name.

        found : what is to be added to the record.
        """

    def close(self) -> None: ...
