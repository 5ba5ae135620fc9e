"""What an output of a model holds, where that is no restored image."""

from __future__ import annotations

from typing import Any

from unetmm.io.answered import Answer, Kind
from unetmm.models.weights import Model

MOST_CHARS = 100
"""Longest name of a map or class."""


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
    """Names of a model's maps or classes, as its card has them; empty if it has none.

    Files are told them, so what no text should hold is left out of each.
    """
    found: Any = model.card.get("output_names", ())
    is_list = isinstance(found, (list, tuple)) and len(found) == model.config.out_channels
    return tuple(map(_printable, found)) if is_list else ()


def _printable(name: Any) -> str:
    return "".join(filter(str.isprintable, str(name)))[:MOST_CHARS]
