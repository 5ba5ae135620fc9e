"""`unetmm restore`."""

from __future__ import annotations

from unetmm_cli.options.arguments import Inputs, Output
from unetmm_cli.options.choices import Choices, with_choices


@with_choices()
def restore(inputs: Inputs, choices: Choices, output: Output = None) -> None:
    """Restore an image with any model, whatever its task.

    Example: unetmm restore scan.tif -o scan.ome.zarr --model my-net.safetensors
    """
    from unetmm.models.tasks import RESTORE
    from unetmm_cli.batch.batch import restore_all
    from unetmm_cli.batch.naming import named_output

    restore_all(*named_output(inputs, output, choices, RESTORE.ending), choices)
