"""Which files of the package are compiled, and what they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

SOURCES = (
    "compiling/processor.py", "compiling/flags.py", "compiling/locator.py",
    "compiling/whole.py", "nets/constants.py", "intensities/kernel.py",
    "intensities/guard_kernel.py", "intensities/judging_kernel.py",
    "intensities/outliers.py", "intensities/outliers_kernel.py", "intensities/outliers_look.py",
    "intensities/points_kernel.py", "intensities/brackets.py", "intensities/brackets_kernel.py",
    "intensities/brackets_rows.py",
    "intensities/rounding_kernel.py",
    *(f"engine/cpu/{name}.py" for name in (
        "pairs", "simd", "reduce", "kernels", "tables", "block", "pointwise", "sync", "tiles",
        "stages",
    )),
)  # fmt: skip
"""Files of the package that are compiled; a change in any of them makes other machine code."""


def source_digest() -> str:
    """What all files that are compiled hold, as one word."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((Path(__file__).parents[1] / name).read_bytes())
    return digest.hexdigest()


def made_of() -> tuple[str, ...]:
    """What kernels depend on, the processor apart: the source, and versions of the compiler."""
    import llvmlite
    import numba

    return source_digest(), numba.__version__, llvmlite.__version__
