"""Panel "Reporting": what is said of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

LogStyle = Literal["text", "json"]
"""Values of --log."""


@dataclass(frozen=True)
class ReportingChoices:
    """What is told; the help of each option says what its value means."""

    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Write plan, measured peak, times and SHA-256 of the output as JSON.",
        ),
    ] = None
    report_html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="When the run has ended, put input and output on one page, as unetmm compare "
            "does. Of several images: a folder, which gets a page for each.",
        ),
    ] = None
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            help="Print only the output's path, or of several images how many are done, and "
            "errors.",
        ),
    ] = False
    log: Annotated[
        LogStyle,
        typer.Option(help="json: one JSON object a line on stderr (start, progress, done, error)."),
    ] = "text"

    @property
    def as_json(self) -> bool:
        """Whether lines on stderr are JSON objects."""
        return self.log == "json"
