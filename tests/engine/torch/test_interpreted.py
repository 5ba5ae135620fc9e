"""Starts the tests of the fused kernels, each file in a process where Triton interprets kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unetmm.extras import has

NO_TESTS = 5
"""Exit code of pytest where a file has no test of the kind."""
FILES = sorted(Path(__file__).with_name("interpreted").glob("test_*.py"))


@pytest.mark.skipif(not has("triton"), reason="Triton is not installed: it is for Linux only")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kernels_in_the_interpreter(file: Path, which: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", which, file]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[3]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode in (0, NO_TESTS), done.stdout[-4000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
