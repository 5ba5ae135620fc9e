"""unetmm: restores images too large for memory with UNet-- networks, within a memory budget.

    import unetmm
    restored = unetmm.restore(image, mem_budget="4GB")

Names are loaded when first used, so importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unetmm.calibrate import Calibration
    from unetmm.errors import (
        BudgetError,
        ImageError,
        ResumeError,
        ShapeError,
        UnetmmError,
        WeightsError,
    )
    from unetmm.file_run import restore_file
    from unetmm.options import Options, Report
    from unetmm.pipeline import make_plan, restore
    from unetmm.plan import Plan
    from unetmm.weights import Model, load_model

__version__ = "0.3.1"

_HOMES = {
    "BudgetError": "errors",
    "Calibration": "calibrate",
    "ImageError": "errors",
    "Model": "weights",
    "Options": "options",
    "Plan": "plan",
    "Report": "options",
    "ResumeError": "errors",
    "ShapeError": "errors",
    "UnetmmError": "errors",
    "WeightsError": "errors",
    "load_model": "weights",
    "make_plan": "pipeline",
    "restore": "pipeline",
    "restore_file": "file_run",
}

__all__ = [
    "BudgetError",
    "Calibration",
    "ImageError",
    "Model",
    "Options",
    "Plan",
    "Report",
    "ResumeError",
    "ShapeError",
    "UnetmmError",
    "WeightsError",
    "load_model",
    "make_plan",
    "restore",
    "restore_file",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'unetmm' has no attribute {name!r}")
    return getattr(import_module(f"unetmm.{_HOMES[name]}"), name)
