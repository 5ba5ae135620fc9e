"""What `unetmm plan` shows."""

from __future__ import annotations

from unetmm.io.places import Place
from unetmm.options import Options
from unetmm.plan import outlook
from unetmm.plan.outlook import Outlook
from unetmm_cli.files import default_output


def look_ahead(
    path: Place, output: Place | None, options: Options, makes_folder: bool = False
) -> Outlook:
    """`outlook.look_ahead`, with an output of our choice where none is named."""
    output = output or outlook.plannable(default_output(path))
    return outlook.look_ahead(path, output, options, makes_folder)
