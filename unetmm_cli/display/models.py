"""Models as a table, or one of them with its card."""

from __future__ import annotations

from typing import Any

from unetmm.models.weights import Model
from unetmm.nets.shapes import macs_per_px
from unetmm.sizes import format_size
from unetmm_cli.display.lines import say
from unetmm_cli.display.tables import make_table, show_pairs, show_table
from unetmm_cli.display.text import flat, plain


def model_as_dict(model: Model) -> dict[str, Any]:
    """The facts of `models --json`; the card says the rest."""
    return {
        "name": model.name,
        "task": model.task,
        "channels": model.config.in_channels,
        "parameters": model.parameters,
        "weights_bytes": model.path.stat().st_size if model.path else 0,
        "kmac_per_px": macs_per_px(model.config) / 1000,
        "skip_floats_per_px": float(model.config.skip_floats_per_px),
        "data_licences": str(model.card.get("data_licences", "")),
        "quality": plain(model.card.get("quality")),
    }


def show_model(model: Model) -> None:
    """Everything known about a model, its card included."""
    show_pairs({**model_as_dict(model), **{k: plain(v) for k, v in model.card.items()}})


def show_models(rows: list[dict[str, Any]]) -> None:
    """What is in the zoo, one line a model."""
    if not rows:
        say("the zoo is empty; give a weight file with --model")
        return
    table = make_table(
        "name", "task", "channels", "parameters", "weights", "kMAC/px", "training data", "quality"
    )
    table.columns[0].no_wrap = True  # to be copied
    for row in rows:
        table.add_row(
            row["name"],
            row["task"],
            str(row["channels"]),
            f"{row['parameters'] / 10**6:.2f} M",
            format_size(row["weights_bytes"]),
            f"{row['kmac_per_px']:.1f}",
            row["data_licences"],
            flat(row["quality"]),
        )
    show_table(table)
