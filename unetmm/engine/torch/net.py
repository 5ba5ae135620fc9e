"""A net as torch operations run it: fulfils `contract.Net`."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

from unetmm.engine.checks import Attention
from unetmm.engine.contract import Scaling
from unetmm.engine.torch.folded import FoldedNet
from unetmm.engine.torch.footprint import Place
from unetmm.engine.torch.stream import TorchStream

_one_strip = threading.Lock()
"""Lock of the live strip: a device has memory for one, whatever is started at once."""


class TorchNet:
    """A folded net, whose streams live one at a time."""

    takes_stored = True

    def __init__(self, folded: FoldedNet, place: Place, library_bytes: int) -> None:
        self.folded, self.place, self.config = folded, place, folded.config
        self.library_bytes = library_bytes

    def open_stream(
        self,
        attention: Attention,
        width_px: int,
        height_px: int,
        band_rows: int,
        threads: int = 1,
        scaling: Scaling | None = None,
    ) -> TorchStream:
        size = width_px, height_px
        return TorchStream(self.folded, attention, *size, band_rows, threads, scaling)

    def limited(self, device_budget_bytes: int) -> AbstractContextManager[None]:
        if self.place != "cuda":
            return nullcontext()
        from unetmm.engine.torch import cuda

        own_bytes = self.folded.pool.data.nbytes
        return cuda.limited(self.folded.device.index, device_budget_bytes, own_bytes)

    def peak_bytes(self) -> int | None:
        if self.place != "cuda":
            return None
        from unetmm.engine.torch import cuda

        return cuda.peak_bytes(self.folded.device.index)

    def exclusive(self) -> AbstractContextManager[object]:
        return _one_strip
