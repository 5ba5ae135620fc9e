"""What a Python user imports: every name is found, and planning loads no heavy library."""

from __future__ import annotations

import subprocess
import sys

import pytest

import unetmm


@pytest.mark.parametrize("name", unetmm.__all__)
def test_every_name_is_found(name: str) -> None:
    assert getattr(unetmm, name)


def test_a_plan_needs_no_heavy_library() -> None:
    code = (
        "import sys, unetmm; unetmm.make_plan((3000, 3000), 'u2')\n"
        "print([n for n in ('torch', 'numba', 'dask', 'zarr') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
