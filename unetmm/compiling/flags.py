"""How Numba compiles our kernels."""

from __future__ import annotations

from typing import Any

INLINE: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    # Nothing is allocated here. Counting references to the arrays at every call, which all threads
    # do on the same counters, took 6 % of a tiny net's time on a single thread.
    "_nrt": False,
}
