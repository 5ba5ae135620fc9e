"""Which chunks of an output, at every level, are written, and the checksum of each."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import ImageInfo, Plane
from unetmm.io.output.levels import Level


@dataclass(frozen=True)
class ChunkKey:
    """Which chunk of an output."""

    level: int
    """Number of the level, 0 for full resolution."""
    plane: Plane
    """Plane that the chunk is of."""
    row: int
    """Row of chunks in the level's grid."""
    column: int
    """Column of chunks in the level's grid."""

    @property
    def parent(self) -> ChunkKey:
        """The chunk of the next level that shows this one."""
        return ChunkKey(self.level + 1, self.plane, self.row // 2, self.column // 2)

    def children(self, below: Level) -> Iterator[ChunkKey]:
        """The up to four chunks of the level below that this one shows."""
        rows, columns = below.grid
        for row in range(2 * self.row, min(2 * self.row + 2, rows)):
            for column in range(2 * self.column, min(2 * self.column + 2, columns)):
                yield ChunkKey(self.level - 1, self.plane, row, column)


def checksum(pixels: NDArray[Any]) -> int:
    """CRC-32 of a chunk's values, rows first, as little-endian."""
    stored = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return zlib.crc32(stored.data.cast("B"))


class ChunkTable:
    """A flag and a checksum for every chunk; safe to use from several threads."""

    def __init__(self, info: ImageInfo, levels: tuple[Level, ...]) -> None:
        planes = tuple(info.length(axis) for axis in "TCZ")
        self._shapes = [(*planes, *level.grid) for level in levels]
        self._done = [np.zeros(shape, bool) for shape in self._shapes]
        self._claimed = [np.zeros(shape, bool) for shape in self._shapes]
        self.checksums = [np.zeros(shape, np.uint32) for shape in self._shapes]
        """CRC-32 of the chunks of each level, shape (t, c, z, rows, columns)."""
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        arrays = (*self._done, *self._claimed, *self.checksums)
        return sum(a.nbytes for a in arrays)

    def knows(self, key: ChunkKey) -> bool:
        """Whether there is such a chunk at all."""
        if not 0 <= key.level < len(self._shapes):
            return False
        place = (*key.plane, key.row, key.column)
        return all(0 <= i < n for i, n in zip(place, self._shapes[key.level], strict=True))

    def mark(self, key: ChunkKey, crc: int) -> None:
        """Note that a chunk is written."""
        place = (*key.plane, key.row, key.column)
        with self._lock:
            self._done[key.level][place] = self._claimed[key.level][place] = True
            self.checksums[key.level][place] = crc

    def forget(self, key: ChunkKey) -> None:
        """Note that a chunk is not written after all."""
        place = (*key.plane, key.row, key.column)
        with self._lock:
            self._done[key.level][place] = self._claimed[key.level][place] = False

    def done(self, key: ChunkKey) -> bool:
        return bool(self._done[key.level][(*key.plane, key.row, key.column)])

    def recorded(self, key: ChunkKey) -> int:
        """The checksum a chunk was written with."""
        return int(self.checksums[key.level][(*key.plane, key.row, key.column)])

    def claim(self, key: ChunkKey) -> bool:
        """Whether the caller is the one to make this chunk out of its children, now all there."""
        if key.level >= len(self._shapes):
            return False
        rows = slice(2 * key.row, 2 * key.row + 2)
        columns = slice(2 * key.column, 2 * key.column + 2)
        place = (*key.plane, key.row, key.column)
        with self._lock:
            if self._claimed[key.level][place]:
                return False
            if not self._done[key.level - 1][(*key.plane, rows, columns)].all():
                return False
            self._claimed[key.level][place] = True
            return True

    def missing(self, level: int) -> Iterator[ChunkKey]:
        """Chunks of a level that are not written, in order."""
        for place in np.argwhere(~self._done[level]):
            t, c, z, row, column = (int(i) for i in place)
            yield ChunkKey(level, (t, c, z), row, column)

    def missing_count(self, level: int = 0) -> int:
        return self._done[level].size - int(self._done[level].sum())

    def count(self, level: int = 0) -> int:
        """Chunks of a level."""
        return self._done[level].size

    def written(self) -> Iterator[ChunkKey]:
        """Chunks of all levels that are written, in order."""
        for level, done in enumerate(self._done):
            for place in np.argwhere(done):
                t, c, z, row, column = (int(i) for i in place)
                yield ChunkKey(level, (t, c, z), row, column)

    def any_written(self) -> bool:
        return any(bool(done.any()) for done in self._done)

    def rows_missing(self, plane: Plane, columns: slice) -> NDArray[np.bool_]:
        """Per row of chunks of the finest level: whether one of these columns is not written."""
        missing: NDArray[np.bool_] = ~self._done[0][plane][:, columns].all(axis=1)
        return missing
