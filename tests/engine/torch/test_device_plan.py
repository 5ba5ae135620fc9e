"""Plans for a GPU: two budgets, large bands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_streams import GPU

import unetmm
from unetmm.engine.layouts import make_layout
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.footprint import MAX_NUMBERS, shapes_of
from unetmm.errors import BudgetError
from unetmm.io.array import array_info
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig, nafnet32_config, tiny_config
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image
from unetmm_cli.__main__ import run as run_cli


def gpu_plan(
    config: NetConfig, height: int, width: int, where: TorchEngine = GPU, **options: Any
) -> unetmm.Plan:
    info = array_info((height, width, 3), np.dtype(np.uint8), "YXS")
    storage = in_memory_storage((512, 512))

    class Chosen(Options):
        engine = where

    chosen = Chosen(budget_bytes=options.pop("budget_bytes", 8 * 10**9), **options)
    return plan_image(info, storage, storage, Model("m", config), chosen)


def test_a_gpu_gets_large_bands_and_two_budgets() -> None:
    plan = gpu_plan(nafnet32_config(), 20000, 8000)
    assert plan.band_rows >= 256 and plan.workers == plan.threads == 1
    assert len(plan.strips) == len(plan.segments) == 1
    assert plan.device == "cuda:1" and plan.device_budget_bytes == 32 * 10**9
    assert plan.device_terms is not None and plan.device_terms.total <= plan.device_budget_bytes
    assert plan.terms.stream_state == plan.terms.skip == 0  # they are not in the host's memory
    mirrored = 2 * 15 * 8000 * 3 * 4  # floats
    assert plan.terms.image_rows == (plan.lag_rows + 2 * plan.band_rows) * 8000 * 3 + mirrored
    facts = plan.as_dict()
    assert facts["device"] == "cuda:1"
    assert facts["device_projected_peak_bytes"] == plan.device_terms.total
    half = gpu_plan(nafnet32_config(), 20000, 8000, replace(GPU, precision="bf16"))
    assert half.precision == "bf16" and half.estimated_s < plan.estimated_s


def test_the_device_budget_decides_how_wide_strips_are_there() -> None:
    config, size = tiny_config(3), (3000, 40000)
    wide = gpu_plan(config, *size, device_budget_bytes=16 * 10**9)
    narrow = gpu_plan(config, *size, device_budget_bytes=500 * 10**6)
    assert len(wide.strips) < len(narrow.strips)
    for plan, budget in ((wide, 16 * 10**9), (narrow, 500 * 10**6)):
        assert plan.device_terms is not None and plan.device_terms.total <= budget
    # The host's budget is kept, too.
    less = gpu_plan(config, *size, device_budget_bytes=16 * 10**9, budget_bytes=1950 * 10**6)
    assert less.projected_peak_bytes <= 1950 * 10**6 < wide.projected_peak_bytes


def test_a_device_budget_that_is_too_small_is_refused(
    monkeypatch: pytest.MonkeyPatch, gpus: None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BudgetError, match="of cuda:1 is too small for model m") as caught:
        gpu_plan(tiny_config(3), 3000, 4000, device_budget_bytes=10**8)
    needed = caught.value.needed_bytes
    assert caught.value.of_device and caught.value.budget_bytes == 10**8
    gpu_plan(tiny_config(3), 3000, 4000, device_budget_bytes=needed)
    with pytest.raises(BudgetError) as on_host:
        gpu_plan(tiny_config(3), 3000, 4000, budget_bytes=10**8)
    assert not on_host.value.of_device
    command = ["plan", str(folder / "in.tif"), "--device-budget", "50MB", "--device", "cuda"]
    assert run_cli([*command, "--mem-budget", "9GB"]) == 1
    error = capsys.readouterr().err
    assert "(--device-budget " in error and "--mem-budget" not in error


def test_no_operation_counts_beyond_32_bits() -> None:
    plan = gpu_plan(nafnet32_config(), 4000, 300_000, replace(GPU, free_bytes=10**15))
    layout = make_layout(nafnet32_config(), plan.band_rows)
    shapes = shapes_of(layout, plan.strip_width_px)
    assert max(shapes.arena, shapes.convolved) <= MAX_NUMBERS
    assert not shapes_of(make_layout(nafnet32_config(), 2048), 300_000).addressable


def test_plan_shows_both_budgets(
    gpus: None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["plan", str(folder / "in.tif"), "--device", "cuda", "--device-budget", "3GB"]
    command += ["--mem-budget", "4GB"]
    assert run_cli(command) == 0
    assert "on cuda:0" in capsys.readouterr().out
    assert run_cli([*command, "--verbose"]) == 0
    shown = capsys.readouterr().out
    assert "cuda:0, GPU 0" in shown and "memory of cuda:0" in shown
    assert "3,000,000,000" in shown and "4,000,000,000" in shown and "on cuda:0" in shown
    assert run_cli([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["plan"]
    assert facts["device_budget_bytes"] == 3 * 10**9
    assert sum(facts["device_terms"].values()) == facts["device_projected_peak_bytes"]
    assert run_cli([*command, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "cuda" not in shown and "device" not in shown
    assert run_cli(["plan", str(folder / "in.tif"), "--device-budget", "50%"]) == 2
