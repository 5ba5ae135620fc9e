"""The stream of torch operations: equal to the reference forward, as large as planned, chosen well.

A GPU runs the same operations as the CPU does here; what only a GPU can show is at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from helpers import (
    CONFIGS,
    SMALL_UNETMM,
    assert_close,
    frozen_attention,
    lively_model,
    lively_net,
    reference,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import unetmm
from unetmm.api import restore_array
from unetmm.engine.layout import make_layout
from unetmm.engine.target import DevicePrecision, Target, resolve_target
from unetmm.engine.torch import cuda
from unetmm.engine.torch.footprint import (
    COMPILED_BYTES,
    MAX_NUMBERS,
    host_slot_bytes,
    product_shapes,
    project_device,
    shapes_of,
)
from unetmm.engine.torch.net import DeviceNet
from unetmm.engine.torch.stream import DeviceStream, exact
from unetmm.errors import BudgetError, ImageError, ResumeError, ShapeError
from unetmm.io.array import array_info
from unetmm.models.weights import Model, load_model, save_model
from unetmm.nets.config import NetConfig, nafnet32_config, tiny_config
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run as run_cli

TOLERANCE = 2e-6
"""Share of the output's range; float32 sums in another order."""
HALF_TOLERANCE: dict[DevicePrecision, float] = {"fp16": 4e-3, "bf16": 4e-2}
"""The same for maps in 11 and in 8 significant bits, with random weights."""
ON_CPU = Target("torch", "fp32")
GPU = Target("cuda", "fp32", 1, "Some GPU", 40 * 10**9)
torch.set_num_threads(1)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")


@cache
def net_of(config: NetConfig, where: Target) -> DeviceNet:
    return DeviceNet(config, lively_model(config).tensors, where)


def stream_of(
    config: NetConfig, height: int, width: int, band: int, where: Target = ON_CPU
) -> DeviceStream:
    return DeviceStream(net_of(config, where), frozen_attention(config), width, height, band)


def image_of(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, height, width)).random(
        (height, width, channels), np.float32
    )


def expected_of(config: NetConfig, image: np.ndarray) -> np.ndarray:
    return reference(lively_net(config), image, frozen_attention(config))


def restored(stream: DeviceStream, image: np.ndarray, rows: int) -> np.ndarray:
    bands = []
    for y in range(0, len(image), rows):
        bands += [band.copy() for band in stream.push(image[y : y + rows])]
    return np.concatenate(bands + [band.copy() for band in stream.flush()])


@settings(max_examples=40)
@given(
    name=st.sampled_from(list(CONFIGS)),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    bands=st.sampled_from([1, 2, 3, 8, 30]),
    rows=st.integers(1, 70),
)
def test_stream_equals_reference_for_any_band_and_push(
    name: str, height: int, width: int, bands: int, rows: int
) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    image = image_of(height * stride, width * stride, config.in_channels)
    expected = expected_of(config, image)
    found = restored(stream_of(config, *image.shape[:2], bands * stride), image, rows)
    assert_close(found, expected, TOLERANCE * max(1.0, float(np.ptp(expected))))


@pytest.mark.parametrize("precision", HALF_TOLERANCE)
def test_half_precision_is_close_and_keeps_the_image(precision: DevicePrecision) -> None:
    config = SMALL_UNETMM
    image = image_of(48, 32, 3)
    found = restored(stream_of(config, 48, 32, 16, Target("torch", precision)), image, 16)
    expected = expected_of(config, image)
    change, exact_change = found - image, expected - image
    assert_close(change, exact_change, HALF_TOLERANCE[precision] * float(np.ptp(exact_change)))
    assert np.abs(found - expected).max() > 1e-5  # it really was computed with fewer digits


def test_a_band_comes_out_a_push_later_and_stays_until_the_band_after_the_next() -> None:
    stream, image = stream_of(SMALL_UNETMM, 120, 16, 8), image_of(120, 16, 3)
    expected = expected_of(SMALL_UNETMM, image)
    lag = stream.layout.lag_rows
    done = 0
    for y in range(0, 120, 8):
        for band in stream.push(image[y : y + 8]):
            assert_close(band, expected[done : done + len(band)], 1e-5)
            done += len(band)
        assert done == max(0, y - lag)
    while done < 120:
        bands = list(stream.drain())
        assert len(bands) == 1
        done += len(bands[0])
    assert not list(stream.drain()) and not list(stream.flush())


def test_stream_refuses_rows_that_do_not_fit() -> None:
    stream = stream_of(SMALL_UNETMM, 8, 16, 4)
    with pytest.raises(ShapeError, match="takes rows of 16 px and 3 channels, found 12 px and 3"):
        list(stream.push(image_of(4, 12, 3)))
    with pytest.raises(ShapeError, match="8 rows, 9 were pushed"):
        list(stream.push(image_of(9, 16, 3)))
    with pytest.raises(ShapeError, match="multiples of 4"):
        stream_of(SMALL_UNETMM, 8, 18, 4)
    with pytest.raises(ShapeError, match="channel factors"):
        net_of(SMALL_UNETMM, ON_CPU).freeze({})


