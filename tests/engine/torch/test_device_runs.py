"""Whole runs by torch operations, beside those of the kernels."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from device_streams import image_of
from helpers import CONFIGS, SMALL_UNETMM, lively_model

import unetmm
from unetmm.errors import ImageError, ResumeError
from unetmm.options import Options
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run as run_cli


def options(folder: Path, **chosen: Any) -> Options:
    return Options(str(folder / "m.safetensors"), 10**9, **{"device": "torch", **chosen})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_an_array_is_restored_as_by_the_kernels(dtype: Any) -> None:
    image = (image_of(150, 70, 3) * 200).astype(dtype)
    if image.dtype.kind == "f":
        image[40:50, 20:30, 1] = np.nan
    model = lively_model(SMALL_UNETMM)
    ours, theirs = (
        restore_array(image, Options(model, 10**9, device=d, fixed_range=(0.0, 200.0)))
        for d in ("torch", "cpu")
    )
    assert np.array_equal(np.isnan(ours), np.isnan(theirs)) and not np.array_equal(ours, image)
    difference = np.nanmax(np.abs(ours.astype(float) - theirs.astype(float)))
    assert difference <= (1 if image.dtype.kind == "u" else 2e-3)


def test_samples_of_a_mono_net_and_lazy_arrays_go_side_by_side() -> None:
    import dask.array as da

    config = CONFIGS["unetmm_half_scale"]
    image = (image_of(90, 60, 3) * 255).astype(np.uint8)
    model = lively_model(config)
    ours, theirs = (
        unetmm.restore(image, model, "1GB", device=device) for device in ("torch", "cpu")
    )
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    lazy = unetmm.restore(da.from_array(image, (50, 60, 3)), model, "1GB", device="torch")
    assert np.array_equal(lazy.compute(), ours)


def test_a_file_is_restored_and_says_by_what(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    report = restore_file(folder / "in.tif", output, options(folder))
    facts = report.as_dict()
    assert facts["plan"]["device"] == "torch" and "measured_device_peak_bytes" not in facts
    again = restore_file(folder / "in.tif", output, options(folder))
    assert again.already_done
    with pytest.raises(ImageError, match="made with precision fp32 on CPU, by torch .*now it is"):
        restore_file(folder / "in.tif", output, options(folder, device="cpu"))
    with pytest.raises(ImageError, match="now it is bf16 on CPU, by torch"):
        restore_file(folder / "in.tif", output, options(folder, precision="bf16"))


def test_a_run_goes_on_only_on_the_same_device(folder: Path, tmp_path: Path) -> None:
    large = np.tile(tifffile.imread(folder / "in.tif"), (8, 1, 1))
    tifffile.imwrite(folder / "large.tif", large, photometric="rgb", rowsperstrip=64)
    output, stop = tmp_path / "out.ome.zarr", threading.Event()

    def stop_midway(progress: unetmm.run.report.Progress) -> None:
        if progress.phase == "compute" and progress.done_px >= 1100 * 90:
            stop.set()

    from unetmm.run.job import Cancelled

    with pytest.raises(Cancelled):
        restore_file(folder / "large.tif", output, options(folder), stop_midway, stop)
    with pytest.raises(ResumeError, match="begun with precision fp32 on CPU, by torch"):
        restore_file(folder / "large.tif", output, options(folder, device="cpu"))
    report = restore_file(folder / "large.tif", output, options(folder))
    assert report.resumed_rows > 0 and report.complete


def test_cli_takes_the_device(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", str(folder / "in.tif"), "--model", str(folder / "m.safetensors")]
    ours = [*command, "--device", "torch", "-o", str(tmp_path / "a.tif"), "--precision", "fp16"]
    assert run_cli([*ours, "--report", str(tmp_path / "r.json")]) == 0
    facts = json.loads((tmp_path / "r.json").read_text())["plan"]
    assert facts["device"] == "torch" and facts["precision"] == "fp16"
    assert run_cli([*command, "--device", "cpu", "-o", str(tmp_path / "b.tif")]) == 0
    a, b = (tifffile.imread(tmp_path / name).astype(int) for name in ("a.tif", "b.tif"))
    assert 0 < np.abs(a - b).max() < 12
