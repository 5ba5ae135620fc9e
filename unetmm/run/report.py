"""What a run says while it goes on, and what it reports in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unetmm.calibrate.calibration import Calibration
from unetmm.plan.types import Plan
from unetmm.version import __version__


@dataclass(frozen=True)
class Progress:
    """What a caller is told while a run goes on."""

    phase: str
    """plan, calibrate, compute, finish."""
    done_px: int
    total_px: int
    seconds: float
    """Since the compute phase began."""
    plan: Plan
    resumed_px: int = 0
    """Of the pixels done, those that were done before this run began."""


@dataclass
class Report:
    """What happened; `as_dict` is the file that `--report` writes."""

    input: str
    output: str
    model: str
    plan: Plan | None
    """None where nothing was left to do."""
    megapixels: float
    calibration: Calibration
    seconds: dict[str, float] = field(default_factory=dict)
    measured_peak_bytes: int = 0
    resumed_rows: int = 0
    """Rows of the image that an earlier run had finished."""
    complete: bool = True
    """False if other shares of the run are still to be done."""
    already_done: bool = False
    """Whether an earlier run had finished this very output, so that nothing was done."""
    measured_device_peak_bytes: int | None = None
    """Of a GPU's memory, libraries' own workspaces apart; None where the CPU computed."""

    def as_dict(self) -> dict[str, Any]:
        compute_s = self.seconds.get("compute", 0.0)
        return {
            "version": __version__,
            "input": self.input,
            "output": self.output,
            "model": self.model,
            "plan": self.plan.as_dict() if self.plan else None,
            "measured_peak_bytes": self.measured_peak_bytes,
            **self._device_as_dict(),
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "megapixels": self.megapixels,
            "megapixels_per_s": round(self.megapixels / compute_s, 3) if compute_s else None,
            "resumed_rows": self.resumed_rows,
            "complete": self.complete,
            "already_done": self.already_done,
        }

    def _device_as_dict(self) -> dict[str, Any]:
        peak_bytes = self.measured_device_peak_bytes
        return {} if peak_bytes is None else {"measured_device_peak_bytes": peak_bytes}
