"""What vectors this machine has. Imports no Numba, because the plan needs it too."""

import llvmlite.binding as llvm


def _features() -> dict[str, bool]:
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:
        return {}


def _native_lanes(features: dict[str, bool]) -> int:
    if features.get("avx512f") and features.get("avx512vl"):
        return 16
    return 8 if features.get("avx") else 4


LANES = _native_lanes(_features())
"""Floats per vector register; channel counts are padded to a multiple of it."""


def multiplies_bf16() -> bool:
    """Whether this processor multiplies pairs of bfloat16, two for each float of a vector."""
    return LANES == 16 and bool(_features().get("avx512bf16"))


def processor() -> str:
    """The compiler's name for this processor, such as znver5."""
    return str(llvm.get_host_cpu_name())
