"""Compiled kernels kept on disk, so that only a machine's first run waits for the compiler.

The folder's name holds everything a compiled kernel depends on: source, compiler, processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from unetmm.compiling.processor import LANES, multiplies_tiles

CACHE_VARIABLE = "UNETMM_CACHE_DIR"
"""Environment variable: where compiled kernels are kept; default ~/.cache/unetmm."""
KEPT_FOLDERS = 4
"""Kernels of so many other versions, compilers or processors stay, those used last."""
_PREFIX = "kernels-"
COMPLETE = "complete-"
"""Beginning of the name of an empty file; it ends with a precision whose kernels are all there."""

SOURCES = (
    "compiling/processor.py", "compiling/flags.py", "compiling/locator.py",
    "compiling/whole.py", "intensities/kernel.py",
    "intensities/guard_kernel.py", "intensities/judging_kernel.py",
    "intensities/outliers.py", "intensities/outliers_kernel.py", "intensities/outliers_look.py",
    "intensities/points_kernel.py", "intensities/brackets.py", "intensities/brackets_kernel.py",
    "intensities/brackets_rows.py",
    "intensities/rounding_kernel.py",
    *(f"engine/cpu/{name}.py" for name in (
        "pairs", "simd", "reduce", "kernels", "tables", "block", "sync", "tiles", "stages",
    )),
)  # fmt: skip
"""Files of the package that are compiled; a change in any of them makes other machine code."""


@cache
def cache_folder() -> Path:
    """The folder for this source, compiler and processor; created if need be."""
    import llvmlite
    import numba
    from llvmlite import binding

    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((Path(__file__).parents[1] / name).read_bytes())
    processor = (binding.get_host_cpu_name(), str(LANES), str(multiplies_tiles()))
    for fact in (numba.__version__, llvmlite.__version__, sys.version, *processor):
        digest.update(fact.encode())
    name = f"{_PREFIX}{digest.hexdigest()[:16]}"
    base = os.environ.get(CACHE_VARIABLE)
    temporary = _temporary_root()
    for root in (Path(base) if base else Path.home() / ".cache" / "unetmm", temporary):
        folder = root / name
        if root != temporary and is_complete(folder):
            _mark_used(folder)
            return folder  # which may be read-only
        try:
            if root == temporary:
                root.mkdir(mode=0o700, exist_ok=True)
                if not _is_ours_alone(root):
                    continue
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            _mark_used(folder)
            return folder
    raise OSError(f"no writable folder for compiled kernels; set {CACHE_VARIABLE}")


def is_complete(folder: Path) -> bool:
    """Whether all kernels of a precision are in a folder, and can be read."""
    return any(folder.glob(f"{COMPLETE}*")) and os.access(folder, os.R_OK | os.X_OK)


def _mark_used(folder: Path) -> None:
    """Note that a folder was used last just now, for `remove_old`."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def _temporary_root() -> Path:
    return Path(tempfile.gettempdir()) / f"unetmm-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _is_ours_alone(folder: Path) -> bool:
    """Whether nobody else can put anything there: what is there runs as our code."""
    found = folder.lstat()
    owner = os.getuid() if hasattr(os, "getuid") else found.st_uid
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o022


def remove_old(folder: Path) -> None:
    """Remove what older versions left beside a folder of kernels; if that cannot be, it stays.

    A process that still uses one of them makes it anew.
    """

    def used_ns(other: Path) -> int:
        try:
            return other.stat().st_mtime_ns
        except OSError:  # another process has removed it meanwhile
            return 0

    try:
        others = [p for p in folder.parent.glob(f"{_PREFIX}*") if p != folder]
    except OSError:
        return
    for old in sorted(others, key=used_ns, reverse=True)[KEPT_FOLDERS:]:
        shutil.rmtree(old, ignore_errors=True)


def cached_on_disk(dispatcher: Any) -> Any:
    """Let a Numba function keep its machine code in `cache_folder`."""
    import numba

    before = numba.config.CACHE_LOCATOR_CLASSES
    numba.config.CACHE_LOCATOR_CLASSES = "unetmm.compiling.locator.KernelLocator"
    try:
        dispatcher.enable_caching()
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before
    return dispatcher
