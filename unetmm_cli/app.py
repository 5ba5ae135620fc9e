"""The commands, one short function each. Library modules are imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetmm import __version__
from unetmm_cli import display
from unetmm_cli.options import AsJson, Choices, Input, Output, PlannedOutput, with_choices

RESTORE, INSPECT = "Restore", "Look first"
"""Panels of `unetmm --help`."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        display.result(f"unetmm {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Restore images too large for memory, within a memory budget.

    Example: unetmm denoise scan.tif -o scan.ome.zarr --mem-budget 4GB
    """
    display.show_logs()
    if context.invoked_subcommand is None:
        display.result(context.get_help())


@app.command(rich_help_panel=RESTORE)
@with_choices
def denoise(input: Input, output: Output, choices: Choices) -> None:
    """Remove noise from an image.

    Example: unetmm denoise scan.tif -o scan.ome.zarr --mem-budget 4GB
    """
    from unetmm_cli.restoring import check_task, restore_one

    check_task(choices, "denoise")
    restore_one(input, output, choices)


@app.command(rich_help_panel=RESTORE)
@with_choices
def restore(input: Input, output: Output, choices: Choices) -> None:
    """Restore an image with any model, whatever its task.

    Example: unetmm restore scan.tif -o scan.ome.zarr --model my-net.safetensors
    """
    from unetmm_cli.restoring import restore_one

    restore_one(input, output, choices)


@app.command(rich_help_panel=INSPECT)
@with_choices
def plan(
    input: Input, choices: Choices, output: PlannedOutput = None, as_json: AsJson = False
) -> None:
    """Show what a run would do and how much memory it would take; runs nothing.

    Exits with 1 where the budget is impossible. Takes the options of denoise.

    Example: unetmm plan scan.tif --mem-budget 1GB
    """
    from unetmm_cli.files import check_paths
    from unetmm_cli.planning import look_ahead

    if output is not None:
        check_paths(input, output, choices.written)
    outlook = look_ahead(input, output, choices.to_options())
    if as_json:
        display.result_json(outlook.as_dict())
    else:
        display.show_plan(outlook)


@app.command(rich_help_panel=INSPECT)
def info(input: Input, as_json: AsJson = False) -> None:
    """Show axes, shape, pixel type, chunks and metadata of an image.

    Example: unetmm info scan.tif
    """
    from unetmm.io import open_source
    from unetmm.pipeline import closing

    with closing(open_source(input)) as source:
        found = source.info
    if as_json:
        display.result_json(display.info_as_dict(input, found))
    else:
        display.show_info(input, found)


@app.command(rich_help_panel=INSPECT)
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A zoo name or a weight file.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Clean images.")],
    sigma: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, max=255, help="Noise levels of 255; 15, 25, 50."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the added noise.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a denoiser: PSNR and SSIM on clean images with added white noise.

    The noise is neither clipped nor rounded, and its level is not told to the model.

    Example: unetmm evaluate tiny-rgb datasets/cbsd68 --sigma 25
    """
    from unetmm.evaluate import SIGMAS
    from unetmm.evaluate import evaluate as measure
    from unetmm.weights import load_model

    found = measure(load_model(model), folder, sigma or SIGMAS, seed)
    if as_json:
        display.result_json(found.as_dict())
    else:
        display.show_evaluation(found)


@app.command(rich_help_panel=INSPECT)
def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A model of the zoo, or a weight file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the models that come with unetmm, or the whole card of one.

    Example: unetmm models tiny-rgb
    """
    from unetmm.weights import load_model, zoo_models

    if name is not None:
        model = load_model(name)
        if as_json:
            card = {"card": dict(model.card)}
            display.result_json({**display.model_as_dict(model), **card})
        else:
            display.show_model(model)
        return
    rows = [display.model_as_dict(load_model(path)) for path in zoo_models().values()]
    if as_json:
        display.result_json(rows)
    else:
        display.show_models(rows)
