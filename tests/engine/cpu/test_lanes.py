"""Processors with narrower vectors: the same kernels, compiled for 8 and 4 lanes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, SMALL_UNETMM, assert_close, stream_image

from unetmm.compiling.processor import LANES, LANES_VARIABLE

COMPILE = """
from unetmm.compiling.processor import LANES
from unetmm.compiling.whole import whole_kernels
from unetmm.engine.cpu import prepare
prepare.compile_aside = lambda precision: True  # other processes know of no narrow vectors
prepare.compile_rows = prepare.compile_looks = lambda: None
with whole_kernels():
    prepare.compile_stages()
import numpy as np
from helpers import SMALL_UNETMM, stream_image
"""
CODE = f"""
import sys
from llvmlite import binding
host = binding.get_host_cpu_features
narrow = dict(avx512f=False, avx=host().get("avx") and sys.argv[1] == "8")
binding.get_host_cpu_features = lambda: narrow
import unetmm.compiling.processor
binding.get_host_cpu_features = host  # the compiler itself needs the whole truth
{COMPILE}
image = np.load(sys.argv[2])
out = stream_image(SMALL_UNETMM, image, band_rows=8, strips=3)
assert np.array_equal(out, stream_image(SMALL_UNETMM, image, band_rows=8, threads=3))
np.save(sys.argv[3], out)
print(LANES)
"""


@pytest.mark.parametrize("lanes", [8, 4])
def test_narrower_vectors_give_the_same_image(lanes: int, tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((45, 150, 3), np.float32)
    np.save(tmp_path / "image.npy", image)
    files = [str(tmp_path / name) for name in ("image.npy", "out.npy")]
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(lanes), *files],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if lanes == 8 and done.stdout.strip() == "4":
        pytest.skip("this processor has no 8-lane vectors")
    assert done.stdout.strip() == str(lanes)
    expected = stream_image(SMALL_UNETMM, image, band_rows=8)
    assert_close(np.load(tmp_path / "out.npy"), expected, 2e-6 * float(np.ptp(expected)))


@pytest.mark.slow
@pytest.mark.skipif(
    LANES < 16 or platform.machine() != "x86_64", reason="needs a processor with AVX-512"
)
def test_wide_vectors_have_the_same_bits_on_a_processor_without_them(tmp_path: Path) -> None:
    """The compiler makes two vectors of each where a processor has AVX2 only, as Haswell."""
    image = np.random.default_rng(0).random((45, 150, 3), np.float32)
    np.save(tmp_path / "image.npy", image)
    code = COMPILE + (
        "import sys\nassert LANES == 16\n"
        "np.save(sys.argv[2], stream_image(SMALL_UNETMM, np.load(sys.argv[1]), band_rows=8))"
    )
    haswell = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe,+popcnt,+sse4.2",
        "UNETMM_CACHE_DIR": str(tmp_path / "cache"),
        LANES_VARIABLE: "16",
    }
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "image.npy"), str(tmp_path / "out.npy")],
        cwd=ROOT / "tests", env={**os.environ, **haswell}, check=True,
    )  # fmt: skip
    expected = stream_image(SMALL_UNETMM, image, band_rows=8)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)
