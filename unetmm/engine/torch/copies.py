"""Bands on their way to a device and back, two of either at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetmm.engine.torch.footprint import SLOTS

Shape = tuple[int, int, int]
Rows = NDArray[np.float32]
FLOAT32 = np.dtype(np.float32)


class Copies:
    """The copies of a stream on the CPU, where a tensor and an array share their memory.

    On a GPU `cuda.CudaCopies` takes its place.

    Parameters
    ----------
    taken, given : (band_rows, width_px, channels) of the bands that are pushed and that come out.
    dtype : of the bands that are pushed.
    """

    def __init__(
        self,
        device: torch.device,
        taken: Shape,
        given: Shape,
        dtype: np.dtype[Any] = FLOAT32,
        pinned: bool = False,
    ) -> None:
        self.device, self.dtype = device, getattr(torch, dtype.name)
        self.inboxes = torch.zeros((SLOTS, *taken), dtype=self.dtype, pin_memory=pinned)
        self.outboxes = torch.zeros((SLOTS, *given), pin_memory=pinned)
        self.sent = self.asked = self.given = 0

    def inbox(self) -> NDArray[Any]:
        """Where the host puts the next band."""
        found: NDArray[Any] = self.inboxes[self.sent % SLOTS].numpy()
        return found

    def upload(self, into: Tensor) -> None:
        """Send the band in the inbox; `into` is (band_rows, width_px, channels) on the device, of
        any type that holds the band's values."""
        into.copy_(self.inboxes[self.sent % SLOTS])
        self.sent += 1

    def download(self, band: Tensor) -> None:
        """Begin to fetch a band of that shape; at most SLOTS may be under way."""
        self.outboxes[self.asked % SLOTS].copy_(band)
        self.asked += 1

    def fetched(self) -> Rows:
        """The band that was asked for first of those under way, once it is here.

        A view, which the band after the next overwrites.
        """
        found: Rows = self.outboxes[self.given % SLOTS].numpy()
        self.given += 1
        return found
