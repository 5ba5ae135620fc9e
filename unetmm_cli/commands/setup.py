"""`unetmm setup`: the kernels of this machine, compiled ahead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetmm_cli import display

if TYPE_CHECKING:
    from unetmm.engine.precision import Precision

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
"""Precisions that kernels are compiled for; the second where the processor has it."""


def setup(
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where compiled kernels are kept, instead of ~/.cache/unetmm. Runs find them "
            "there if UNETMM_CACHE_DIR names it; it may be read-only then.",
        ),
    ] = None,
) -> None:
    """Compile the kernels for this machine ahead, so that no run waits for it.

    For container images, login nodes and machines without a home. Does nothing where they are
    there already.

    Example: unetmm setup --cache /opt/unetmm
    """
    if cache is not None:
        os.environ["UNETMM_CACHE_DIR"] = str(cache.absolute())
    from unetmm.compiling.cache import cache_folder
    from unetmm.compiling.processor import multiplies_bf16
    from unetmm.engine.cpu.prepare import compile_all, compile_aside
    from unetmm.errors import ImageError

    folder = cache_folder()
    if cache is not None and not folder.is_relative_to(cache.absolute()):
        raise ImageError(f"{cache}: kernels cannot be kept there; give a folder that is writable")
    for precision in PRECISIONS if multiplies_bf16() else PRECISIONS[:1]:
        if not compile_aside(precision):  # they are kept all the same, if this process can do it
            compile_all(precision)
    display.result(str(folder))
