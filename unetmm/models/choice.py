"""Which model an image gets."""

from __future__ import annotations

from pathlib import Path

from unetmm.io.image import ImageInfo
from unetmm.models.weights import Model, load_model

DEFAULT_MODELS = {1: "tiny-mono", 3: "tiny-rgb"}
"""Model by the number of interleaved colour samples."""


def pick_model(choice: str | Path | Model | None, info: ImageInfo) -> Model:
    """The model to use for an image.

    Raises
    ------
    WeightsError
        If there is no such model.
    """
    if isinstance(choice, Model):
        return choice
    samples = info.samples - info.alpha
    return load_model(choice or DEFAULT_MODELS.get(samples, DEFAULT_MODELS[1]))
