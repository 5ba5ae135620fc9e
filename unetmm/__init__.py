"""unetmm: restores images too large for memory with UNet-- networks, within a memory budget.

    import unetmm
    restored = unetmm.restore(image, mem_budget="4GB")

Names are loaded when first used, so importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unetmm.version import __version__

if TYPE_CHECKING:
    from unetmm.api import deblur, denoise, make_plan, preview, restore, upscale
    from unetmm.calibrate.calibration import Calibration
    from unetmm.errors import (
        BudgetError,
        DeviceError,
        ImageError,
        MissingPackageError,
        ResumeError,
        ShapeError,
        UnetmmError,
        WeightsError,
    )
    from unetmm.models.listing import list_models
    from unetmm.models.weights import Model, load_model
    from unetmm.options import Options
    from unetmm.plan.types import Plan
    from unetmm.quality.trust.trust import Trust, trust
    from unetmm.run.of_file import restore_file
    from unetmm.run.preview import Preview
    from unetmm.run.report import Progress, Report

_HOMES = {
    "BudgetError": "errors",
    "Calibration": "calibrate.calibration",
    "DeviceError": "errors",
    "ImageError": "errors",
    "MissingPackageError": "errors",
    "Model": "models.weights",
    "Options": "options",
    "Plan": "plan.types",
    "Preview": "run.preview",
    "Progress": "run.report",
    "Report": "run.report",
    "ResumeError": "errors",
    "ShapeError": "errors",
    "Trust": "quality.trust.trust",
    "UnetmmError": "errors",
    "WeightsError": "errors",
    "deblur": "api",
    "denoise": "api",
    "list_models": "models.listing",
    "load_model": "models.weights",
    "make_plan": "api",
    "preview": "api",
    "restore": "api",
    "restore_file": "run.of_file",
    "trust": "quality.trust.trust",
    "upscale": "api",
}

__all__ = [
    "BudgetError",
    "Calibration",
    "DeviceError",
    "ImageError",
    "MissingPackageError",
    "Model",
    "Options",
    "Plan",
    "Preview",
    "Progress",
    "Report",
    "ResumeError",
    "ShapeError",
    "Trust",
    "UnetmmError",
    "WeightsError",
    "__version__",
    "deblur",
    "denoise",
    "list_models",
    "load_model",
    "make_plan",
    "preview",
    "restore",
    "restore_file",
    "trust",
    "upscale",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'unetmm' has no attribute {name!r}")
    return getattr(import_module(f"unetmm.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
