"""`unetmm apply`."""

from __future__ import annotations

from unetmm_cli.options.arguments import Inputs, Output
from unetmm_cli.options.choices import Choices, with_choices

NOT_TAKEN = ("same_model", "strength", "rounding", "outliers", "transform", "report_html")
"""Options of denoise that are for restored images only."""
HELPS = {
    "model": "A .safetensors file that unetmm import wrote, or that was trained.",
    "dtype": "Pixel type of the output. Maps: float32 by default, float16, or uint8 and uint16, "
    "whose largest value is 1. Labels: the smallest unsigned type by default.",
}
"""Option -> what it means here."""


@with_choices(
    without=("same_model", "strength", "rounding", "outliers", "transform", "report_html"),
    helps=HELPS,
)
def apply(inputs: Inputs, choices: Choices, output: Output = None) -> None:
    """Apply a model that gives something else than a restored image: maps, or classes.

    Maps (opacity, a probability, a height) are written as they come from the net. Of classes the
    label image is written, or with --scores a channel for each. Everything else is as for denoise:
    images of any size, within a memory budget.

    Example: unetmm apply scan.tif -o cells.tif --model segment.safetensors
    """
    from unetmm.models.tasks import task_of
    from unetmm_cli.batch.batch import restore_all
    from unetmm_cli.batch.naming import named_output
    from unetmm_cli.batch.one import check_gives_maps

    model = check_gives_maps(choices)
    restore_all(*named_output(inputs, output, choices, task_of(model).ending), choices)
