"""`unetmm adapt`: checks, the adaptation with its figures, and what came of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetmm.errors import ShapeError, WeightsError
from unetmm_cli import display
from unetmm_cli.display.text import seconds_text
from unetmm_cli.options.arguments import Input
from unetmm_cli.parsing import parse_budget

if TYPE_CHECKING:
    from unetmm.train.adapt import AdaptOptions, AdaptProgress

SUFFIX = ".safetensors"
"""Ending of a weight file's name."""


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
    from unetmm.train.adapt import AdaptOptions  # says so where torch is missing

    adapt_one(input, output, AdaptOptions(model, minutes, steps, mem_budget, seed), overwrite)


def adapt_one(path: Path, output: Path, options: AdaptOptions, overwrite: bool) -> None:
    """Adapt a model to an image and say how it went.

    Raises
    ------
    UnetmmError
        If it cannot be done or brings nothing; nothing is written then.
    """
    import torch

    from unetmm.process import available_cores
    from unetmm.train.adapt import adapt_file
    from unetmm_cli.signals import stop_on_signal

    if options.minutes <= 0:
        raise ShapeError(f"asked for {options.minutes:g} minutes of training; give more than 0")
    _check_output(output, overwrite)
    torch.set_num_threads(available_cores())
    with stop_on_signal() as stop:
        adapted = adapt_file(path, output, options, _show, stop)
    display.result(
        f"{output}: {adapted.best_step} steps in {seconds_text(adapted.seconds)}, "
        f"{adapted.gain:.0%} of the held-out error gone, ended by {adapted.ended_by}; use it with "
        f"--model {output}"
    )


def _check_output(output: Path, overwrite: bool) -> None:
    if output.suffix != SUFFIX:
        raise WeightsError(f"{output}: weights are written as {SUFFIX}; name it so")
    if output.is_dir() or not os.access(output.parent, os.W_OK | os.X_OK):
        raise WeightsError(f"{output}: cannot be written; its folder must exist and be writable")
    if output.exists() and not overwrite:
        raise WeightsError(f"{output}: exists; give --overwrite to replace it")


def _show(progress: AdaptProgress) -> None:
    display.say(
        f"step {progress.step}, {seconds_text(progress.seconds)}: estimated error "
        f"{progress.error:.6f}, at first {progress.first_error:.6f}"
    )
