"""`unetmm denoise`."""

from __future__ import annotations

from unetmm_cli.options.arguments import Inputs, Output
from unetmm_cli.options.choices import Choices, with_choices


@with_choices(without=("scores",))
def denoise(inputs: Inputs, choices: Choices, output: Output = None) -> None:
    """Remove noise from an image, or from many.

    A run that was killed or stopped goes on where it was when it is started again. Of several
    images finished outputs are left alone, and one that fails does not stop the others (exit 3).

    Example: unetmm denoise scan.tif -o scan.ome.zarr --mem-budget 4GB
    """
    from unetmm.models.tasks import DENOISE
    from unetmm_cli.batch.batch import restore_all
    from unetmm_cli.batch.naming import named_output
    from unetmm_cli.batch.one import check_task

    check_task(choices, DENOISE)
    restore_all(*named_output(inputs, output, choices, DENOISE.ending), choices)
