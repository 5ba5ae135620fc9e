"""Kernels compile for GPUs that are not there, and take the shared memory that the tables say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unetmm.extras import has


@pytest.mark.skipif(not has("triton"), reason="Triton is not installed: it is for Linux only")
@pytest.mark.parametrize(
    ("capability", "which"),
    [
        (90, "some"),
        pytest.param(80, "all", marks=pytest.mark.slow),
        pytest.param(90, "all", marks=pytest.mark.slow),
    ],
)
def test_kernels_compile(capability: int, which: str, tmp_path: Path) -> None:
    program = Path(__file__).with_name("ahead.py")
    root = str(Path(__file__).parents[3])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(program), str(capability), which],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, shared, stated in json.loads(done.stdout.splitlines()[-1]):
        assert shared <= stated, f"{name}: takes {shared} bytes, the table says {stated}"
