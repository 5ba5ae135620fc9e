"""What a run is asked for, what it says while it goes on, and what it reports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path

from unetmm.calibrate.calibration import SMALLEST_RANGE, Calibration
from unetmm.engine.target import DeviceChoice, PrecisionChoice, Target, resolve_target
from unetmm.errors import ShapeError
from unetmm.io.image import Encoding, SinkOptions
from unetmm.io.places import Place
from unetmm.io.select import Selection
from unetmm.models.weights import Model


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
