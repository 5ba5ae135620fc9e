"""Several GPUs that share an image: a process each, here by GPUs that are not there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from device_streams import ON_CPU

import unetmm
from unetmm.engine import choice
from unetmm.engine.torch import cuda
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.stages import Stages
from unetmm.errors import ShapeError
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.parsing import split_devices

distributed = pytest.importorskip("distributed", reason="needs distributed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Devices that engines were asked for, on a machine with three GPUs, computed on the CPU."""
    found: list[str] = []

    def on_gpu(device: str, index: int, precision: Any) -> TorchEngine:
        found.append(device)
        return ON_CPU

    monkeypatch.setattr(cuda, "count", lambda: 3)
    monkeypatch.setattr(cuda, "model", lambda index: "Some GPU")
    monkeypatch.setattr(choice, "_on_gpu", on_gpu)
    return found


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers as threads of this process, which has the GPUs of `asked`."""
    cluster = distributed.LocalCluster

    def local(**given: Any) -> Any:
        return cluster(**{**given, "processes": False}, silence_logs=logging.CRITICAL)

    monkeypatch.setattr(distributed, "LocalCluster", local)


@pytest.fixture
def command(folder: Path) -> list[str]:
    """Words that restore an image of four rows of chunks."""
    image = np.tile(tifffile.imread(folder / "in.tif"), (10, 1, 1))
    tifffile.imwrite(folder / "large.tif", image, photometric="rgb", rowsperstrip=64)
    words = ["denoise", str(folder / "large.tif"), "--model", str(folder / "m.safetensors")]
    return [*words, "--cores", "1", "--mem-budget", "1GB"]


def test_devices_are_told_apart() -> None:
    assert split_devices("cuda:0,2") == ("cuda:0", "cuda:2")
    assert split_devices("cuda:1") == split_devices("cuda") == split_devices("auto") == ()


@pytest.mark.usefixtures("here")
def test_each_worker_has_a_gpu_and_the_pixels_are_those_of_one(
    command: list[str], tmp_path: Path, asked: list[str]
) -> None:
    assert run_cli([*command, "--device", "torch", "-o", str(tmp_path / "alone.tif")]) == 0
    asked.clear()
    both = [*command, "--device", "cuda:0,2", "-o", str(tmp_path / "both.tif")]
    assert run_cli(both) == 0
    assert set(asked) == {"cuda:0", "cuda:2"}
    ours, alone = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("both", "alone"))
    assert np.array_equal(ours, alone)
    assert run_cli(both) == 0  # it is done already


@pytest.mark.usefixtures("here", "asked")
def test_a_lost_gpu_ends_the_run_in_one_line_and_the_same_command_goes_on(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = [*command, "--device", "cuda:0,2", "-o", str(tmp_path / "both.tif"), "--quiet"]
    with monkeypatch.context() as patch:

        def lost(self: Stages, *given: Any) -> None:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")

        patch.setattr(Stages, "block", lost)
        assert run_cli(both) == 1
    told = capsys.readouterr().err
    assert "failed: CUDA error: unspecified launch failure; " in told
    assert [line for line in told.splitlines() if line.startswith("error")] == told.splitlines()
    assert not (tmp_path / "both.tif").exists() and run_cli(both) == 0


def test_what_does_not_go_together_is_refused(
    command: list[str],
    tmp_path: Path,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(code: int, *more: str) -> str:
        assert run_cli([*command, "-o", str(tmp_path / "o.tif"), *more]) == code
        assert not list(tmp_path.glob("*o.tif*"))
        return " ".join(capsys.readouterr().err.replace("│", " ").split())

    assert "names a GPU twice" in refused(2, "--device", "cuda:1,1")
    assert "leave out --share and clusters" in refused(2, "--device", "cuda:0,1", "--share", "1/2")
    assert "leave out --share" in refused(2, "--device", "cuda:0,1", "--scheduler", "local")
    assert "this machine has cuda:0 to cuda:2" in refused(1, "--device", "cuda:0,3")
    script = [*command, "-o", str(tmp_path / "o.tif"), "--device", "cuda:0,1"]
    assert run_cli(["slurm", *script[1:]]) == 2
    assert "a job gets one GPU" in capsys.readouterr().err
    monkeypatch.setattr(cuda, "model", lambda index: f"GPU {index}")
    assert "cuda:0 is GPU 0 and cuda:1 is GPU 1" in refused(1, "--device", "cuda:0,1")
    monkeypatch.setattr(cuda, "count", lambda: 0)
    assert "use device cpu" in refused(1, "--device", "cuda:0,1")
    assert not asked


@pytest.mark.usefixtures("asked")
def test_a_plan_is_that_of_one_worker(command: list[str], tmp_path: Path) -> None:
    assert (
        run_cli(["plan", *command[1:], "-o", str(tmp_path / "o.tif"), "--device", "cuda:1,2"]) == 0
    )


def test_the_library_computes_on_one() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(ShapeError, match="a process computes on one GPU"):
        unetmm.restore(image, "tiny-rgb", "1GB", device="cuda:0,2")
