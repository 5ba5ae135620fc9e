"""A plate of OME-Zarr is restored as a whole, into a plate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from command_line import BUDGET, one_error, run_ok

from unetmm.errors import ImageError
from unetmm.io.omezarr.plates import read_plate
from unetmm.io.open import open_source


def plate(path: Path) -> Path:
    """Two wells, of one and of two images."""
    wells = {"A/1": ["0"], "B/2": ["0", "1"]}
    content = {
        "rows": [{"name": "A"}, {"name": "B"}],
        "columns": [{"name": "1"}, {"name": "2"}],
        "wells": [{"path": name, "rowIndex": i, "columnIndex": i} for i, name in enumerate(wells)],
    }
    zarr.open_group(path, mode="w").attrs["ome"] = {"version": "0.5", "plate": content}
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    for name, images in wells.items():
        well = {"images": [{"path": image} for image in images]}
        zarr.open_group(path / name, mode="w").attrs["ome"] = {"version": "0.5", "well": well}
        for image in images:
            group = zarr.open_group(path / name / image, mode="w")
            stated = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
            group.attrs["ome"] = stated
            array = group.create_array("0", shape=(24, 32), dtype="u2")
            array[...] = np.random.default_rng(0).integers(0, 900, (24, 32))
    return path


def test_a_plate_becomes_a_plate(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = plate(tmp_path / "p.zarr"), tmp_path / "q.zarr"
    words = ["denoise", path, "--model", mono, "--mem-budget", BUDGET]
    out, _ = run_ok([*words, "-o", output], capsys)
    assert "3 done, 0 skipped, 0 failed" in out
    made, given = (read_plate(p) for p in (output, path))
    assert made == given and made is not None and made.images == ("A/1/0", "B/2/0", "B/2/1")
    info = open_source(output / "B" / "2" / "1").info
    assert (info.shape, info.pixel_size["X"]) == ((24, 32), (0.5, "micrometer"))
    assert zarr.open_group(output / "A", mode="r") is not None
    pages = tmp_path / "pages"
    out, _ = run_ok([*words, "-o", output, "--report-html", pages], capsys)
    assert "0 done, 3 skipped" in out
    made_pages = sorted(str(p.relative_to(pages)) for p in pages.rglob("*.html"))
    assert made_pages == ["A/1/0.html", "B/2/0.html", "B/2/1.html"]
    assert "or -o NAME.zarr for all of them" in one_error(
        [*words, "-o", tmp_path / "b.tif"], capsys
    )
    assert "leave --format out" in one_error([*words, "-o", output, "--format", "tiff"], capsys, 2)


def test_a_plate_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.zarr"
    content = {"wells": [{"path": "../../x"}]}
    zarr.open_group(path, mode="w").attrs["ome"] = {"version": "0.5", "plate": content}
    with pytest.raises(ImageError, match="is no place in a plate"):
        read_plate(path)


def test_zarr_is_loaded_for_zarr_alone() -> None:
    words = "import sys, unetmm_cli.batch.batch; sys.exit('zarr' in sys.modules)"
    subprocess.run([sys.executable, "-c", words], check=True)