def test_a_step_changes_no_setting_of_torch() -> None:
    torch.set_float32_matmul_precision("high")
    before = torch.backends.cudnn.enabled, torch.get_num_threads()
    try:
        with exact(1):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.enabled and not torch.is_grad_enabled()
        assert torch.get_float32_matmul_precision() == "high"
        assert before == (torch.backends.cudnn.enabled, torch.get_num_threads())
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    "message", ["CUDA out of memory. Tried", "can't allocate: not enough memory"]
)
def test_too_little_memory_is_a_memory_error(message: str) -> None:
    with pytest.raises(MemoryError), exact(1):
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="otherwise"), exact(1):
        raise RuntimeError("otherwise")


# What a stream takes


class Allocations(TorchDispatchMode):
    """Notes the tensors that operations make beside the storages that were there before."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [*args, *(kwargs or {}).values()]
        known = {t.untyped_storage().data_ptr() for t in given if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in known:
                name = str(func)
                self.made[name] = max(self.made.get(name, 0), t.numel())
        return out


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_allocates_nothing_but_what_convolutions_give(
    name: str, precision: DevicePrecision
) -> None:
    config = CONFIGS[name]
    height, width, band = 40 * config.stride_px, 5 * config.stride_px, 4 * config.stride_px
    stream = stream_of(config, height, width, band, Target("torch", precision))
    image = image_of(height, width, config.in_channels)
    arena, taken = stream.stages.arena, [0]
    take = arena.take

    def noted(shape: tuple[int, ...]) -> torch.Tensor:
        piece = take(shape)
        taken.append(arena.end)
        return piece

    arena.take = noted  # type: ignore[method-assign]
    with Allocations() as allocations:
        restored_bands = list(stream.push(image)) + list(stream.flush())
    assert restored_bands
    assert allocations.made == {
        "aten.convolution.default": shapes_of(stream.layout, width).convolved
    }
    assert max(taken) == shapes_of(stream.layout, width).arena


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("width", "bands"), [(3, 1), (7, 5)])
def test_allocated_bytes_are_the_projected_ones(name: str, width: int, bands: int) -> None:
    """For a GPU as well, apart from what is stated as a constant."""
    config = CONFIGS[name]
    width_px, band = width * config.stride_px, bands * config.stride_px
    where = Target("torch", "bf16")
    with Allocations() as allocations:
        made: list[torch.Tensor] = []
        zeros = torch.zeros
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(torch, "zeros", lambda *a, **k: made.append(zeros(*a, **k)) or made[-1])
            net = DeviceNet(config, lively_model(config).tensors, where)
            stream = DeviceStream(net, frozen_attention(config), width_px, 11 * band, band)
    held = sum(t.untyped_storage().nbytes() for t in made)
    layout = make_layout(config, band)
    terms = project_device(layout, width_px, where, streams=1)
    shapes = shapes_of(layout, width_px)
    within_operations = where.item_bytes * shapes.convolved + 4 * shapes.convolving
    stated = terms.workspace + within_operations
    assert held == terms.total - stated + host_slot_bytes(layout, width_px, where)
    assert stream.copies.inboxes.nbytes + stream.copies.outboxes.nbytes == host_slot_bytes(
        layout, width_px, where
    )
    assert allocations.made


def test_device_terms_are_the_products_they_should_be() -> None:
    """Distinct primes, so that a swapped factor shows."""
    config = NetConfig(13, 13, 11, (1, 1), 1, (1, 1))
    layout, width = make_layout(config, 4 * 41), 4 * 43
    gpu, half = replace(GPU, precision="fp32"), replace(GPU, precision="bf16")
    one, three, small = (
        project_device(layout, width, where, n) for where, n in ((gpu, 1), (gpu, 3), (half, 1))
    )
    transfers = 2 * 4 * 41 * width * (13 + 13) * 4
    assert one.transfers == transfers and small.transfers == transfers
    assert three.transfers == 3 * transfers and three.stream_state == 3 * one.stream_state
    assert three.weights < 3 * one.weights and three.workspace == one.workspace
    assert 2 * small.skip == one.skip and 2 * small.weights == one.weights
    assert small.image_rows == one.image_rows > 4 * 13 * layout.rings[0].rows * width
    assert Target("torch", "fp32").kind == "torch"
    on_cpu = project_device(layout, width, Target("torch", "fp32"), 1)
    copied = 4 * shapes_of(layout, width).convolving
    assert on_cpu.transfers == on_cpu.workspace == 0 and on_cpu.arena == one.arena + copied
    shapes = product_shapes(layout, width)
    half_on_cpu = project_device(layout, width, Target("torch", "fp16"), 1)
    assert half_on_cpu.workspace == len(shapes) * COMPILED_BYTES
    assert {(22, 11, 164 * 172, "set"), (11, 11, 164 * 172, "accumulated")} < shapes
    assert (13, 33, 164 * 172, "accumulated") in shapes  # the ending, one row of taps at a time


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_step_on_the_cpu_takes_no_more_than_projected(precision: DevicePrecision) -> None:
    """Measured, because torch copies within its operations, which no count of tensors shows."""
    run = f"""
