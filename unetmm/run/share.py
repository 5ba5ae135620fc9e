"""The part of a run that one process does."""

from __future__ import annotations

from dataclasses import dataclass


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


WHOLE = Share()
"""The share of a process that does all of a run."""
