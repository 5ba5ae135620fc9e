"""Rows of a huge zlib stream in any order, from states saved on the way.

A deflate stream can only be unpacked from its start, but an unpacker can be copied. Every few
megabytes a copy is kept, a mark, so a read starts at the nearest mark above its first row:

    rows  0 ....... 128 ....... 256 ....... 384
          |mark     |mark       |mark       :          unpacked so far
                        ^ last read ended here: a passing mark, for who reads on
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated

MARK_EVERY_BYTES = 16 * 2**20
"""Unpacked bytes from one mark to the next."""
FEED_BYTES = 2**14
"""Compressed bytes that are fed to the unpacker at once."""
STEP_BYTES = 2**20
"""Size of a step in which rows are unpacked, about, in unpacked bytes."""
INFLATER_BYTES = 48 * 2**10
"""Memory of a copy of zlib's state, its window of 32 KiB above all."""
PASSING_MARKS = 32
"""Most marks that are kept where reads ended; the oldest is dropped first."""

ReadAt = Callable[[int, int], bytes]
"""Function that gives bytes of the file: (offset, count) -> bytes."""
Undo = Callable[[NDArray[np.uint8], bytes], tuple[NDArray[Any], bytes]]
"""Function that makes pixels: (unpacked rows (n, row_bytes), what the row before left) ->
(pixels (n, width, samples), what the last row leaves)."""


@dataclass
class _State:
    """An unpacker at the start of a row."""

    row: int
    """Number of the row that comes next."""
    inflater: Any
    """Unpacker of zlib."""
    part: int = 0
    """Number of the part of the stream that is fed."""
    used: int = 0
    """Bytes of that part that have been fed."""
    sum: int = 0
    """CRC-32 of the bytes of that part that have been fed."""
    left: bytes = b""
    """Bytes that the row before leaves for the next one."""

    def copy(self) -> _State:
        return _State(self.row, self.inflater.copy(), self.part, self.used, self.sum, self.left)


