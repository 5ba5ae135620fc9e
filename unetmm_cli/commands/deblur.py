"""`unetmm deblur`."""

from __future__ import annotations

from unetmm_cli.options.arguments import Inputs, Output
from unetmm_cli.options.choices import Choices, with_choices

HELPS = {
    "model": "Model of the zoo, or a .safetensors file. By default deblur.",
    "outliers": "Single pixels that no optics can make (hot, dead, cosmic rays). keep: they keep "
    "their value and do not disturb what is around them, replace: they get one that fits, none: "
    "none are looked for.",
}
"""Option -> what it means here."""


@with_choices(without=("same_model",), helps=HELPS)
def deblur(inputs: Inputs, choices: Choices, output: Output = None) -> None:
    """Sharpen images that are soft, out of focus or a little shaken.

    The blur is guessed from the image. It does not remove noise: denoise first.

    Example: unetmm deblur scan.tif -o scan_sharp.tif
    """
    from unetmm.models.tasks import default_model
    from unetmm_cli.batch.batch import restore_all
    from unetmm_cli.batch.naming import named_output
    from unetmm_cli.batch.one import check_task

    if choices.restoration.model in (None, "auto"):
        choices = choices.changed(model=default_model("deblur"))
    check_task(choices, "deblur")
    restore_all(*named_output(inputs, output, choices, "_deblurred"), choices)
