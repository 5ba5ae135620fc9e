"""`unetmm trust`: what a restoration did to the values of an image."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unetmm_cli import display
from unetmm_cli.display.lines import looked_at
from unetmm_cli.options.arguments import AsJson, Input
from unetmm_cli.parsing import parse_budget, parse_nodata, parse_place

Restored = Annotated[
    Any,
    typer.Argument(metavar="OUTPUT", parser=parse_place, help="Image that was made of it."),
]
Reference = Annotated[
    Any,
    typer.Option(
        metavar="IMAGE",
        parser=parse_place,
        help="Image that shows the truth, as a long exposure: errors are measured against it.",
    ),
]
NoDataValues = Annotated[
    Any,
    typer.Option(
        "--nodata",
        metavar="VALUE",
        parser=parse_nodata,
        help="Pixels of this value, or of several (-9999,0), hold no measurement; none: all pixels "
        "do. By default as the images say, or as the output was made.",
    ),
]
MemBudget = Annotated[
    Any,
    typer.Option(
        metavar="SIZE",
        parser=parse_budget,
        help="Peak memory: 512MB, 4GB, 50%. By default half of what is available.",
    ),
]


def trust(
    input: Input,
    output: Restored,
    reference: Reference = None,
    nodata: NoDataValues = None,
    mem_budget: MemBudget = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether an output can be trusted, by comparing it with its input.

    Says what was removed, whether detail went with it or structure was made up, whether values and
    places are kept, and what to do. Works for outputs of any software. Exits with 0 whatever is
    found; --json has the verdict.

    Example: unetmm trust scan.tif scan_dn.tif
    """
    from unetmm.quality.trust.report import as_dict
    from unetmm.quality.trust.trust import trust_files
    from unetmm_cli.display.trust import show_trust

    found = trust_files(
        input, output, reference, mem_budget, on_progress=looked_at(), nodata=nodata
    )
    if as_json:
        facts = {"input": str(input), "output": str(output), **as_dict(found)}
        display.result_json(facts)
    else:
        show_trust(found)
