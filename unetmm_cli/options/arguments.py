"""Arguments and options that stand in no panel: images, outputs, --json."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unetmm_cli.parsing import parse_place

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Images, folders, patterns, or @FILE with a name a line. A single - reads an image, "
        "or names of images, from stdin; an image is copied into $TMPDIR first.",
    ),
]
Input = Annotated[
    Any,
    typer.Argument(
        metavar="INPUT",
        parser=parse_place,
        help="Image: TIFF of any kind, OME-Zarr, PNG, JPEG, WebP, .npy, ...",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Where to write; the extension names the format, / at the end a folder. Without it "
        "the last name is the output, or a single image gets one beside it. "
        "OME-Zarr may go to an URL (s3://...). A single - writes TIFF, or what --format says, to "
        "stdout, once it is whole in $TMPDIR.",
    ),
]
PlannedOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Output to plan for; if not given, the one that denoise would write beside the input.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
