"""What a Python user may choose, and the options that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from unetmm.calibrate.calibration import Calibration
from unetmm.engine.choice import DeviceChoice
from unetmm.engine.precision import PrecisionChoice
from unetmm.errors import BudgetError, ShapeError, WeightsError
from unetmm.intensities.counts import TransformChoice
from unetmm.intensities.outliers import OutlierChoice
from unetmm.intensities.range import is_range
from unetmm.intensities.rounding import RoundingChoice
from unetmm.intensities.validity import nodata_values
from unetmm.io.palette import PaletteChoice
from unetmm.io.places import Place
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.run.telling import ProgressChoice
from unetmm.sizes import parse_size

ModelChoice = str | Path | Model | None
"""A name of the zoo, a weight file, a loaded model, or None for the one that fits."""


class RestoreChoices(TypedDict, total=False):
    """What `restore` may be asked for besides the model; see there."""

    mem_budget: str | int | None
    calibration: str | Path | Calibration | None
    output: str | Place | None
    axes: str | None
    strength: float
    precision: PrecisionChoice
    device: DeviceChoice
    device_budget: str | int | None
    palette: PaletteChoice
    dtype: Any
    rounding: RoundingChoice
    nodata: float | Sequence[float] | str | None
    outliers: OutlierChoice
    transform: TransformChoice
    progress: ProgressChoice
    series: int | None
    overwrite: bool
    scores: bool
    fixed_range: Sequence[float] | None


def options_of(
    model: str | Path | Model | None,
    mem_budget: str | int | None,
    calibration: str | Path | Calibration | None,
    strength: float,
    precision: PrecisionChoice,
    device: DeviceChoice,
    device_budget: str | int | None,
    dtype: Any,
    rounding: RoundingChoice,
    nodata: float | Sequence[float] | str | None,
    outliers: OutlierChoice,
    transform: TransformChoice,
    overwrite: bool,
    scores: bool,
    fixed_range: Sequence[float] | None,
) -> Options:
    """The options that `restore` was asked for.

    Raises
    ------
    UnetmmError : one of its leaves, if a choice is none or two do not go together.
    """
    if not isinstance(model, (str, Path, Model, type(None))):
        raise WeightsError(f"asked for model {model!r}; give a name, a file or a loaded model")
    known = Path(calibration) if isinstance(calibration, str) else calibration
    if known is not None and transform != "auto":
        raise ShapeError(
            f"asked for transform {transform!r} and a calibration, which has one already; leave "
            "one of them out"
        )
    return Options(
        model, budget_of(mem_budget), known, strength=strength, precision=precision,
        device=device, device_budget_bytes=budget_of(device_budget),
        dtype=dtype_name(dtype), rounding=rounding, nodata=nodata_values(nodata),
        outliers=outliers, transform=transform, overwrite=overwrite, scores=scores,
        fixed_range=_range(fixed_range),
    )  # fmt: skip


def dtype_name(dtype: Any) -> str | None:
    """Name of a pixel type, "input" for that of the input; None stays None.

    Raises
    ------
    ShapeError
        If it is none.
    """
    if dtype is None or (isinstance(dtype, str) and dtype == "input"):
        return dtype
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        raise ShapeError(
            f"asked for dtype {dtype!r}; use input or a name such as float32"
        ) from None


def budget_of(mem_budget: str | int | None) -> int | None:
    """A budget in bytes; None stays None."""
    if isinstance(mem_budget, int) and mem_budget <= 0:
        raise BudgetError(
            f"a budget of {mem_budget} bytes holds nothing; give bytes, '4GB' or '50%'",
            budget_bytes=mem_budget, needed_bytes=0,
        )  # fmt: skip
    return parse_size(mem_budget) if isinstance(mem_budget, str) else mem_budget


def _range(fixed_range: Sequence[float] | None) -> tuple[float, float] | None:
    """Stored values that the net sees as 0 and 1; None stays None."""
    if fixed_range is None:
        return None
    try:
        low, high = map(float, fixed_range)
        known = is_range(low, high)
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ShapeError(
            f"asked for fixed_range={fixed_range!r}; give the values that are black and white to "
            "the net, the smaller first, as (0, 65535)"
        )
    return low, high
