"""Which model an image gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetmm.io.image import ImageInfo
from unetmm.models.weights import Model, load_model

CANDIDATES = {
    "auto": {
        1: ("tiny-mono", "micrograph-tiny", "universal-tiny-mono"),
        3: ("tiny-rgb", "universal-tiny-rgb"),
    },
    "auto-clean": {
        1: ("tiny-mono-clean", "micrograph-tiny-clean", "universal-tiny-mono"),
        3: ("tiny-rgb-clean", "universal-tiny-rgb"),
    },
}
"""Models that are chosen from, by the name of the choice and the number of interleaved colour
samples. The first is the one for white noise; all of them have nets of the same layout. Those of
auto-clean were trained on data that allow commercial use."""


@dataclass(frozen=True)
class ModelChoice:
    """Why an image is restored by this model."""

    model: str
    """Name of the model."""
    reason: str
    """Reason in words."""
    noise: str = ""
    """Noise in words; empty where it could not be told."""
    errors: tuple[tuple[str, float], ...] = ()
    """Name and estimated squared error of each candidate, as a share of the noise's variance."""
    leaves_alone: bool = False
    """Whether the image has no noise and is left as it is, whatever the strength."""
    few_counts: float | None = None
    """Counts a pixel of an image of whole numbers that cannot hold what is restored of so few."""

    def as_dict(self) -> dict[str, Any]:
        """For a report or a record."""
        return {
            "model": self.model,
            "reason": self.reason,
            "noise": self.noise,
            "leaves_alone": self.leaves_alone,
            "few_counts": None if self.few_counts is None else round(self.few_counts, 6),
            "estimated_errors": {name: round(error, 4) for name, error in self.errors},
        }

    @classmethod
    def from_dict(cls, content: Any) -> ModelChoice | None:
        """Read what `as_dict` made; None where there is none."""
        try:
            errors = tuple((n, float(e)) for n, e in content["estimated_errors"].items())
            left, few = bool(content["leaves_alone"]), content.get("few_counts")
            counts = None if few is None else float(few)
            model, reason, noise = (content[name] for name in ("model", "reason", "noise"))
            return cls(model, reason, noise, errors, left, counts)
        except (TypeError, KeyError, ValueError, AttributeError):
            return None


def is_auto(choice: str | Path | Model | None) -> bool:
    """Whether the model is to be chosen by looking at the image."""
    return choice is None or (isinstance(choice, str) and choice in CANDIDATES)


def candidate_names(
    choice: str | Path | Model | None, info: ImageInfo, one_by_one: bool = False
) -> tuple[str, ...]:
    """Names of the models that may be chosen for an image, the one for white noise first.

    Parameters
    ----------
    choice : one that `is_auto`.
    one_by_one : those for single channels, whatever the number of samples.
    """
    named = CANDIDATES[str(choice or "auto")]
    samples = 1 if one_by_one else info.samples - info.alpha
    return named.get(samples, named[1])


def pick_model(choice: str | Path | Model | None, info: ImageInfo) -> Model:
    """The model to use for an image; where it is to be chosen, the first of the candidates.

    Raises
    ------
    WeightsError
        If there is no such model.
    """
    if isinstance(choice, Model):
        return choice
    if choice is None or is_auto(choice):
        return load_model(candidate_names(choice, info)[0])
    return load_model(choice)
