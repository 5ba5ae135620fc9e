"""Makes sure that the kernels are there before the first strip: read from disk, or compiled.

Compiling takes 60 MB that the process would never give back, so the first time it is done in
processes of their own, two at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys

import numpy as np

from unetmm.compiling.cache import COMPLETE, cache_folder, remove_old
from unetmm.engine.cpu.stages import run_stages
from unetmm.engine.cpu.sync import LINE
from unetmm.engine.cpu.tables import COLUMNS
from unetmm.engine.precision import Precision
from unetmm.intensities.guard_kernel import compile_guard
from unetmm.intensities.kernel import compile_move
from unetmm.intensities.outliers_kernel import compile_find
from unetmm.intensities.points_kernel import compile_points
from unetmm.intensities.rounding_kernel import compile_dither
from unetmm.process import child_environment

log = logging.getLogger(__name__)


def ensure_compiled(precision: Precision = "fp32") -> None:
    """Make sure that the kernels are on disk, compiling them in other processes if not.

    Raises
    ------
    OSError
        If those of this precision are missing in a folder that is read-only.
    """
    stamp = cache_folder() / f"{COMPLETE}{precision}"
    if not stamp.exists():
        if stamp.parent.exists() and not os.access(stamp.parent, os.W_OK):
            raise OSError(
                f"{stamp.parent.parent}: holds no kernels for {precision}, and is read-only; run "
                "unetmm setup where it can be written"
            )
        log.info("compiling kernels for this machine, once; that takes about half a minute")
        works = [f"compile_stages({precision!r})", "compile_values()"]
        children = [_aside(work) for work in works]
        problems = [child.communicate()[1] for child in children]
        failed = [text for child, text in zip(children, problems, strict=True) if child.returncode]
        if not failed:
            # Processes of other versions may have removed the folder of one that runs for long.
            with contextlib.suppress(FileNotFoundError):
                stamp.touch()
            remove_old(stamp.parent)
        else:
            log.warning("kernels could not be compiled aside: %s", failed[0].decode()[-500:])
    compile_all(precision)


def _aside(work: str) -> subprocess.Popen[bytes]:
    """A process that calls a function of this module."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from unetmm.engine.cpu import prepare; prepare.{work}"],
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def compile_all(precision: Precision = "fp32") -> None:
    """Compile everything for a precision, or load it from disk."""
    compile_stages(precision)
    compile_values()


def compile_stages(precision: Precision = "fp32") -> None:
    """Compile the stages of a net, or load them from disk."""
    floats, sums = np.zeros(1, np.float32), np.zeros(1, np.float64)
    numbers, table = np.zeros(2 * LINE, np.int64), np.zeros((1, COLUMNS), np.int64)
    matrices = floats if precision == "fp32" else np.zeros(1, np.int32)
    run_stages(
        table, table, table, table, floats, floats, matrices, matrices, 0, 1, np.zeros(2, np.int64),
        0, 0, 0, 0, numbers, sums, floats, floats, -1, -1,
    )  # fmt: skip


def compile_values() -> None:
    """Compile what works on the values of an image, or load it from disk."""
    compile_move()
    compile_guard()
    compile_dither()
    compile_find()
    compile_points()
