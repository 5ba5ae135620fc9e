"""The vector width of this machine. Imports no Numba, because the plan needs it too."""

import llvmlite.binding as llvm


def _native_lanes() -> int:
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return 4
    if features.get("avx512f") and features.get("avx512vl"):
        return 16
    return 8 if features.get("avx") else 4


LANES = _native_lanes()
"""Floats per vector register; channel counts are padded to a multiple of it."""
