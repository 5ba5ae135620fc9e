"""`unetmm train`: a run with live figures, its curve, and the finished weights."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unetmm.extras import need_torch
from unetmm_cli import display
from unetmm_cli.display.text import seconds_text
from unetmm_cli.progress import View, make_bar

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from unetmm.train.config import TrainConfig
    from unetmm.train.loop import Trainer, TrainingProgress

LINE_INTERVAL_S = 30.0
"""Least time between two lines where stderr is no terminal, in seconds."""


Config = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The run.")]
Folder = Annotated[
    Path, typer.Option(metavar="DIR", help="Checkpoints, curve and finished weights.")
]
Limit = Annotated[
    float | None, typer.Option(metavar="N", min=0, help="Stop after so many seconds.")
]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")]
Threads = Annotated[int, typer.Option(metavar="N", min=1, help="CPU threads.")]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, help="Processes that prepare patches; default: every core for cuda."
    ),
]


def train(
    config: Config,
    folder: Folder,
    limit_s: Limit = None,
    device: Device = "cpu",
    threads: Threads = 1,
    workers: Workers = None,
) -> None:
    """Train a net from a config; the same command goes on where it was stopped.

    Example: unetmm train training/tiny-rgb.toml --folder runs/tiny-rgb
    """
    run_training(TrainTask(config, folder, limit_s, device, threads, workers))


@dataclass(frozen=True)
class TrainTask:
    """What is to be trained, and where."""

    config: Path
    """File that describes the run."""
    folder: Path
    """Folder of checkpoints, curve and finished weights; the log lies beside it."""
    limit_s: float | None
    """Longest time to train, in seconds; None for no limit."""
    device: str
    """Device to train on: cpu or cuda."""
    threads: int
    """CPU threads of torch."""
    workers: int | None
    """Number of processes that prepare batches; None: every core for a GPU, else only this one."""


class TrainLines(View):
    """Training as lines on stderr, the first at once and then from time to time."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def update(self, progress: TrainingProgress) -> None:
        """Take what the library says about the run."""
        if progress.seconds >= self._next_s or progress.step == progress.steps:
            self._next_s = progress.seconds + LINE_INTERVAL_S
            display.say(progress_line(progress))


class TrainBar(TrainLines):
    """Training as a bar."""

    bar: RichProgress
    """Bar that shows how many steps are done."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn

        super().__init__()
        self.bar = make_bar(
            TextColumn("train"), BarColumn(bar_width=24), TextColumn("{task.description}")
        )
        self._task = self.bar.add_task("starting", total=None)

    def update(self, progress: TrainingProgress) -> None:
        self.bar.update(
            self._task,
            completed=progress.step,
            total=progress.steps,
            description=progress_line(progress),
        )


def progress_line(progress: TrainingProgress) -> str:
    """Where a run is, in one line."""
    measured = progress.validation_db
    validation = "" if measured is None else f", validation {measured:.2f} dB"
    is_last = progress.step == progress.steps
    left = "" if is_last else f", {seconds_text(progress.left_s)} left"
    return (
        f"step {progress.step:,} of {progress.steps:,}: loss {progress.loss:.3f}, "
        f"training {progress.psnr_db:.2f} dB{validation}{left}"
    )


def run_training(task: TrainTask) -> None:
    """Train, and leave weights with their card once all steps are done.

    Raises
    ------
    UnetmmError
        If config, data or checkpoint cannot be used.
    Interrupted
        If a signal stopped it; the checkpoint is whole.
    """
    from unetmm_cli.signals import Interrupted, stop_on_signal

    config, trainer = _prepare(task)
    view = TrainBar() if sys.stderr.isatty() else TrainLines()
    with stop_on_signal() as stop, view:
        done = trainer.run(
            view.update, every=_report_every(config), limit_s=task.limit_s, stop=stop
        )
    _draw(config, task.folder)
    again = _command(task)
    if not done and stop.is_set():
        raise Interrupted(f"stopped at step {trainer.step:,}; go on with {again}")
    if not done:
        display.result(f"{trainer.step:,} of {config.steps:,} steps; go on with {again}")
        return
    _finish(config, task)


def _command(task: TrainTask) -> str:
    """What goes on with a run, as a shell takes it."""
    words = ["unetmm", "train", str(task.config), "--folder", str(task.folder)]
    words += [] if task.device == "cpu" else ["--device", task.device]
    words += [] if task.threads == 1 else ["--threads", str(task.threads)]
    words += [] if task.workers is None else ["--workers", str(task.workers)]
    return shlex.join(words)


def _prepare(task: TrainTask) -> tuple[TrainConfig, Trainer]:
    need_torch("training")
    import torch

    from unetmm.errors import ShapeError
    from unetmm.process import available_cores
    from unetmm.train.config import load_train_config
    from unetmm.train.loop import Trainer

    config = load_train_config(task.config)
    if task.device == "cuda" and not torch.cuda.is_available():
        raise ShapeError("--device cuda: no CUDA device is found here; leave it out for the CPU")
    torch.set_num_threads(task.threads)
    task.folder.mkdir(parents=True, exist_ok=True)
    workers = task.workers
    if workers is None:
        workers = available_cores() if task.device == "cuda" else 0
    return config, Trainer(config, task.folder, task.device, workers)


def _report_every(config: TrainConfig) -> int:
    """Steps between two reports: about a hundred of them in a short run."""
    return max(1, min(100, config.steps // 100))


def _draw(config: TrainConfig, folder: Path) -> None:
    from unetmm.train.curve import draw_curve
    from unetmm.train.history import log_path, read_rows

    draw_curve(read_rows(log_path(folder)), folder / "curve.png", config.name)


def _finish(config: TrainConfig, task: TrainTask) -> None:
    """Averaged weights with their card, beside the curve."""
    from unetmm.train.export import export

    output = task.folder / f"{config.name}.safetensors"
    export(config, task.folder, output, {}, command=_command(task))
    display.result(f"{output}: {config.steps:,} steps; unetmm models {output} shows its card")
