"""What models are for: what each task does to an image, and what may be expected of its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unetmm.errors import WeightsError
from unetmm.models.weights import Model, load_model, zoo_models


@dataclass(frozen=True)
class ModelTask:
    """One task, as cards of models name it."""

    name: str
    """Word in the card, and name of the command that does it."""
    ending: str
    """Text at the end of the name of an output that lies beside its image."""
    removes_noise: bool = True
    """Whether noise is to be gone from the output."""
    keeps_details: bool = True
    """Whether each small part of an image keeps its mean."""


DENOISE = ModelTask("denoise", "_denoised")
UPSCALE = ModelTask("upscale", "_upscaled", removes_noise=False, keeps_details=False)
DEBLUR = ModelTask("deblur", "_deblurred", removes_noise=False, keeps_details=False)
TASKS = {task.name: task for task in (DENOISE, UPSCALE, DEBLUR)}
"""Name -> task."""
MAP = ModelTask("apply", "_map", removes_noise=False, keeps_details=False)
CLASSES = ModelTask("apply", "_classes", removes_noise=False, keeps_details=False)
"""Tasks of models that give no image, whatever their card says."""
RESTORE = ModelTask("restore", "_restored")
"""Task of all other models."""


def task_of(model: Model) -> ModelTask:
    """The task of a model."""
    if model.config.gives != "image":
        return MAP if model.config.gives == "map" else CLASSES
    return TASKS.get(model.task, RESTORE)


def made_for(model: str | Path | Model, task: str) -> Model:
    """A model, loaded.

    Raises
    ------
    WeightsError
        If it was made for another task, or there is no such model.
    """
    found = model if isinstance(model, Model) else load_model(model)
    own = task_of(found).name
    if own == task:
        return found
    gives = found.config.gives
    if task == "apply":
        raise WeightsError(
            f"model {found.name} gives an image; run it with unetmm {own}, or import its file "
            "again with --gives classes or --gives map if it was made for these"
        )
    if gives == "image":
        is_for = f"is for {found.task}"
    else:
        is_for = f"gives {'maps' if gives == 'map' else gives}, no restored image"
    raise WeightsError(f"model {found.name} {is_for}; run it with unetmm {own}")


def default_model(task: str, output_scale: int = 1) -> str:
    """Name of the model of the zoo for a task; denoisers are chosen by looking at the image.

    Raises
    ------
    WeightsError
        If there is none.
    """
    name = f"upscale-x{output_scale}" if task == "upscale" else task
    zoo = zoo_models()
    if name not in zoo:
        factors = (m.removeprefix("upscale-x") for m in zoo if m.startswith("upscale-x"))
        known = sorted(factor for factor in factors if factor.isdigit())
        remedy = f"; there is one for {' and '.join(known)} times" if known else ""
        asked = f"{task} {output_scale} times" if task == "upscale" else task
        raise WeightsError(f"there is no model to {asked}{remedy}")
    return name
