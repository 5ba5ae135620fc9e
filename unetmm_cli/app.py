"""The commands, one short function each. Library modules are imported when a command runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unetmm.version import __version__
from unetmm_cli import display
from unetmm_cli.options import (
    AsJson,
    Choices,
    Input,
    Inputs,
    Output,
    PlannedOutput,
    parse_budget,
    parse_place,
    with_choices,
)

RESTORE, INSPECT, TRAIN = "Restore", "Look first", "Train"
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
def denoise(inputs: Inputs, output: Output, choices: Choices) -> None:
    """Remove noise from an image, or from many.

    A run that was killed or stopped goes on where it was when it is started again. Of several
    images finished outputs are left alone, and one that fails does not stop the others (exit 3).

    Example: unetmm denoise scan.tif -o scan.ome.zarr --mem-budget 4GB
    """
    from unetmm_cli.batch.batch import restore_all
    from unetmm_cli.commands.restore import check_task

    check_task(choices, "denoise")
    restore_all(inputs, output, choices)


@app.command(rich_help_panel=RESTORE)
@with_choices
def restore(inputs: Inputs, output: Output, choices: Choices) -> None:
    """Restore an image with any model, whatever its task.

    Example: unetmm restore scan.tif -o scan.ome.zarr --model my-net.safetensors
    """
    from unetmm_cli.batch.batch import restore_all

    restore_all(inputs, output, choices)


@app.command(rich_help_panel=RESTORE)
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
        display.show_verification(found)
    if found.damaged:
        raise typer.Exit(1)


@app.command(rich_help_panel=RESTORE)
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


@app.command(rich_help_panel=RESTORE)
@with_choices
def slurm(
    inputs: Inputs,
    output: Output,
    choices: Choices,
    nodes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Shares, each a task of the job array.")
    ] = 8,
    time: Annotated[
        str, typer.Option(metavar="H:MM:SS", help="Limit of each; it goes on where it was.")
    ] = "1:00:00",
) -> None:
    """Print a batch script that denoises on a Slurm cluster. Takes the options of denoise.

    Example: unetmm slurm scan.tif -o scan.ome.zarr --nodes 8 --mem-budget 4GB | sbatch
    """
    from unetmm_cli.commands.slurm import Batch, make_script

    cores = choices.workers or os.cpu_count() or 1
    display.result(make_script(Batch(inputs, output, nodes, time, cores), choices))


@app.command(rich_help_panel=INSPECT)
@partial(with_choices, without=("report", "save_calibration"))
def plan(
    input: Input, choices: Choices, output: PlannedOutput = None, as_json: AsJson = False
) -> None:
    """Show what a run would do and how much memory it would take; runs nothing.

    Exits with 1 where the budget is impossible. Takes the options of denoise, except those that
    name files to write.

    Example: unetmm plan scan.tif --mem-budget 1GB
    """
    from unetmm_cli.batch.placing import is_folder, output_of
    from unetmm_cli.commands.plan import look_ahead

    chosen = None if output is None else output_of(input, output, choices)
    makes_folder = output is not None and is_folder(output)
    outlook = look_ahead(input, chosen, choices.to_options(), makes_folder)
    if as_json:
        display.result_json(outlook.as_dict())
    else:
        display.show_plan(outlook)


@app.command(rich_help_panel=INSPECT)
def info(input: Input, as_json: AsJson = False) -> None:
    """Show axes, shape, type, metadata and histogram of an image, and how an output was made.

    Example: unetmm info scan.tif
    """
    from unetmm.errors import ImageError
    from unetmm.io.open import open_source
    from unetmm.io.survey import survey
    from unetmm.provenance.record import find_begun, read_record, summary
    from unetmm_cli.commands.info import info_as_dict, show_begun, show_info

    try:
        source = open_source(input)
    except ImageError:
        begun = find_begun(input)
        if begun is None:
            raise
        show_begun(input, summary(begun, finished=False), as_json)
        return
    try:
        found, values = source.info, survey(source)
    finally:
        source.close()
    record = read_record(input)
    made = summary(record, finished=True) if record else None
    if as_json:
        display.result_json(info_as_dict(input, found, values, made))
    else:
        show_info(input, found, values, made)


@app.command(rich_help_panel=INSPECT)
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A zoo name or a weight file.")],
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Clean images, or noisy/ and clean/ with pairs."),
    ],
    sigma: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=1, max=255, help="Noise levels of 255; 15, 25, 50."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the added noise.")] = 0,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Another model to compare with; may be repeated."),
    ] = None,
    affine: Annotated[
        bool,
        typer.Option(
            "--affine", help="Pairs: fit the clean image to the noisy one by gain and offset."
        ),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the scores of all images.")
    ] = None,
    worst: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write clean | noisy | restored of the worst cases."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a denoiser: PSNR and SSIM on clean images with added white noise, or on pairs.

    The noise is neither clipped nor rounded, and its level is not told to the model.

    Example: unetmm evaluate tiny-rgb datasets/cbsd68 --sigma 25
    """
    from unetmm_cli.commands.evaluate import Task, measure

    task = Task([model, *(against or [])], folder, sigma or [], seed, affine)
    found = measure(task, csv, worst)
    if as_json:
        display.result_json(found[0].as_dict() if len(found) == 1 else [e.as_dict() for e in found])
    else:
        display.show_evaluations(found)


