"""What a run says while it goes on, and what it reports in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unetmm.calibrate.calibration import Calibration
from unetmm.plan.types import Plan
from unetmm.run.scales import counts_as_dict
from unetmm.version import __version__


@dataclass(frozen=True)
class Progress:
    """What a caller is told while a run goes on."""

    phase: str
    """Name of the phase: plan, calibrate, compute or finish."""
    done_px: int
    """Number of pixels that are done, in all planes."""
    total_px: int
    """Number of pixels of all planes."""
    seconds: float
    """Time in seconds since the compute phase began."""
    plan: Plan
    """Plan that the run follows."""
    resumed_px: int = 0
    """Number of the pixels done that were done before this run began."""


@dataclass
class Report:
    """What happened; `as_dict` is the file that `--report` writes."""

    input: str
    """Path of the image."""
    output: str
    """Path of the restored image."""
    model: str
    """Name of the model."""
    plan: Plan | None
    """Plan that the run followed; None where nothing was left to do."""
    megapixels: float
    """Number of pixels that this run restored, in millions."""
    calibration: Calibration
    """Statistics that the image was restored with."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time in seconds of each phase, by its name."""
    measured_peak_bytes: int = 0
    """Peak resident memory of the process in bytes, as measured."""
    resumed_rows: int = 0
    """Number of rows of the image that an earlier run had finished."""
    complete: bool = True
    """Whether the output is finished; not so while other shares of the run are to be done."""
    already_done: bool = False
    """Whether an earlier run had finished this very output, so that nothing was done."""
    ranges: dict[str, float] = field(default_factory=dict)
    """Share of this run's samples restored in each wider range, by its width in base ranges."""
    stored: dict[str, Any] = field(default_factory=dict)
    """Pixel type and rounding of the output, and how many values did not fit."""
    outliers: dict[str, Any] = field(default_factory=dict)
    """Number of pixels, columns and rows that no optics can make, and what became of them."""
    guard: dict[str, Any] = field(default_factory=dict)
    """Findings of the comparison of input and output, of what this run restored."""
    measured_device_peak_bytes: int | None = None
    """Peak of a GPU's memory in bytes as measured, libraries' own workspaces apart; None where the
    CPU computed."""

    def as_dict(self) -> dict[str, Any]:
        """For `--report`, whose field names this fixes."""
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
            "ranges": {k: round(v, 6) for k, v in self.ranges.items()},
            "counts": counts_as_dict(self.calibration),
            "resumed_rows": self.resumed_rows,
            "stored": self.stored,
            "outliers": self.outliers,
            "guard": self.guard,
            "complete": self.complete,
            "already_done": self.already_done,
            "warnings": list(self.calibration.doubts),
        }

    def _device_as_dict(self) -> dict[str, Any]:
        peak_bytes = self.measured_device_peak_bytes
        return {} if peak_bytes is None else {"measured_device_peak_bytes": peak_bytes}


def doubts(guard: Mapping[str, Any]) -> Iterator[str]:
    """What the guard found in plain words, with what to do; nothing if there are no more than a few
    doubtful blocks.
    """
    if guard.get("is_doubtful"):
        worst = guard["worst"]
        yield (
            f"{guard['doubtful']} of {guard['blocks']} blocks of the output differ from the input "
            f"by more than its noise allows, most in plane {worst['plane']} at row {worst['row']}, "
            f"column {worst['column']}; compare them there, and give --range if values lie beyond "
            "the measured one"
        )
    if guard.get("is_left"):
        yield (
            f"{guard['noise_left']} of {guard['noisy']} noisy blocks still have their noise; give "
            "--calibration from a part of the image that shows something"
        )
