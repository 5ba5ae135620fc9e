"""Compiling a kernel as a whole, so that none of its parts is compiled by itself.

Numba optimises each function that a kernel calls, makes machine code of it, and does so again for
the kernel that it is put into. Our parts are never called by Python: within `whole_kernels` they
are translated only, and all is optimised once. Compiling takes two thirds of the time. What is
`cached_on_disk` is no part.

This reaches into Numba, so it is done in processes that do nothing else; where such a process
fails, the kernels are compiled as Numba does it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def whole_kernels() -> Iterator[None]:
    """Compile kernels as a whole within a block; functions without a cache have no entry then.

    Nothing is collected meanwhile: looking for garbage among all that Numba holds is a fifth of it.
    """
    from numba.core.caching import NullCache
    from numba.core.codegen import JITCodeLibrary
    from numba.core.cpu import CPUContext
    from numba.core.dispatcher import Dispatcher

    parts = [False]  # of the functions that are being compiled, whether each is a part

    def compile_function(dispatcher: Any, signature: Any) -> Any:
        parts.append(len(parts) > 1 and isinstance(dispatcher._cache, NullCache))
        try:
            return usual["compile"](dispatcher, signature)
        finally:
            parts.pop()

    def finalize(library: Any) -> None:
        if not parts[-1]:
            usual["finalize"](library)
            return
        for other in dict.fromkeys(library._linking_libraries):
            library._reload_init.update(other._reload_init)
            library._final_module.link_in(other._get_module_for_linking(), preserve=True)
        library._finalized = True

    def get_executable(context: Any, library: Any, description: Any, environment: Any) -> Any:
        if not parts[-1]:
            return usual["get_executable"](context, library, description, environment)
        library._ensure_finalized()
        return object().__reduce__  # Numba asks for a built-in function, other than those before

    def unless_part(name: str) -> Any:
        def create(*arguments: Any, **more: Any) -> None:
            if not parts[-1]:
                usual[name](*arguments, **more)

        return create

    owners = {
        "compile": (Dispatcher, compile_function),
        "finalize": (JITCodeLibrary, finalize),
        "get_executable": (CPUContext, get_executable),
        "create_cpython_wrapper": (CPUContext, unless_part("create_cpython_wrapper")),
        "create_cfunc_wrapper": (CPUContext, unless_part("create_cfunc_wrapper")),
    }
    with _replaced(owners) as usual, _no_collection():
        yield


@contextlib.contextmanager
def _replaced(owners: Mapping[str, tuple[Any, Any]]) -> Iterator[dict[str, Any]]:
    """Replace functions of classes within a block; gives the usual ones by their names."""
    usual = {name: getattr(owner, name) for name, (owner, _) in owners.items()}
    for name, (owner, ours) in owners.items():
        setattr(owner, name, ours)
    try:
        yield usual
    finally:
        for name, (owner, _) in owners.items():
            setattr(owner, name, usual[name])


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
