"""`unetmm export`: a model as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetmm_cli import display
from unetmm_cli.commands.import_model import checked
from unetmm_cli.files import check_new_file
from unetmm_cli.options.arguments import AsJson


def export(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model of the zoo, or a weight file.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Graph to write: .onnx.")
    ],
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Freeze what the net takes from a whole image, as `unetmm denoise "
            "--save-calibration FILE` wrote it with this model.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the graph if it is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model as an ONNX graph for other software. It takes images of any size.

    The graph is the net alone: floats from 0 to 1 in and out. What unetmm does around it (ranges,
    holes, hot pixels, counts, tiles without seams) is not in it.

    Example: unetmm export upscale-x2 -o upscale-x2.onnx
    """
    from unetmm.foreign.export import export_onnx
    from unetmm.models.weights import load_model
    from unetmm.provenance.record import load_calibration

    check_new_file(output, ".onnx", overwrite)
    model = load_model(name)
    attention = None
    if calibration is not None:
        attention = load_calibration(calibration).entry(0, 0).attention
    made = export_onnx(model, output, attention)
    if as_json:
        facts = {"written": str(output), "bytes": made.size_bytes, "notes": list(made.lines)}
        display.result_json({**facts, "difference": made.difference})
        return
    display.result(f"{output}: {model.name}, {made.size_bytes / 1e6:.1f} MB")
    for line in (*made.lines, checked(made.difference, "the graph")):
        display.result(f"  {line}")
