"""What vectors this machine has. Imports no Numba, because the plan needs it too."""

import ctypes
import os
import platform
import sys
from functools import cache

import llvmlite.binding as llvm

from unetmm.errors import ShapeError

LANES_VARIABLE = "UNETMM_LANES"
"""Environment variable: floats per vector that a process computes with; default the processor's.

Sums of floats differ by it in their last bits, so all shares of an output take the same."""
WIDTHS = (4, 8, 16)
"""Numbers of floats per vector that kernels can be compiled for, on any processor."""


def _features() -> dict[str, bool]:
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:
        return {}


def _native_lanes(features: dict[str, bool]) -> int:
    if features.get("avx512f") and features.get("avx512vl"):
        return 16
    return 8 if features.get("avx") else 4


def _asked_lanes(native: int) -> int:
    asked = os.environ.get(LANES_VARIABLE) or str(native)
    if asked not in map(str, WIDTHS):
        raise ShapeError(f"{LANES_VARIABLE}={asked}: floats per vector are 4, 8 or 16")
    return int(asked)


NATIVE_LANES = _native_lanes(_features())
"""Floats per vector register of this processor."""
LANES = _asked_lanes(NATIVE_LANES)
"""Floats per vector of this process; channel counts are padded to a multiple of it."""


def multiplies_bf16() -> bool:
    """Whether this processor multiplies pairs of bfloat16, two for each float of a vector."""
    return LANES == 16 and bool(_features().get("avx512bf16"))


@cache
def multiplies_tiles() -> bool:
    """Whether it multiplies them in tiles (AMX), and Linux lets this process do so."""
    wanted = ("amx-tile", "amx-bf16")
    return (
        multiplies_bf16()
        and all(_features().get(name) for name in wanted)
        and sys.platform == "linux"
        and platform.machine() == "x86_64"
        and _request_tiles()
    )


def _request_tiles() -> bool:
    """Ask for the tile registers, whose contents are too large to be saved unasked."""
    arch_prctl, request, tile_data = 158, 0x1023, 18
    refused: int = ctypes.CDLL(None).syscall(arch_prctl, request, tile_data)
    return refused == 0


def processor() -> str:
    """The compiler's name for this processor, such as znver5."""
    return str(llvm.get_host_cpu_name())
