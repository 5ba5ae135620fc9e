"""Models as a table, or one of them with its card."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from unetmm.models.listing import facts_of
from unetmm.models.weights import Model
from unetmm.sizes import format_size
from unetmm_cli.display.lines import result, say
from unetmm_cli.display.tables import show_pairs, width
from unetmm_cli.display.text import flat, plain

if TYPE_CHECKING:
    from unetmm.io.places import Place
    from unetmm.models.choice import ModelChoice

INDENT = "      "
"""Spaces before the lines about a model."""
FAST = 1.5
"""Most arithmetic of a model that is called fast, as a multiple of the least in the zoo."""
OTHER_TASKS = "Larger and sharper images, each channel by itself"
"""Title of the models that do not denoise."""
KINDS = {3: "Colour", 1: "Single channels: grey photos, micrographs, bands"}
"""Number of a model's channels -> what it restores."""


def model_as_dict(model: Model) -> dict[str, Any]:
    """The facts of `models --json`; the card says the rest."""
    facts = asdict(facts_of(model))
    return {**facts, "quality": plain(facts["quality"])}


def show_model(model: Model) -> None:
    """Everything known about a model, its card included."""
    show_pairs({**model_as_dict(model), **{k: plain(v) for k, v in model.card.items()}})


def show_models(rows: list[dict[str, Any]]) -> None:
    """What is in the zoo: a few lines a model, as wide as the terminal."""
    if not rows:
        say("the zoo is empty; give a weight file with --model")
        return
    least = min(row["kmac_per_px"] for row in rows)
    result("By default the model that fits an image is chosen: unetmm models --for IMAGE")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["task"] != "denoise", -row["channels"])):
        groups.setdefault(_group(row), []).append(row)
    for title, group in groups.items():
        result("")
        result(f"{title}:")
        for row in sorted(group, key=lambda row: str(row["name"])):
            _show_one(row, least)


def _group(row: dict[str, Any]) -> str:
    """What a model is for, in a few words."""
    if row["task"] != "denoise":
        return OTHER_TASKS
    return KINDS.get(row["channels"], f"{row['channels']} channels")


def _show_one(row: dict[str, Any], least_kmac: float) -> None:
    """Name, size and time of a model, what it is for, how good it is, and the terms of its data."""
    times = row["kmac_per_px"] / least_kmac
    speed = "fast" if times < FAST else f"{times:.0f} times as slow as the fast ones"
    result("")
    result(f"  {row['name']}  ({format_size(row['weights_bytes'])}, {speed})")
    for text in (row["what"], flat(row["quality"]), f"training data: {row['data_licences']}"):
        if text not in ("", "-", "training data: "):
            for line in wrap(
                text, width() - len(INDENT), initial_indent="", subsequent_indent="  "
            ):
                result(f"{INDENT}{line}")


def choice_rows(choice: ModelChoice) -> dict[str, str]:
    """Why a model was chosen, and what the noise is like, for a reader."""
    return {"because": choice.reason, **({"noise": choice.noise} if choice.noise else {})}


def show_choice(path: Place, choice: ModelChoice) -> None:
    """Which model an image would get, and why."""
    show_pairs(
        {
            "input": str(path),
            "model": choice.model,
            **choice_rows(choice),
            **{
                f"estimated error of {name}": f"{error:.3f} of the noise's variance"
                for name, error in choice.errors
            },
        }
    )
