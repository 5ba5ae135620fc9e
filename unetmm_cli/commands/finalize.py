"""`unetmm finalize`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unetmm_cli import display
from unetmm_cli.parsing import parse_place


def finalize(
    output: Annotated[
        Any, typer.Argument(metavar="OUTPUT", parser=parse_place, help="An output under way.")
    ],
) -> None:
    """Finish an output whose shares are all done but whose last process was lost.

    Example: unetmm finalize scan.ome.zarr
    """
    from unetmm.errors import ResumeError
    from unetmm.provenance.verify import finalize as finish

    if not finish(output):
        raise ResumeError(f"{output}: chunks are missing; run the missing shares again")
    display.result(str(output))
