"""The part of a run that one process does."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITER = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True)
class Share:
    """Part of a run by rows of chunks: one of `count` equal ones."""

    index: int = 0
    """Number of the share, from 0."""
    count: int = 1
    """Number of shares that the run is cut into."""

    def of(self, rows: int) -> range:
        """Its rows out of so many, counted over all planes."""
        return range(rows * self.index // self.count, rows * (self.index + 1) // self.count)

    @property
    def writer(self) -> str:
        """Name of its writer, under which it keeps its journal."""
        return f"{self.index}-of-{self.count}"

    @classmethod
    def of_writer(cls, name: str) -> Share | None:
        """The share that a writer of this name does; None if it does none, as `finalize`."""
        found = _WRITER.fullmatch(name)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


WHOLE = Share()
"""The share of a process that does all of a run."""