import numpy as np
from unetmm import process
from unetmm.engine.torch.footprint import host_slot_bytes, project_device
from unetmm.engine.torch.net import DeviceNet
from unetmm.engine.torch.stream import DeviceStream
from unetmm.engine.target import Target
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import tensor_shapes
process.limit_allocator()
where = Target("torch", {precision!r})
config = NetConfig(1, 1, 16, (1,), 0, (0,))
tensors = {{n: np.ones(s, np.float32) / 9 for n, s in tensor_shapes(config).items()}}
net = DeviceNet(config, tensors, where)
attention = {{name: np.ones(len(m), np.float32) for name, m in net.third.items()}}
def restore(width, band):
    stream = DeviceStream(net, attention, width, 2 * band, band)
    rows = np.ones((band, width, 1), np.float32)
    for _ in range(2):
        list(stream.push(rows))
    return stream.layout
restore(64, 32)  # what torch takes once
before = process.resident_bytes()
process.reset_peak()
layout = restore(4000, 100)
taken = process.peak_bytes() - before
slots = host_slot_bytes(layout, 4000, where)
print(taken, project_device(layout, 4000, where, 1).total + slots, 4000 * 100 * 4)
"""
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    taken, projected, rows_bytes = (int(n) for n in done.stdout.split())
    assert projected * 0.6 < taken <= projected + rows_bytes + 4 * 10**6


# Which device


def test_a_choice_means_a_device() -> None:
    assert resolve_target("cpu", "auto") == Target("kernels", "fp32")
    assert resolve_target("torch", "auto") == Target("torch", "fp32")
    assert resolve_target("torch", "fp16").recorded.startswith("fp16 on CPU, by torch ")
    assert Target("kernels", "fp32").recorded == "fp32"  # as outputs of before have it
    assert replace(GPU, precision="bf16").recorded.startswith("bf16 on Some GPU by torch ")
    assert (GPU.name, GPU.label) == ("cuda:1", "cuda:1")


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
        resolve_target(device, precision)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has two GPUs, the second of which is old."""
    monkeypatch.setattr(cuda, "count", lambda: 2)
    monkeypatch.setattr(cuda, "model", lambda index: f"GPU {index}")
    monkeypatch.setattr(cuda, "multiplies_bf16", lambda index: index == 0)
    monkeypatch.setattr(cuda, "free_bytes", lambda index: 10**10)


def test_cuda_is_the_first_gpu_in_fp32(gpus: None) -> None:
    found = resolve_target("cuda", "auto")
    assert found == Target("cuda", "fp32", 0, "GPU 0", 10**10)
    assert found.default_budget_bytes == 8 * 10**9
    assert resolve_target("cuda:1", "fp16").index == 1
    with pytest.raises(ShapeError, match="cuda:2: this machine has cuda:0 to cuda:1"):
        resolve_target("cuda:2", "auto")
    with pytest.raises(ShapeError, match="compute capability 8 or more, GPU 1 has"):
        resolve_target("cuda:1", "bf16")


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
        "import sys, unetmm, unetmm.engine.target as t\n"
        "assert t.resolve_target('auto', 'auto').kind == 'kernels'\n"
        "t.resolve_target('torch', 'bf16'); import unetmm.api, unetmm.plan.search\n"
        "unetmm.make_plan((300, 400), 'uint8', mem_budget='1GB', device='torch')\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Plans


def gpu_plan(
    config: NetConfig, height: int, width: int, where: Target = GPU, **options: Any
) -> unetmm.Plan:
    info = array_info((height, width, 3), np.dtype(np.uint8), "YXS")
    storage = in_memory_storage((512, 512))

    class Chosen(Options):
        target = where

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


# Whole runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A noisy RGB image and a model."""
    path = tmp_path / "given"
    path.mkdir()
    rng = np.random.default_rng(5)
    smooth = 120 + 80 * np.sin(np.arange(200) / 9)[:, None, None] + np.zeros((200, 90, 3))
    noisy = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    tifffile.imwrite(path / "in.tif", noisy, photometric="rgb")
    model = lively_model(SMALL_UNETMM)
    save_model(path / "m.safetensors", SMALL_UNETMM, model.tensors, {"name": "m"})
    return path


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

    from unetmm.run.scheduler import Cancelled

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


