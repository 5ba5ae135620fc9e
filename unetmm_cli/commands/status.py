"""`unetmm status`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from unetmm_cli import display
from unetmm_cli.options.arguments import AsJson
from unetmm_cli.parsing import parse_place


def status(
    output: Annotated[
        Any,
        typer.Argument(metavar="OUTPUT", parser=parse_place, help="An output, finished or not."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show how far an output is, who works on it, and what to do next.

    Nothing is changed or locked by asking. Exits with 1 where there is no such output.

    Example: unetmm status scan.ome.zarr
    """
    from unetmm.provenance.status import status as look
    from unetmm_cli.display.status import show_status

    found = look(output)
    if as_json:
        display.result_json(asdict(found))
    else:
        show_status(found)
