"""Kernels that come with the package, translated to LLVM's bitcode.

Numba's translation of Python is most of the work of compiling, and gives the same on every
processor with vectors of one width. What is left to a machine is LLVM's part, a fifth of it: to
optimise for this processor, and to make its machine code. Shipped kernels are taken if they were
made of this very source, by this version of Numba; else the source is compiled.
`packaging/kernels.py` makes them.
"""

from __future__ import annotations

import logging
import lzma
import pickle
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from unetmm.compiling.processor import LANES
from unetmm.compiling.sources import made_of

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "kernels"
"""Folder of the files, one for each system and width of vectors."""

Key = tuple[str, str]
"""Module and name of a function, and its signature."""


class Shipped(NamedTuple):
    """A kernel as it is shipped."""

    library: str
    """Numba's name of its machine code."""
    bitcode: bytes
    """LLVM bitcode, linked but not optimised, for any processor with such vectors."""
    rest: bytes
    """Pickle of what else Numba keeps of a function."""


class KernelFile(NamedTuple):
    """A file of shipped kernels."""

    made_of: tuple[str, ...]
    """Digest of the source and versions of the compiler, as `made_of` gives them."""
    kernels: dict[Key, Shipped]
    """All kernels that a run in float32 may call."""


def path() -> Path:
    """The file for this system and this process's width of vectors, which need not exist."""
    return FOLDER / f"{sys.platform}-{platform.machine()}-{LANES}.xz"


def key_of(function: Any, signature: Any) -> Key:
    """The key of one of a function's kernels."""
    return f"{function.__module__}.{function.__qualname__}", str(signature)


@cache
def kernels() -> dict[Key, Shipped]:
    """The kernels that were shipped for this system, source and compiler; often none."""
    try:
        content: KernelFile = pickle.loads(lzma.decompress(path().read_bytes()))
    except FileNotFoundError:
        return {}
    except Exception as error:  # a damaged file raises anything
        log.warning("%s: cannot be read, so kernels are compiled (%s)", path(), error)
        return {}
    return content.kernels if content.made_of == made_of() else {}


def machine_code(key: Key, codegen: Any) -> Any:
    """A kernel as Numba's cache keeps it, with this processor's code; None if none was shipped.

    Parameters
    ----------
    codegen : Numba's, of the processor.
    """
    found = kernels().get(key)
    if found is None:
        return None
    from llvmlite import binding

    library = codegen.create_library(found.library)
    library._final_module = binding.parse_bitcode(found.bitcode)
    library._optimize_final_module()
    code = codegen._tm.emit_object(library._final_module)
    compiled = (code, library._final_module.as_bitcode())
    return ((found.library, "object", compiled), *pickle.loads(found.rest))