@dataclass(frozen=True)
class DeflateLayout:
    """Where a stream lies and what a row of it is."""

    parts: NDArray[np.int64]
    """Offset and length in bytes of each part of the stream, shape (n, 2)."""
    height: int
    """Rows of the image."""
    row_bytes: int
    """Bytes of an unpacked row, filter byte included."""
    undone_copies: int
    """Memory that making pixels of rows takes, in copies of these rows."""
    sum_start: bytes | None = None
    """Bytes that the CRC-32 behind each part covers before it; None where there is no such sum."""

    @property
    def mark_rows(self) -> int:
        """Rows from one mark to the next."""
        return min(self.height, max(1, -(-MARK_EVERY_BYTES // self.row_bytes)))

    @property
    def step_rows(self) -> int:
        return max(1, STEP_BYTES // self.row_bytes)

    @property
    def resident_bytes(self) -> int:
        """Marks and the table of parts."""
        marks = -(-self.height // self.mark_rows) + PASSING_MARKS
        mark_bytes = INFLATER_BYTES + FEED_BYTES + self.row_bytes
        return marks * mark_bytes + self.parts.nbytes

    @property
    def read_bytes(self) -> int:
        """Most memory of one read beyond its result."""
        step = min(self.step_rows, self.height) * self.row_bytes
        return (2 + self.undone_copies) * step + INFLATER_BYTES + 2 * FEED_BYTES


class InflatedRows:
    """Rows of one stream; safe to read from several threads."""

    def __init__(self, path: Path, read_at: ReadAt, layout: DeflateLayout, undo: Undo) -> None:
        self.path = path
        self.layout = layout
        self._read_at = read_at
        self._undo = undo
        self._lock = threading.Lock()
        start = _State(0, zlib.decompressobj(), sum=self._first_sum)
        self._marks: dict[int, _State] = {0: start}
        self._passing: dict[int, _State] = {}

    @property
    def _first_sum(self) -> int:
        return zlib.crc32(self.layout.sum_start or b"")

    def read_into(
        self,
        out: NDArray[Any],
        first: int,
        columns: slice,
        samples: slice | list[int] = slice(None),
    ) -> None:
        """Fill `out`, (rows, columns, samples), from row `first` on.

        Raises
        ------
        ImageError
            If the stream is damaged or ends too early.
        """
        last = first + len(out)
        state = self._nearest(first)
        with translated(self.path, "decode a part of it"):
            while state.row < last:
                start = state.row
                stop = min(last, start + self.layout.step_rows, self._next_mark(start))
                if start < first:
                    stop = min(stop, first)
                pixels = self._step(state, stop - start)
                if start >= first:
                    out[start - first : stop - first] = pixels[:, columns, samples]
                if stop % self.layout.mark_rows == 0 and stop < self.layout.height:
                    self._keep(state)
        self._pass(state)

    def _next_mark(self, row: int) -> int:
        return (row // self.layout.mark_rows + 1) * self.layout.mark_rows

    def _nearest(self, row: int) -> _State:
        with self._lock:
            known = [at for at in (*self._marks, *self._passing) if at <= row]
            best = max(known)
            return (self._passing.get(best) or self._marks[best]).copy()

    def _keep(self, state: _State) -> None:
        with self._lock:
            if state.row not in self._marks:
                self._marks[state.row] = state.copy()

    def _pass(self, state: _State) -> None:
        if state.row >= self.layout.height:
            return
        with self._lock:
            self._passing.pop(state.row, None)
            self._passing[state.row] = state
            while len(self._passing) > PASSING_MARKS:
                self._passing.pop(next(iter(self._passing)))

    def _step(self, state: _State, rows: int) -> NDArray[Any]:
        """Unpack and undo the next rows."""
        packed = self._unpack(state, rows * self.layout.row_bytes)
        raw = np.frombuffer(packed, np.uint8).reshape(rows, self.layout.row_bytes)
        pixels, state.left = self._undo(raw, state.left)
        state.row += rows
        if state.row == self.layout.height:
            self._finish(state)
        return pixels

    def _unpack(self, state: _State, wanted: int) -> bytearray:
        out = bytearray()
        while len(out) < wanted:
            data = state.inflater.unconsumed_tail or self._feed(state)
            if state.inflater.eof or not data:
                row = state.row + len(out) // self.layout.row_bytes
                raise ImageError(
                    f"{self.path}: its pixels end in row {row} of {self.layout.height}; it is "
                    "damaged"
                )
            out += self._inflate(state, data, wanted - len(out))
        return out

    def _inflate(self, state: _State, data: bytes, most_bytes: int) -> bytes:
        """Unpack the next bytes; at the end of the stream zlib compares its checksum."""
        try:
            return bytes(state.inflater.decompress(data, most_bytes))
        except zlib.error as error:
            raise ImageError(
                f"{self.path}: its pixels, one compressed stream of {self.layout.height} rows, are "
                f"damaged in or before row {state.row} ({error}); copy it again"
            ) from error

    def _finish(self, state: _State) -> None:
        """Check the sums of what follows the last row.

        In a TIFF the end may be missing, or there may be more, as libtiff reads it too.
        """
        lenient = self.layout.sum_start is None
        while not state.inflater.eof:
            data = state.inflater.unconsumed_tail or self._feed(state)
            if not data and not lenient:
                raise ImageError(f"{self.path}: its pixels lack their end; it is damaged")
            more = self._inflate(state, data, 1)
            if lenient and (more or not data):
                return
        while self._feed(state):
            pass

    def _feed(self, state: _State) -> bytes:
        """The next compressed bytes, empty at the end."""
        parts = self.layout.parts
        while state.part < len(parts):
            offset, length = (int(n) for n in parts[state.part])
            data = self._read_at(offset + state.used, min(FEED_BYTES, length - state.used))
            state.used += len(data)
            if self.layout.sum_start is not None:
                state.sum = zlib.crc32(data, state.sum)
            if state.used == length:
                self._check_sum(state, offset + length)
                state.part, state.used, state.sum = state.part + 1, 0, self._first_sum
            if data:
                return data
        return b""

    def _check_sum(self, state: _State, at: int) -> None:
        if self.layout.sum_start is None:
            return
        if state.sum != int.from_bytes(self._read_at(at, 4), "big"):
            raise ImageError(
                f"{self.path}: the part of its pixels that ends at byte {at} does not fit its "
                "checksum; copy it again"
            )