@app.command(rich_help_panel=INSPECT)
def benchmark(
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Of the zoo, a weight file, or nafnet-32 or unetmm-32 with random weights.",
        ),
    ] = "tiny-rgb",
    size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Height and width of the image in pixels.")
    ] = 2048,
    repeat: Annotated[int, typer.Option(metavar="N", min=1, help="Runs of everything.")] = 5,
    repeat_slow: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Runs of what takes more than 20 s."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="openvino, onnxruntime (-tiled), dask, monai, tiler, or all that are installed; "
            "may be repeated.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Threads of everything; 0 for all cores.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure speed and memory on this machine, against plain forwards and other tools.

    Times are medians in seconds a megapixel, each from a process of its own. Takes minutes.

    Example: unetmm benchmark --model tiny-rgb --size 1024 --peer all
    """
    from unetmm.benchmark import Setting
    from unetmm.process import available_cores
    from unetmm_cli.commands.benchmark import measure

    threads = workers or available_cores()
    setting = Setting(model, size, repeat, repeat_slow or 0, threads, tuple(peer or ()))
    measure(setting, as_json)


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
    from unetmm.models.weights import load_model, zoo_models

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


@app.command(rich_help_panel=TRAIN)
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The run.")],
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="Checkpoints, curve and finished weights.")
    ],
    limit_s: Annotated[
        float | None, typer.Option(metavar="N", min=0, help="Stop after so many seconds.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="CPU threads.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Processes that prepare patches; default: every core for cuda."
        ),
    ] = None,
) -> None:
    """Train a net from a config; the same command goes on where it was stopped.

    Example: unetmm train training/tiny-rgb.toml --folder runs/tiny-rgb
    """
    from unetmm_cli.commands.train import TrainTask
    from unetmm_cli.commands.train import train as run_training

    run_training(TrainTask(config, folder, limit_s, device, threads, workers))


@app.command(rich_help_panel=TRAIN)
def adapt(
    input: Input,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.safetensors", help="The adapted weights."),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Where to start; picked by the image.")
    ] = None,
    minutes: Annotated[float, typer.Option(metavar="N", help="Longest time to train.")] = 10.0,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Most steps to train.")
    ] = None,
    mem_budget: Annotated[
        int | None, typer.Option(metavar="SIZE", parser=parse_budget, help="Peak memory.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """Adapt a model to one noisy image, with nothing but that image to learn from.

    Ends by itself when that helps no more. Needs noise that is independent from pixel to pixel,
    as micrographs have it; writes nothing where the model was as good before.

    Example: unetmm adapt dim.tif -o dim.safetensors --model tiny-mono
    """
    from unetmm.train.adapt import AdaptOptions
    from unetmm_cli.commands.adapt import adapt_one

    adapt_one(input, output, AdaptOptions(model, minutes, steps, mem_budget, seed), overwrite)
