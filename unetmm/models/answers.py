"""What an output of a model holds, where that is no restored image."""

from __future__ import annotations

from typing import Any

from unetmm.io.answered import Answer, Kind
from unetmm.models.weights import Model


def answer_of(model: Model, scores: bool = False) -> Answer | None:
    """What a model gives; None where that is an image.

    scores : whether all scores of classes are wanted, not only the class with the highest.
    """
    config = model.config
    if config.gives == "image":
        return None
    kind: Kind = "map" if config.gives == "map" else "scores" if scores else "labels"
    return Answer(kind, config.out_channels, config.in_channels, names_of(model))


def names_of(model: Model) -> tuple[str, ...]:
    """Names of a model's maps or classes, as its card has them; empty if it has none."""
    found: Any = model.card.get("output_names", ())
    is_list = isinstance(found, (list, tuple)) and len(found) == model.config.out_channels
    return tuple(map(str, found)) if is_list else ()
