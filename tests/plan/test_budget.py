"""The budget is a promise: measured peak <= projected peak <= budget, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import DATA, lively_model

from unetmm.api import make_plan
from unetmm.errors import BudgetError
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig, tiny_config
from unetmm.plan.memory import RUNTIME_BYTES

RUN = """
import json, sys
from pathlib import Path
from unetmm.run.of_file import restore_file
from unetmm.options import Options
report = restore_file(Path(sys.argv[1]), Path(sys.argv[2]), Options(sys.argv[3], int(sys.argv[4])))
print(json.dumps(report.as_dict()))
"""
MB = 10**6


def model_file(folder: Path, config: NetConfig) -> Path:
    path = folder / "model.safetensors"
    if not path.exists():
        save_model(path, config, lively_model(config).tensors, {"task": "denoise"})
    return path


def run_aside(source: Path, output: Path, model: Path, budget_bytes: int) -> dict:
    command = [sys.executable, "-c", RUN, str(source), str(output), str(model), str(budget_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def check(report: dict, budget_bytes: int) -> None:
    plan = report["plan"]
    assert plan["projected_peak_bytes"] == sum(plan["terms"].values())
    assert report["measured_peak_bytes"] <= plan["projected_peak_bytes"] <= budget_bytes


@pytest.mark.parametrize(
    ("shape", "dtype", "output", "note"),
    [
        ((700, 2600, 3), "uint8", "out.tif", "colour, striped to tiled"),
        ((900, 1500), "uint16", "out.ome.zarr", "mono, striped to Zarr"),
        ((500, 600, 3), "uint8", "out.png", "collected whole for PNG"),
    ],
)
def test_measured_peak_stays_below_projected_peak(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, output: str, note: str
) -> None:
    config = tiny_config(3 if len(shape) == 3 else 1)
    model = model_file(tmp_path, config)
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    tifffile.imwrite(
        tmp_path / "in.tif", image, photometric="rgb" if len(shape) == 3 else "minisblack",
        rowsperstrip=32, compression="zlib",
    )  # fmt: skip
    for budget_bytes in (smallest(shape, dtype, config) + 25 * MB, 1000 * MB):
        report = run_aside(
            tmp_path / "in.tif", tmp_path / f"{budget_bytes}{output}", model, budget_bytes
        )
        check(report, budget_bytes)


@pytest.mark.parametrize(
    ("shape", "maps", "output"),
    [((700, 2600, 3), 7, "out.tif"), ((900, 1500), 2, "out.ome.zarr"), ((600, 900, 3), 1, "o.npy")],
)
def test_maps_keep_the_budget_too(
    tmp_path: Path, shape: tuple[int, ...], maps: int, output: str
) -> None:
    config = replace(tiny_config(3 if len(shape) == 3 else 1), out_channels=maps, gives="map")
    config = replace(config, final="sigmoid")
    model = model_file(tmp_path, config)
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "in.tif", image, photometric=photometric, rowsperstrip=32)
    for budget_bytes in (smallest(shape, "uint8", config) + 80 * MB, 1000 * MB):
        report = run_aside(
            tmp_path / "in.tif", tmp_path / f"{budget_bytes}{output}", model, budget_bytes
        )
        check(report, budget_bytes)


def smallest(shape: tuple[int, ...], dtype: str, config: NetConfig) -> int:
    with pytest.raises(BudgetError) as caught:
        make_plan(shape, dtype, lively_model(config), 1)
    return caught.value.needed_bytes


def test_what_the_process_holds_already_counts(tmp_path: Path) -> None:
    """A public checkpoint brings torch along, which the plan must know."""
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    model = DATA / "nafnet_w8.pth"
    report = run_aside(tmp_path / "in.tif", tmp_path / "out.tif", model, 1000 * MB)
    check(report, 1000 * MB)
    assert report["plan"]["terms"]["runtime"] > RUNTIME_BYTES + 100 * MB
