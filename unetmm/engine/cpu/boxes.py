"""Boxes of many sizes through a net, each with the attention of its own averages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.cpu.compiled import CompiledNet
from unetmm.engine.cpu.stream import ObservingStream


class BoxNet:
    """A net that restores boxes up to some size, on one thread, in the memory of the largest.

    Parameters
    ----------
    most_px : height and width of the largest, a multiple of the net's stride.
    """

    def __init__(self, net: CompiledNet, most_px: int) -> None:
        self.largest = ObservingStream(net, net.unattended(), most_px, most_px)
        self.last = self.largest
        self.streams = {(most_px, most_px): self.largest}

    def __call__(self, box: NDArray[np.float32]) -> NDArray[np.float32]:
        """The restored box; a view until the next call."""
        rows, columns, _ = box.shape
        stream = self.streams.get((rows, columns))
        if stream is None:
            stream = self.streams[rows, columns] = self._of(rows, columns)
        if stream is not self.last:
            stream.clear()
            self.last = stream
        return stream.restore(box)

    def _of(self, rows: int, columns: int) -> ObservingStream:
        large = self.largest
        return ObservingStream(large.net, large.frozen, columns, rows, within=large)
