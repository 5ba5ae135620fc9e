"""Images through stdin and stdout; both pass through a file, for neither can be read by box."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from unetmm.errors import ImageError, UnetmmError
from unetmm.io.formats import OUTPUT_SUFFIX
from unetmm.io.places import Place
from unetmm.io.sniff import HEAD_BYTES, looks_like_image
from unetmm_cli.batch.inputs import PIPE, STDIN
from unetmm_cli.batch.one import restore_one
from unetmm_cli.display.lines import give_up_stdout
from unetmm_cli.options.choices import Choices
from unetmm_cli.signals import Interrupted

BLOCK_BYTES = 2**20
"""Size of what is read from stdin or sent to stdout at once, in bytes."""


def is_pipe(output: str) -> bool:
    """Whether an output means stdout."""
    return output == PIPE


@contextmanager
def spool_folder() -> Iterator[Path]:
    """A folder of its own in $TMPDIR; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="unetmm-") as name:
        yield Path(name)


def take_stdin(folder: Path) -> Path | bytes:
    """An image on stdin as a file in the folder, or else what stdin holds: names of images.

    The file is named after its content and has no time of its own, so that the same image piped
    again is the same input.
    """
    stdin = sys.stdin.buffer
    head = stdin.read(HEAD_BYTES)
    if not looks_like_image(head):
        return head + stdin.read()
    digest, aside = hashlib.sha256(), folder / "incoming"
    with aside.open("wb") as file:
        block = head
        while block:
            digest.update(block)
            file.write(block)
            block = stdin.read(BLOCK_BYTES)
    os.utime(aside, (0, 0))
    return aside.rename(folder / f"stdin-{digest.hexdigest()[:16]}")


@contextmanager
def named_stdin(stdin: Path | bytes) -> Iterator[None]:
    """Let errors about an image from stdin name that rather than the file it passes through."""
    try:
        yield
    except UnetmmError as error:
        if isinstance(stdin, Path):
            error.args = (str(error).replace(str(stdin), STDIN),)
        raise


def stdout_is_terminal() -> bool:
    """Whether bytes of an image would land on a screen."""
    return sys.stdout.isatty()


def check_stdout(choices: Choices) -> None:
    """Refuse what stdout cannot take.

    Raises
    ------
    typer.BadParameter
        It says why.
    """
    if choices.output.format == "ome-zarr":
        raise typer.BadParameter("-o - takes one file, so not ome-zarr; use tiff or npy")
    if choices.output.share is not None or choices.is_distributed:
        raise typer.BadParameter(
            "-o - is for one process: leave out --share and clusters, and name one GPU"
        )
    if choices.reporting.report_html is not None:
        raise typer.BadParameter("--report-html shows an output that stays; give -o a file")
    if stdout_is_terminal():
        raise typer.BadParameter("-o -: stdout is a terminal; write > FILE or | PROGRAM")


def restore_to_stdout(path: Place, choices: Choices) -> None:
    """Restore one image and send it through stdout once it is whole."""
    check_stdout(choices)
    with spool_folder() as folder:
        chosen = choices.output.format
        format = "tiff" if chosen == "auto" else chosen
        output = folder / f"stdout{OUTPUT_SUFFIX[format]}"
        try:
            restore_one(path, output, choices.changed(overwrite=True), shown=PIPE)
        except Interrupted:
            raise Interrupted("nothing was written to stdout") from None
        _send(output)


def _send(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, BLOCK_BYTES)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        give_up_stdout()
        raise ImageError("-: nobody reads stdout any more; the image was not sent whole") from error
