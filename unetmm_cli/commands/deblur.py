"""`unetmm deblur`."""

from __future__ import annotations

from unetmm_cli.options.arguments import Inputs, Output
from unetmm_cli.options.choices import Choices, with_choices
from unetmm_cli.options.restoration import SINGLE_OUTLIERS

HELPS = {
    "model": "Model of the zoo, or a .safetensors file. By default deblur.",
    "outliers": SINGLE_OUTLIERS,
}
"""Option -> what it means here."""


@with_choices(without=("same_model", "scores"), helps=HELPS)
def deblur(inputs: Inputs, choices: Choices, output: Output = None) -> None:
    """Sharpen images that are soft, out of focus or a little shaken.

    The blur is guessed from the image. It does not remove noise: denoise first.

    Example: unetmm deblur scan.tif -o scan_sharp.tif
    """
    from unetmm.models.tasks import DEBLUR, default_model
    from unetmm_cli.batch.batch import restore_all
    from unetmm_cli.batch.naming import named_output
    from unetmm_cli.batch.one import check_task

    if choices.restoration.model in (None, "auto"):
        choices = choices.changed(model=default_model("deblur"))
    check_task(choices, DEBLUR)
    restore_all(*named_output(inputs, output, choices, DEBLUR.ending), choices)
