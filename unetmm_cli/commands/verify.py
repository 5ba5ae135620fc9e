"""`unetmm verify`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unetmm_cli import display
from unetmm_cli.options.arguments import AsJson
from unetmm_cli.parsing import parse_place


def verify(
    output: Annotated[
        Any, typer.Argument(metavar="OUTPUT", parser=parse_place, help="An output of unetmm.")
    ],
    as_json: AsJson = False,
) -> None:
    """Read every chunk of an output again and compare it with its checksum.

    Exits with 1 where one differs.

    Example: unetmm verify scan.ome.zarr
    """
    from unetmm.provenance.verify import verify as compare

    found = compare(output)
    if as_json:
        facts = {"output": str(output), "chunks": found.chunks, "damaged": list(found.damaged)}
        display.result_json(facts)
    else:
        for place in found.damaged:
            display.result(f"damaged: {place}")
        display.result(f"{found.output}: {found.chunks} chunks, {len(found.damaged)} damaged")
    if found.damaged:
        raise typer.Exit(1)