# What only CUDA has


def test_copies_on_a_gpu_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """By stand-ins for streams and events that note what waits for what; nothing runs aside."""
    log: list[tuple[str, str]] = []

    class Event:
        made = 0

        def __init__(self) -> None:
            self.name = f"{'arrived used ready back'.split()[Event.made // 2]}{Event.made % 2}"
            Event.made += 1

        def record(self, stream: Any) -> None:
            log.append((stream.name, f"records {self.name}"))

        def synchronize(self) -> None:
            log.append(("host", f"waits {self.name}"))

    class Stream:
        made = iter(("up", "down"))

        def __init__(self, name: str = "") -> None:
            self.name = name or next(Stream.made)

        def wait_event(self, event: Event) -> None:
            log.append((self.name, f"waits {event.name}"))

        def wait_stream(self, stream: Stream) -> None:
            log.append((self.name, f"waits for what {stream.name} has begun"))

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *a, pin_memory=False, **k: zeros(*a, **k))
    shape = (2, 3, 1)
    compute = Stream("compute")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: compute)
    copies = cuda.CudaCopies(torch.device("cpu"), shape, shape)
    assert log == [(name, "waits for what compute has begun") for name in ("up", "down")]
    log.clear()
    for n in range(3):
        copies.inbox()[:] = n
        into = torch.empty(shape)
        copies.upload(into)
        assert bool((into == n).all())
        copies.download(into + 10)
        if n:
            assert (copies.fetched() == n + 9).all()
    a_round = [
        ("host", "waits arrived0"),  # before the host fills what the last copy may still read
        ("up", "waits used0"),
        ("up", "records arrived0"),
        ("compute", "waits arrived0"),
        ("compute", "records used0"),
        ("compute", "waits back0"),  # before the computation fills what may still be fetched
        ("compute", "records ready0"),
        ("down", "waits ready0"),
        ("down", "records back0"),
    ]
    second = [(who, what.replace("0", "1")) for who, what in a_round]
    fetched = [("host", "waits back0")], [("host", "waits back1")]
    assert log == [*a_round, *second, *fetched[0], *a_round, *fetched[1]]


def test_a_gpu_gives_no_more_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for torch's allocator; and afterwards it gives what others want."""
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda index: None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 700)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=10_000)
    )
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, index: shares.append(share)
    )
    with pytest.raises(MemoryError), cuda.limited(0, 2000, own_bytes=100):
        assert shares == [(700 - 100 + 2000) / 10_000]
        raise MemoryError
    assert shares[1:] == [1.0]
    with cuda.limited(0, 20_000, own_bytes=100):
        assert shares[2:] == [1.0]


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 2e-2), ("bf16", 2e-2)]
)
@pytest.mark.parametrize("name", CONFIGS)
def test_gpu_equals_reference(name: str, precision: DevicePrecision, tolerance: float) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    image = image_of(50 * stride, 33 * stride, config.in_channels)
    expected = expected_of(config, image)
    where = resolve_target("cuda", precision)
    found = restored(stream_of(config, *image.shape[:2], 8 * stride, where), image, 8 * stride)
    assert_close(found, expected, tolerance * max(1.0, float(np.ptp(expected))))


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gpu_takes_no_more_than_projected(precision: DevicePrecision) -> None:
    image = (image_of(3000, 4000, 3) * 255).astype(np.uint8)
    chosen = Options("tiny-rgb", device="cuda", precision=precision, device_budget_bytes=2 * 10**9)
    storage = in_memory_storage((512, 512))
    info = array_info(image.shape, image.dtype, "YXS")
    plan = plan_image(info, storage, storage, load_model("tiny-rgb"), chosen)
    restore_array(image, chosen)
    assert plan.device_terms is not None
    assert torch.cuda.max_memory_allocated() <= plan.device_terms.total <= 2 * 10**9
    assert cuda.peak_bytes(0) <= plan.device_terms.total


@needs_gpu
@pytest.mark.gpu
def test_gpu_restores_a_file_as_the_kernels_do(folder: Path, tmp_path: Path) -> None:
    model = str(folder / "m.safetensors")
    # torch with CUDA alone takes 1.7 GB of the host's memory.
    a_gpu, a_cpu = (Options(model, 4 * 10**9, device=device) for device in ("cuda", "cpu"))
    report = restore_file(folder / "in.tif", tmp_path / "a.tif", a_gpu)
    restore_file(folder / "in.tif", tmp_path / "b.tif", a_cpu)
    assert report.as_dict()["measured_device_peak_bytes"] > 0
    a, b = (tifffile.imread(tmp_path / name).astype(int) for name in ("a.tif", "b.tif"))
    assert np.abs(a - b).max() <= 1
