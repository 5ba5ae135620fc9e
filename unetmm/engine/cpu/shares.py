"""Which columns each thread of a stream takes: as many as it has lately been fast.

Cores differ: laptops have fast and slow ones, and on a shared machine a neighbour may slow one down
for seconds. With equal shares all threads would wait for the slowest in every phase.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Cuts = NDArray[np.int64]
"""Beginnings of the threads' shares, in cells of columns, and behind them the number of cells."""
FORGETS = 0.5
"""Weight of the last step in what is known of a thread's speed."""
WORTH_MOVING = 0.97
"""Shares move where the slowest thread should then take so much of its time, or less."""


class Shares:
    """The cuts of the next step, after what the last ones took.

    Parameters
    ----------
    cells : of columns, which are never divided; at least as many as threads.
    """

    def __init__(self, cells: int, threads: int) -> None:
        self.cuts: Cuts = cells * np.arange(threads + 1, dtype=np.int64) // threads
        self._cost = np.zeros(threads)  # of a cell, of each thread

    def learn(self, busy: Sequence[int]) -> None:
        """Take how long each thread worked on its share, in any unit."""
        cost = np.array(busy, np.float64) / np.diff(self.cuts)
        if len(cost) == 1 or cost.min() <= 0:
            return
        known = self._cost.any()
        self._cost = self._cost + FORGETS * (cost - self._cost) if known else cost
        moved = self._equally_long()
        pays = self._longest(moved) < WORTH_MOVING * self._longest(self.cuts)
        self.cuts = moved if pays else self.cuts

    def _equally_long(self) -> Cuts:
        """Cuts with which all threads should take the same time, as far as cells allow."""
        speeds, cells = 1 / self._cost, self.cuts[-1]
        ends = np.cumsum(speeds) / speeds.sum() * cells
        cuts: Cuts = np.concatenate([[0], np.rint(ends).astype(np.int64)])
        threads = np.arange(len(cuts))
        # Everybody keeps a cell.
        cuts = np.maximum.accumulate(cuts - threads) + threads
        cuts = np.minimum(cuts, cells - threads[::-1])
        return cuts

    def _longest(self, cuts: Cuts) -> float:
        return float((np.diff(cuts) * self._cost).max())
