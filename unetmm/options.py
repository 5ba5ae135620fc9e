"""What a run is asked for, what it says while it goes on, and what it reports."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

from unetmm.calibrate.calibration import SMALLEST_RANGE, Calibration
from unetmm.engine.target import DeviceChoice, PrecisionChoice, Target, resolve_target
from unetmm.errors import ShapeError
from unetmm.io.image import Encoding, SinkOptions
from unetmm.io.places import Place
from unetmm.io.select import Selection
from unetmm.models.weights import Model
from unetmm.plan.search import Plan


@dataclass(frozen=True)
class Options:
    """What a user may choose about a run."""

    model: str | Path | Model | None = None
    """A zoo name, a file, or a loaded model; None picks by the image's samples."""
    budget_bytes: int | None = None
    """Peak resident memory; None: half of what is available."""
    calibration: Path | Calibration | None = None
    """Frozen statistics to use instead of measuring the image."""
    fixed_range: tuple[float, float] | None = None
    """Stored values that the net sees as 0 and 1."""
    strength: float = 1.0
    """0 gives the input back, 1 the net's answer."""
    format: str | None = None
    overwrite: bool = False
    workers: int = 0
    """Cores used at most; 0 for all."""
    select: Selection | None = None
    """The part of a file to restore; None: all of it."""
    encoding: Encoding = Encoding()
    """How the output stores its pixels."""
    precision: PrecisionChoice = "auto"
    """Of the matrix products: fp32, or bf16 where the processor has it; auto is fp32. On a device
    of everything but sums, and fp16 as well."""
    device: DeviceChoice = "auto"
    """cpu, torch (the CPU without the compiled kernels), cuda or cuda:N; auto is cpu."""
    device_budget_bytes: int | None = None
    """Of a GPU's memory; None: 80 % of what is free."""

    def __post_init__(self) -> None:
        if not (isinstance(self.strength, Real) and 0 <= self.strength <= 1):
            raise ShapeError(
                f"asked for strength {self.strength!r}; 0 gives the input back, 1 the net's answer"
            )

        if self.fixed_range is not None:
            low, high = self.fixed_range
            if not (math.isfinite(low) and SMALLEST_RANGE < high - low < math.inf):
                raise ShapeError(
                    f"asked for the range {low!r} to {high!r}; give two finite numbers, the lower "
                    "one first"
                )

    @cached_property
    def target(self) -> Target:
        """What device and precision mean on this machine, as it was when this was first asked.

        Raises
        ------
        ShapeError
            If the machine lacks them.
        """
        return resolve_target(self.device, self.precision)

    def sink(self, path: Place) -> SinkOptions:
        """The part of these that an output needs."""
        return SinkOptions(path, self.overwrite, encoding=self.encoding)


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
        from unetmm.version import __version__

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
