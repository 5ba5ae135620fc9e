"""`unetmm models`."""

from __future__ import annotations

from typing import Annotated

import typer

from unetmm_cli import display
from unetmm_cli.options.arguments import AsJson


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A model of the zoo, or a weight file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the models that come with unetmm, or the whole card of one.

    Example: unetmm models tiny-rgb
    """
    from unetmm.models.weights import load_model, zoo_models
    from unetmm_cli.display.models import model_as_dict, show_model, show_models

    if name is not None:
        model = load_model(name)
        if as_json:
            display.result_json({**model_as_dict(model), "card": dict(model.card)})
        else:
            show_model(model)
        return
    rows = [model_as_dict(load_model(path)) for path in zoo_models().values()]
    if as_json:
        display.result_json(rows)
    else:
        show_models(rows)
