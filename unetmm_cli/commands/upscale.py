"""`unetmm upscale`."""

from __future__ import annotations

from typing import Annotated

import typer

from unetmm_cli.options.arguments import Inputs, Output
from unetmm_cli.options.choices import Choices, with_choices
from unetmm_cli.options.restoration import SINGLE_OUTLIERS

USUAL_SCALE = 2
"""Scale where none is asked for."""
HELPS = {
    "model": "Model of the zoo, or a .safetensors file, that decides how many times. By default "
    "upscale-x2 or upscale-x4.",
    "outliers": SINGLE_OUTLIERS,
}
"""Option -> what it means here."""


@with_choices(without=("same_model", "strength", "scores"), helps=HELPS)
def upscale(
    inputs: Inputs,
    choices: Choices,
    output: Output = None,
    scale: Annotated[
        int | None,
        typer.Option(metavar="2|4", help="How many times as high and wide. By default 2."),
    ] = None,
) -> None:
    """Make images larger and keep edges sharp.

    Pixel sizes and places on Earth follow. It does not remove noise: denoise first.

    Example: unetmm upscale scan.tif -o scan_x2.tif --scale 2
    """
    from unetmm.errors import WeightsError
    from unetmm.models.tasks import UPSCALE, default_model
    from unetmm.models.weights import load_model
    from unetmm_cli.batch.batch import restore_all
    from unetmm_cli.batch.naming import named_output
    from unetmm_cli.batch.one import check_task

    chosen = choices.restoration.model
    if chosen is None or chosen == "auto":
        choices = choices.changed(model=default_model("upscale", scale or USUAL_SCALE))
    check_task(choices, UPSCALE)
    model = load_model(str(choices.restoration.model))
    if scale not in (None, model.config.output_scale):
        raise WeightsError(
            f"model {model.name} enlarges {model.config.output_scale} times, not {scale} times; "
            "leave out --scale or --model"
        )
    restore_all(*named_output(inputs, output, choices, UPSCALE.ending), choices)
