"""Joins chunk files into shards: files that hold many chunks each, behind one another.

A shard cannot be written before all its chunks are there, for their compressed lengths are not
known. So an output grows as a file a chunk, which threads and machines write in any order, and
is joined at its end. Each shard appears whole, and only then its chunks are removed: a run that
is killed goes on from there, and never takes more disk than the output and one shard.

shard: chunk | chunk | ... | index: (offset, length) of every chunk, CRC-32C      (Zarr v3)
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError

_EMPTY = np.iinfo(np.uint64).max
"""Offset and length of a chunk beyond the edge of the image."""
_CRC_BYTES = 4


@dataclass(frozen=True)
class ShardedArray:
    """One array as the chunk files it grows in and the shards it is joined to."""

    loose: Path
    """Folder of the array with a file a chunk."""
    joined: Path
    """Folder of the array with a file a shard."""
    grid: tuple[int, ...]
    """Chunks along every axis."""
    per_shard: tuple[int, ...]
    """Chunks of a shard along every axis."""

    def is_loose(self, chunk: tuple[int, ...]) -> bool:
        """Whether a chunk has a file of its own."""
        return _file(self.loose, chunk).exists()

    def join(self) -> None:
        """Make every shard whose chunks are not joined yet.

        Raises
        ------
        ImageError
            If a chunk is in neither form.
        """
        counts = (range(-(-n // k)) for n, k in zip(self.grid, self.per_shard, strict=True))
        for shard in itertools.product(*counts):
            self._join_one(shard)

    def _join_one(self, shard: tuple[int, ...]) -> None:
        chunks = [self._chunk(shard, place) for place in np.ndindex(self.per_shard)]
        files = [None if c is None else _file(self.loose, c) for c in chunks]
        if not any(f is not None and f.exists() for f in files):
            return
        target = _file(self.joined, shard)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.part")
        _write_shard(aside, files, target)
        os.replace(aside, target)
        for file in files:
            if file is not None:
                file.unlink(missing_ok=True)

    def _chunk(self, shard: tuple[int, ...], place: tuple[int, ...]) -> tuple[int, ...] | None:
        """A chunk of a shard; None beyond the edge of the image."""
        axes = zip(shard, self.per_shard, place, strict=True)
        chunk = tuple(s * k + i for s, k, i in axes)
        return chunk if all(i < n for i, n in zip(chunk, self.grid, strict=True)) else None


def _file(array: Path, chunk: tuple[int, ...]) -> Path:
    """File of a chunk, or of a shard, of a Zarr v3 array."""
    return array.joinpath("c", *map(str, chunk))


def _write_shard(target: Path, files: list[Path | None], earlier: Path) -> None:
    """One chunk at a time; those that have no file any more come out of an earlier shard."""
    index = np.full((len(files), 2), _EMPTY, "<u8")
    with target.open("wb") as out:
        for i, file in enumerate(files):
            if file is None:
                continue
            data = file.read_bytes() if file.exists() else _stored_chunk(earlier, i, len(files))
            index[i] = out.tell(), len(data)
            out.write(data)
        tail = index.tobytes()
        out.write(tail + int(google_crc32c.value(tail)).to_bytes(_CRC_BYTES, "little"))
        out.flush()
        os.fsync(out.fileno())


def _stored_chunk(shard: Path, number: int, count: int) -> bytes:
    """The bytes of one chunk of a shard."""
    with shard.open("rb") as file:
        file.seek(-(count * 16 + _CRC_BYTES), os.SEEK_END)
        index: NDArray[np.uint64] = np.frombuffer(file.read(count * 16), "<u8").reshape(count, 2)
        offset, length = (int(n) for n in index[number])
        if offset == _EMPTY:
            raise ImageError(f"{shard}: lacks a chunk that was written; run it again")
        file.seek(offset)
        return file.read(length)
