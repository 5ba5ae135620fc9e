"""`unetmm compare`: two images on one page, and what to make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetmm_cli import display
from unetmm_cli.commands.trust import MemBudget, Reference, Restored
from unetmm_cli.files import page_beside
from unetmm_cli.options.arguments import AsJson, Input

Page = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE.html",
        help="Where to write the page, and of large images FILE_files/ with their tiles. By "
        "default NAME_compare.html beside the output. An older page of that name is replaced.",
    ),
]
Channel = Annotated[int, typer.Option(min=0, metavar="N", help="Channel that is shown, from 0.")]
Row = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Row whose values are drawn; by default the middle one."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file of that name that is no such page.")
]


def compare(
    input: Input,
    output: Restored,
    reference: Reference = None,
    page: Page = None,
    channel: Channel = 0,
    row: Row = None,
    mem_budget: MemBudget = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put two images on one page that opens in any browser, with a line to drag between them.

    Zooms from the whole image to single pixels, at any size. Shows differences, histograms, a
    profile, spectra, what unetmm trust says, and how the output was made. Needs no network.

    Example: unetmm compare scan.tif scan_dn.tif -o report.html
    """
    from unetmm.quality.trust.report import as_dict
    from unetmm_cli.display.compare.making import PageSubject, check_target, write_comparison

    target = page_beside(output, "_compare") if page is None else page
    check_target(target, [input, output], overwrite)
    asked = PageSubject(input, output, target, reference, channel, row, mem_budget)
    found = write_comparison(asked)
    if as_json:
        facts_json = {"input": str(input), "output": str(output), "page": str(target)}
        judged = found.judged
        figures = {"not_judged": found.verdict} if judged is None else as_dict(judged)
        display.result_json({**facts_json, **figures})
        return
    display.say(found.verdict)
    display.result(str(target))
