"""Pages of a series as two tables, for there may be hundreds of thousands of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.io.tiff.segments import PageData, SegmentGrid


class PageList(Sequence[PageData | None]):
    """Where the segments of each page lie; None for a page that was never written."""

    def __init__(
        self,
        files: list[Path],
        file_of: NDArray[np.int32],
        offsets: NDArray[np.int64],
        counts: NDArray[np.int64],
        tables: dict[int, bytes],
    ) -> None:
        """file_of: number of the file of each page, -1 for one that was never written."""
        self.files, self._file_of = files, file_of
        self._offsets, self._counts, self._tables = offsets, counts, tables
        self._made: dict[int, PageData] = {}  # of which each is one, for what is kept of it

    @classmethod
    def of(cls, pages: Iterable[tifffile.TiffPage | tifffile.TiffFrame | None]) -> PageList | None:
        """Those of a series; None where they do not have equally many segments."""
        found = list(pages)
        there = [page for page in found if page is not None]
        lengths = {(len(page.dataoffsets), len(page.databytecounts)) for page in there}
        if len(lengths) != 1 or len(set(next(iter(lengths)))) != 1:
            return None
        count = next(iter(lengths))[0]
        handles = {id(page.parent): page.parent.filehandle.path for page in there}
        files = {path: number for number, path in enumerate(dict.fromkeys(handles.values()))}
        numbers = {key: files[path] for key, path in handles.items()}
        file_of = [-1 if page is None else numbers[id(page.parent)] for page in found]
        nothing = (0,) * count
        offsets = [nothing if page is None else page.dataoffsets for page in found]
        counts = [nothing if page is None else page.databytecounts for page in found]
        return cls(
            [Path(path) for path in files],
            np.array(file_of, np.int32),
            np.array(offsets, np.int64).reshape(-1, count),
            np.array(counts, np.int64).reshape(-1, count),
            {i: page.jpegtables for i, page in enumerate(found) if page and page.jpegtables},
        )

    def __len__(self) -> int:
        return len(self._file_of)

    @overload
    def __getitem__(self, index: int) -> PageData | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[PageData | None]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        if self._file_of[number] < 0:
            return None
        if number not in self._made:
            file, tables = self.files[self._file_of[number]], self._tables.get(number)
            made = PageData(file, self._offsets[number], self._counts[number], tables)
            self._made[number] = made
        return self._made[number]

    def __contains__(self, page: object) -> bool:
        return bool((self._file_of < 0).any()) if page is None else super().__contains__(page)

    def count(self, page: object) -> int:
        if page is None:
            return int((self._file_of < 0).sum())
        return sum(1 for one in self if one is page)

    @property
    def segments(self) -> int:
        """Segments of all pages that there are."""
        return int((self._file_of >= 0).sum()) * int(self._offsets.shape[1])

    @property
    def largest_bytes(self) -> int:
        """Stored bytes of the largest segment."""
        return int(self._counts.max(initial=0))

    def is_sound(self, grid: SegmentGrid) -> bool:
        """Whether every segment has a place and a length within its file; if not, which is not
        is to be looked at page by page."""
        if self._offsets.shape[1] < grid.segments or int(self._offsets.min(initial=0)) < 0:
            return False
        offsets, counts = self._offsets[:, : grid.segments], self._counts[:, : grid.segments]
        if ((counts == 0) & (offsets > 0)).any():
            return False
        plain = grid.plain_bytes()
        for number, file in enumerate(self.files):
            own = self._file_of == number
            needed = np.where(counts[own] > 0, plain if grid.raw else counts[own], 0)
            ends = np.where(needed > 0, offsets[own] + needed, 0)
            if int(ends.max(initial=0)) > file.stat().st_size:
                return False
        return True
