"""Makes sure that the kernels are there before the first strip: read from disk, or compiled.

Compiling takes memory that the process would never give back, so the first time it is done in
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

from unetmm.compiling import shipped
from unetmm.compiling.cache import cache_folder, is_kept, remove_old, unkept, write_stamp
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

COMPILING_BYTES = 340 * 10**6
"""Memory that a process never gives back once it has compiled all kernels itself, measured."""
_seen: set[tuple[Path, Precision]] = set()
"""Folders with all kernels of a precision, which need no second look."""
_not_aside: set[tuple[Path, Precision]] = set()
"""Folders that no other process could fill for a precision, which is told and tried once."""
_ASIDE = """
from unetmm.compiling.whole import whole_kernels
from unetmm.engine.cpu import prepare
with whole_kernels():
    prepare.{}
prepare.check_kept()
"""


def ensure_compiled(precision: Precision = "fp32") -> None:
    """Make sure that the kernels are loaded, compiling them if need be.

    Raises
    ------
    OSError
        If those of this precision are missing in a folder that is read-only.
    """
    compile_aside(precision)
    compile_all(precision)


def compile_aside(precision: Precision = "fp32") -> bool:
    """Compile the kernels in other processes if they are not on disk; whether they are then.

    If not, this process will compile them, which takes COMPILING_BYTES.

    Raises
    ------
    OSError
        If those of this precision are missing in a folder that is read-only.
    """
    try:
        folder = cache_folder()
    except OSError as error:
        log.warning("kernels are compiled by every run: %s", error)
        return False
    if _is_there(folder, precision):
        return True
    if (folder, precision) in _not_aside:
        return False
    if folder.exists() and not os.access(folder, os.W_OK):
        raise OSError(
            f"{folder.parent}: holds no kernels for {precision}, and is read-only; run "
            "unetmm setup where it can be written"
        )
    # Nobody would hear of it in a Python session, where logging is seldom set up.
    level = logging.INFO if logging.getLogger().handlers else logging.WARNING
    line = "compiling kernels (%s) for this machine, once; that takes about %s seconds"
    log.log(level, line, precision, "five" if _is_shipped(precision) else "thirty")
    problem = _run_aside([f"compile_stages({precision!r})", "compile_rows()", "compile_looks()"])
    if problem:
        log.warning("kernels could not be compiled aside: %s", problem[-500:])
        _not_aside.add((folder, precision))
        return False
    # Processes of other versions may have removed the folder of one that runs for long.
    with contextlib.suppress(OSError):
        write_stamp(folder, precision)
    remove_old(folder)
    return True


def is_compiled(precision: Precision = "fp32") -> bool:
    """Whether all kernels are on disk, so that nobody waits for them."""
    try:
        return _is_there(cache_folder(), precision)
    except OSError:
        return False


def _is_shipped(precision: Precision) -> bool:
    """Whether kernels came with the package, so that only their machine code is to be made."""
    return precision == "fp32" and bool(shipped.kernels())


def _is_there(folder: Path, precision: Precision) -> bool:
    """Whether all kernels of a precision are in a folder; looked at once."""
    if (folder, precision) not in _seen and is_kept(folder, precision):
        _seen.add((folder, precision))
    return (folder, precision) in _seen


def _run_aside(works: list[str]) -> str:
    """Call functions of this module, each in a process; what went wrong, or nothing."""
    if not sys.executable:
        return "Python does not say where it is, so no other can be started"
    try:
        children = [_aside(work) for work in works]
    except OSError as error:  # no more processes, or no memory for one
        return str(error)
    problems = [child.communicate()[1] for child in children]
    failed = [text for child, text in zip(children, problems, strict=True) if child.returncode]
    return (failed[0].decode(errors="replace") or "it was killed").strip() if failed else ""


def _aside(work: str) -> subprocess.Popen[bytes]:
    """A process that calls a function of this module, and compiles whole kernels.

    Files beside the images are none of it.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _ASIDE.format(work)],
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def compiling_bytes(precision: Precision) -> int:
    """Memory that compiling will take in this process: none, unless it cannot be done aside."""
    return 0 if compile_aside(precision) else COMPILING_BYTES


def check_kept() -> None:
    """End this process with an error if what it compiled could not be kept."""
    if unkept:
        sys.exit(unkept[0])


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
