"""A calibration is read from its file, or from an output that was made with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import lively_model

from unetmm.errors import ShapeError
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.provenance.record import load_calibration
from unetmm.run.of_file import restore_file

MONO = NetConfig(1, 1, 8, (1, 1), 1, (1, 1))


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_an_output_carries_its_calibration(tmp_path: Path, name: str) -> None:
    noisy = np.random.default_rng(4).normal(900, 60, (40, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", noisy)
    options = Options(lively_model(MONO), 10**9)
    report = restore_file(tmp_path / "in.tif", tmp_path / name, options)
    assert load_calibration(tmp_path / name).to_json() == report.calibration.to_json()
    with pytest.raises(ShapeError, match="cannot be read"):
        load_calibration(tmp_path / "in.tif")  # a TIFF, but not one of ours


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "a", "entries": {"0.0": {}}}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(ShapeError, match="not a calibration file"):
        load_calibration(path)
    with pytest.raises(ShapeError, match="cannot be read"):
        load_calibration(tmp_path / "missing.json")
