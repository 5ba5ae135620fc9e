"""A net as the compiled kernels run it: fulfils `contract.Net`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from unetmm.engine.checks import Attention
from unetmm.engine.contract import Scaling
from unetmm.engine.cpu.compiled import CompiledNet
from unetmm.engine.cpu.prepare import ensure_compiled
from unetmm.engine.cpu.stream import RowStream


class CpuNet:
    """A compiled net, of which as many streams live as there are workers."""

    library_bytes = 0
    takes_stored = False

    def __init__(self, compiled: CompiledNet) -> None:
        self.compiled, self.config = compiled, compiled.config

    def open_stream(
        self,
        attention: Attention,
        width_px: int,
        height_px: int,
        band_rows: int,
        threads: int = 1,
        scaling: Scaling | None = None,
    ) -> RowStream:
        assert scaling is None, "rows are brought to the net's scale before"
        frozen = self.compiled.freeze(attention)
        return RowStream(self.compiled, frozen, width_px, height_px, band_rows, threads)

    def limited(self, device_budget_bytes: int) -> AbstractContextManager[None]:
        return nullcontext()

    def peak_bytes(self) -> int | None:
        return None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come to life in another process, which needs the kernels as well."""
        self.__dict__.update(state)
        ensure_compiled(self.compiled.precision)

    def exclusive(self) -> AbstractContextManager[object]:
        return nullcontext()
