"""The command line as a Typer app: every command, and the panel of the help text it stands in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from unetmm.version import __version__
from unetmm_cli import display
from unetmm_cli.commands.adapt import adapt
from unetmm_cli.commands.apply import apply
from unetmm_cli.commands.benchmark import benchmark
from unetmm_cli.commands.compare import compare
from unetmm_cli.commands.deblur import deblur
from unetmm_cli.commands.denoise import denoise
from unetmm_cli.commands.evaluate import evaluate
from unetmm_cli.commands.export import export
from unetmm_cli.commands.finalize import finalize
from unetmm_cli.commands.import_model import import_model
from unetmm_cli.commands.info import info
from unetmm_cli.commands.models import models
from unetmm_cli.commands.plan import plan
from unetmm_cli.commands.preview import preview
from unetmm_cli.commands.restore import restore
from unetmm_cli.commands.setup import setup
from unetmm_cli.commands.slurm import slurm
from unetmm_cli.commands.status import status
from unetmm_cli.commands.train import train
from unetmm_cli.commands.trust import trust
from unetmm_cli.commands.upscale import upscale
from unetmm_cli.commands.verify import verify

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Restore": (denoise, deblur, upscale, restore, apply, status, verify, finalize, slurm),
    "Look first": (preview, plan, info, setup),
    "Look after": (compare, trust, evaluate, benchmark),
    "Models": (models, import_model, export, train, adapt),
}
"""Panel of `unetmm --help` -> its commands, in order."""

app = typer.Typer(
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


def name_of(command: Callable[..., None]) -> str:
    """Name of a command, which is its function's, but that Python has some words for itself."""
    return "import" if command is import_model else command.__name__


def _flowing(text: str | None) -> str:
    """A docstring whose paragraphs have no line ends, so that they flow at any width."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for panel, commands in PANELS.items():
    for command in commands:
        app.command(name_of(command), rich_help_panel=panel, help=_flowing(command.__doc__))(
            command
        )
