"""The clock of a row stream: when a band is full, when a step is due, which rows come out of it."""

from __future__ import annotations

from collections.abc import Iterator


class BandClock:
    """Counts rows in and bands out of one strip; the same for every engine.

    A step takes one band of the strip in. Rows come out `lag_rows` later, so steps go on after the
    last row until all are out.

    Parameters
    ----------
    band_rows, lag_rows, height_px : of the stream and of its strip.
    """

    def __init__(self, band_rows: int, lag_rows: int, height_px: int) -> None:
        self.band_rows, self.lag_rows, self.height_px = band_rows, lag_rows, height_px
        self.pushed = 0
        """Rows of the strip that came in."""
        self.step = 0
        """Steps that were done."""

    def take(self, rows: int) -> Iterator[tuple[slice, int, bool]]:
        """Divide rows that come in at the ends of bands.

        Yields (which of the new rows, where they begin in the strip, whether a band is full now).
        """
        taken = 0
        while taken < rows:
            first = self.pushed
            count = min(rows - taken, self.band_rows - first % self.band_rows)
            self.pushed += count
            yield slice(taken, taken + count), first, self.pushed % self.band_rows == 0
            taken += count

    @property
    def steps_left(self) -> bool:
        """Whether rows are still to come out."""
        return self.step * self.band_rows < self.height_px + self.lag_rows

    def tick(self) -> slice | None:
        """Count a step; gives the finished rows within its band, None if there are none."""
        first = self.step * self.band_rows - self.lag_rows
        self.step += 1
        start, stop = max(0, first), min(self.height_px, first + self.band_rows)
        return slice(start - first, stop - first) if stop > start else None
