"""`unetmm adapt`: checks, the adaptation with its figures, and what came of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unetmm.errors import ShapeError, WeightsError
from unetmm_cli import display

if TYPE_CHECKING:
    from unetmm.train.adapt import AdaptOptions, AdaptProgress

SUFFIX = ".safetensors"


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
        f"{output}: {adapted.best_step} steps in {display.seconds_text(adapted.seconds)}, "
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
        f"step {progress.step}, {display.seconds_text(progress.seconds)}: estimated error "
        f"{progress.error:.6f}, at first {progress.first_error:.6f}"
    )
