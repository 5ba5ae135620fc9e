"""Halved chunks that wait for their neighbours, so that a pyramid reads little or nothing back.

    chunk --halve--> half --+
    chunk --halve--> half --+--> chunk of the next level, once the last of the four is there

What was written before a kill, or by another process, left no half here, and of too many the
oldest are dropped: those chunks are read again and halved, to the same values.
"""

from __future__ import annotations

import threading
from typing import Any

from numpy.typing import NDArray

from unetmm.io.image import ImageInfo
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.halving import Halving
from unetmm.io.output.levels import Level

MOST_BYTES = 16 * 2**20
"""Most memory of waiting halves; where rows are very long, halves are dropped beyond this.

A row of 32768 px of 16 bits, higher levels included, takes as much.
"""


class Halves:
    """Halved chunks by the chunk that they came from; safe to use from several threads."""

    def __init__(
        self, info: ImageInfo, levels: tuple[Level, ...], halving: Halving, maps: int = 1
    ) -> None:
        """maps: planes whose rows are written together."""
        self._level_count, self._halving = len(levels), halving
        # A row of chunks leaves halves of a quarter of its size, those of higher levels together
        # as much again. Two rows may wait: the one that grows, and one at the border of what
        # another process makes.
        rows = min(levels[0].chunk[0], info.height)
        row_bytes = maps * -(-rows // 2) * info.width * info.samples * info.dtype.itemsize
        self.limit_bytes = min(MOST_BYTES, 2 * row_bytes) if len(levels) > 1 else 0
        """Most memory of the halves that are kept, in bytes."""
        self._waiting: dict[ChunkKey, NDArray[Any]] = {}
        self._held_bytes = 0
        self._lock = threading.Lock()

    def keep(self, key: ChunkKey, pixels: NDArray[Any]) -> None:
        """Halve a chunk for the next level, if there is one."""
        if key.level + 1 >= self._level_count:
            return
        half = self._halving.half(key, pixels)
        with self._lock:
            self._drop(key)
            self._waiting[key] = half
            self._held_bytes += half.nbytes
            while self._held_bytes > self.limit_bytes:
                self._drop(next(iter(self._waiting)))

    def take(self, key: ChunkKey) -> NDArray[Any] | None:
        """The half of a chunk, given away; None if it is not here."""
        with self._lock:
            return self._drop(key)

    def clear(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._waiting.clear()
            self._held_bytes = 0

    def _drop(self, key: ChunkKey) -> NDArray[Any] | None:
        half = self._waiting.pop(key, None)
        if half is not None:
            self._held_bytes -= half.nbytes
        return half
