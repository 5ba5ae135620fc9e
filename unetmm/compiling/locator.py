"""Tells Numba where our machine code lies, by its public `CACHE_LOCATOR_CLASSES`.

The folder's name holds everything that the code depends on, so neither place nor time of a source
counts: a copied environment does not compile again, and a folder that is read-only is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unetmm.compiling.cache import cache_folder


class KernelLocator:
    """Place of one function's machine code; Numba asks it for all there is to know."""

    def __init__(self, function: Callable[..., Any], path: str) -> None:
        self._py_file = path  # which Numba names in a warning
        self._name = f"{function.__module__}-{function.__code__.co_firstlineno}"

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> KernelLocator:
        """The place for a function, of which `path` is the source."""
        return cls(function, path)

    def get_cache_path(self) -> str:
        """Folder of the files."""
        return str(cache_folder())

    def ensure_cache_path(self) -> None:
        """Make the folder; `cache_folder` has done so."""

    def get_source_stamp(self) -> str:
        """State of the source, which the folder's name says already."""
        return "as the folder says"

    def get_disambiguator(self) -> str:
        """Text in a file's name that tells functions of one name apart."""
        return self._name
