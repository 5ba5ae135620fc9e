"""Makes sure that the kernels are there before the first strip: read from disk, or compiled.

Compiling takes 60 MB that the process would never give back, so the first time it is done in
processes of their own, a few at once, which compile each kernel as a whole.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from unetmm.compiling.cache import COMPLETE, cache_folder, remove_old
from unetmm.engine.cpu.stages import run_stages
from unetmm.engine.cpu.sync import LINE
from unetmm.engine.cpu.tables import COLUMNS
from unetmm.engine.precision import Precision
from unetmm.intensities.bracket_cells import compile_brackets
from unetmm.intensities.guard_kernel import compile_guard
from unetmm.intensities.kernel import compile_move
from unetmm.intensities.outliers_kernel import compile_find
from unetmm.intensities.points_kernel import compile_points
from unetmm.intensities.rounding_kernel import compile_dither
from unetmm.process import child_environment

log = logging.getLogger(__name__)

_ASIDE = """
from unetmm.compiling.whole import whole_kernels
from unetmm.engine.cpu import prepare
with whole_kernels():
    prepare.{}
"""


def ensure_compiled(precision: Precision = "fp32") -> None:
    """Make sure that the kernels are on disk, compiling them in other processes if not.

    Raises
    ------
    OSError
        If those of this precision are missing in a folder that is read-only.
    """
    stamp = _stamp(precision)
    if not stamp.exists():
        if stamp.parent.exists() and not os.access(stamp.parent, os.W_OK):
            raise OSError(
                f"{stamp.parent.parent}: holds no kernels for {precision}, and is read-only; run "
                "unetmm setup where it can be written"
            )
        # Nobody would hear of it in a Python session, where logging is seldom set up.
        level = logging.INFO if logging.getLogger().handlers else logging.WARNING
        log.log(level, "compiling kernels for this machine, once; that takes about ten seconds")
        works = [f"compile_stages({precision!r})", "compile_rows()", "compile_looks()"]
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


def is_compiled(precision: Precision = "fp32") -> bool:
    """Whether all kernels are on disk, so that nobody waits for them."""
    return _stamp(precision).exists()


def _stamp(precision: Precision) -> Path:
    return cache_folder() / f"{COMPLETE}{precision}"


def _aside(work: str) -> subprocess.Popen[bytes]:
    """A process that calls a function of this module, and compiles whole kernels."""
    return subprocess.Popen(
        [sys.executable, "-c", _ASIDE.format(work)],
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def compile_all(precision: Precision = "fp32") -> None:
    """Compile everything for a precision, or load it from disk."""
    compile_stages(precision)
    compile_rows()
    compile_looks()


def compile_stages(precision: Precision = "fp32") -> None:
    """Compile the stages of a net, or load them from disk."""
    floats, sums = np.zeros(1, np.float32), np.zeros(1, np.float64)
    numbers, table = np.zeros(2 * LINE, np.int64), np.zeros((1, COLUMNS), np.int64)
    matrices = floats if precision == "fp32" else np.zeros(1, np.int32)
    run_stages(
        table, table, table, table, floats, floats, matrices, matrices, 0, 1, np.zeros(2, np.int64),
        0, 0, 0, 0, numbers, sums, floats, floats, -1, -1,
    )  # fmt: skip


def compile_rows() -> None:
    """Compile what changes the values of rows, or load it from disk."""
    compile_move()
    compile_dither()
    compile_brackets()


def compile_looks() -> None:
    """Compile what looks at the values of an image, or load it from disk."""
    compile_guard()
    compile_find()
    compile_points()
