"""Which device and precision are meant, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from device_streams import GPU

from unetmm.engine.choice import pick_engine
from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.kernels.tiles import Fusing
from unetmm.errors import ShapeError
from unetmm_cli.__main__ import run as run_cli


def test_a_choice_means_a_device() -> None:
    assert pick_engine("cpu", "auto") == CpuEngine("fp32")
    assert pick_engine("torch", "auto") == TorchEngine(CpuEngine(), "fp32")
    assert pick_engine("torch", "fp16").recorded.startswith("fp16 on CPU, by torch ")
    assert CpuEngine("fp32").recorded == "fp32"  # as outputs of before have it
    assert replace(GPU, precision="bf16").recorded.startswith("bf16 on Some GPU by torch ")
    assert (GPU.device, GPU.label) == ("cuda:1", "cuda:1")


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("gpu", "auto", "there are auto, cpu, torch, cuda and cuda:N"),
        ("cuda:x", "auto", "there are auto"),
        ("cpu", "fp16", "fp16 is for CUDA"),
        ("torch", "fp64", "there are auto, fp32, fp16 and bf16"),
    ],
)
def test_what_there_is_not_is_refused(device: str, precision: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        pick_engine(device, precision)


def test_cuda_is_the_first_gpu_in_fp32(gpus: None) -> None:
    found = pick_engine("cuda", "auto")
    assert found == TorchEngine(CpuEngine(), "fp32", 0, "GPU 0", 10**10)
    assert found.default_device_budget_bytes == 8 * 10**9
    assert pick_engine("cuda:1", "fp16").gpu == 1
    with pytest.raises(ShapeError, match="cuda:2: this machine has cuda:0 to cuda:1"):
        pick_engine("cuda:2", "auto")
    with pytest.raises(ShapeError, match="compute capability 8 or more, GPU 1 has"):
        pick_engine("cuda:1", "bf16")


def test_a_gpu_that_is_not_here_is_planned_for_but_not_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = pick_engine("h100", "bf16")
    assert isinstance(found, TorchEngine) and found.fusing == Fusing(2, 132, 232448)
    image = str(folder / "in.tif")
    command = ["plan", image, "--device", "h100", "--json", "--mem-budget", "3GB"]
    assert run_cli([*command, "--precision", "bf16"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["device"] == "h100" and plan["device_projected_peak_bytes"] > 0
    output = folder / "out.tif"
    assert run_cli(["denoise", image, "-o", str(output), "--device", "h100"]) == 1
    error = capsys.readouterr().err
    assert "device h100: a GPU that is not here, which only `plan` takes; give cuda" in error
    assert list(folder.glob("*out*")) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so it is not refused")
def test_cuda_is_refused_in_one_line_without_a_gpu(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("denoise", "plan"):
        output = folder / "out.tif"
        code = run_cli([command, str(folder / "in.tif"), "-o", str(output), "--device", "cuda"])
        assert code == 1
        error = capsys.readouterr().err
        assert (
            error.count("\n") == 1 and "device cuda: torch" in error and "use device cpu" in error
        )
        assert list(folder.glob("*out*")) == []
    assert run_cli(["plan", str(folder / "in.tif"), "--device", "gpu"]) == 2


def test_torch_is_not_imported_unless_a_gpu_is_asked_for() -> None:
    code = (
        "import sys, unetmm, unetmm.engine.choice as t\n"
        "assert t.pick_engine('auto', 'auto').label == 'cpu'\n"
        "t.pick_engine('torch', 'bf16'); import unetmm.api, unetmm.plan.search\n"
        "unetmm.make_plan((300, 400), 'uint8', mem_budget='1GB', device='torch')\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
