"""`unetmm models`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unetmm_cli import display
from unetmm_cli.options.arguments import AsJson
from unetmm_cli.parsing import parse_place


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A model of the zoo, or a weight file."),
    ] = None,
    image: Annotated[
        Any,
        typer.Option(
            "--for",
            metavar="IMAGE",
            parser=parse_place,
            help="Show which of them an image would get, and why.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the models that come with unetmm, the whole card of one, or which one fits an image.

    Example: unetmm models tiny-rgb
    """
    if image is not None:
        _show_choice(image, as_json)
        return
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


def _show_choice(path: Any, as_json: bool) -> None:
    """The model that fits an image."""
    from unetmm.options import Options
    from unetmm.run.model import settle_file
    from unetmm_cli.display.models import show_choice

    display.show_logs(quiet=True)
    choice = settle_file(path, Options()).choice
    assert choice is not None, "it was asked for"
    if as_json:
        display.result_json({"input": str(path), **choice.as_dict()})
    else:
        show_choice(path, choice)
