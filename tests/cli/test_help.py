"""Help comes at once: it imports no library module, and planning no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import BUDGET, run_ok
from helpers import ROOT

from unetmm.version import __version__


def test_version_and_help_are_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ok(["--version"], capsys) == (f"unetmm {__version__}\n", "")
    out, err = run_ok(["--help"], capsys)
    assert "H200" in run_ok(["denoise", "--help"], capsys)[0], "what --device was tried on"
    assert err == "" and all(c in out for c in ("denoise", "restore", "plan", "info", "models"))
    for command in ("denoise", "restore", "preview", "plan", "info", "models"):
        assert f"Example: unetmm {command}" in run_ok([command, "--help"], capsys)[0]


def imported(arguments: list[Any], modules: tuple[str, ...]) -> list[str]:
    """Which of `modules` a command imports, in a process of its own."""
    code = (
        "import sys; from unetmm_cli.__main__ import run; code = run(sys.argv[2:]); "
        "print('LOADED', *[m for m in sys.argv[1].split(',') if m in sys.modules]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, ",".join(modules), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


def test_help_imports_no_library_module() -> None:
    heavy = ("torch", "numpy", "numba", "dask", "zarr", "tifffile", "imagecodecs")
    assert imported(["--help"], heavy) == []
    assert imported(["denoise", "--help"], heavy) == []
    assert imported(["preview", "--help"], heavy) == []


def test_plan_imports_neither_torch_nor_numba(grey_tiff: Path, mono: Path) -> None:
    arguments = ["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET]
    assert imported(arguments, ("torch", "numba", "dask")) == []
