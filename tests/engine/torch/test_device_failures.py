"""A GPU that fails in the middle of a run: one line, what is done is kept, and a way on."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from device_streams import image_of, stream_of
from helpers import SMALL_UNETMM, content, lively_model

import unetmm
from unetmm.engine.torch import cuda, folded
from unetmm.engine.torch.copies import Copies
from unetmm.engine.torch.failures import translated
from unetmm.engine.torch.net import TorchNet
from unetmm.engine.torch.stages import Stages
from unetmm.engine.torch.stream import TorchStream
from unetmm.errors import DeviceError, ImageError, ResumeError
from unetmm.options import Options
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run as run_cli

ILLEGAL = (
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be "
    "asynchronously reported at some other API call, so the stacktrace below might be incorrect.\n"
)
ON_DEVICE = torch.device("cuda", 2)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.AcceleratorError(ILLEGAL), "cuda:2 failed: CUDA error: an illegal memory access"),
        (torch.AcceleratorError("unspecified launch failure"), "failed: unspecified launch"),
        (RuntimeError("CUDA error: device-side assert triggered"), "failed: CUDA error: device-si"),
        (RuntimeError("Triton Error [CUDA]: device kernel image is invalid"), "failed: Triton"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling"), "EXECUTION"),
        (RuntimeError("CUDA driver error: unknown error"), "failed: CUDA driver error"),
    ],
)
def test_a_failed_gpu_is_one_line(error: RuntimeError, expected: str) -> None:
    with pytest.raises(DeviceError, match=expected) as found, translated(ON_DEVICE):
        raise error
    assert "\n" not in str(found.value) and found.value.__cause__ is error


def test_a_kernel_that_does_not_fit_the_gpu_is_one_line() -> None:
    errors = pytest.importorskip("triton.runtime.errors")
    with pytest.raises(DeviceError, match=r"cuda:2 failed: out of resource: shared memory"):
        with translated(ON_DEVICE):
            raise errors.OutOfResources(300_000, 232_448, "shared memory")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors"),
        RuntimeError("[enforce fail] can't allocate: not enough memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_too_little_memory_is_a_memory_error(error: RuntimeError) -> None:
    with pytest.raises(MemoryError), translated(ON_DEVICE):
        raise error


@pytest.mark.parametrize(("device", "kind"), [("cuda:2", DeviceError), ("cpu", MemoryError)])
def test_a_gpu_without_memory_for_the_net_is_named(
    device: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    monkeypatch.setattr(folded, "TensorPool", failing(error))
    with pytest.raises(kind, match="no memory left for the net|out of memory"):
        folded.FoldedNet(SMALL_UNETMM, lively_model(SMALL_UNETMM).tensors, "fp32", device)


def test_a_gpu_that_others_fill_has_nothing_free(monkeypatch: pytest.MonkeyPatch) -> None:
    full = torch.AcceleratorError("CUDA error: out of memory")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", failing(full))
    assert cuda.free_bytes(0) == 0
    busy = "CUDA error: CUDA-capable device(s) is/are busy or unavailable"
    monkeypatch.setattr(torch.cuda, "mem_get_info", failing(torch.AcceleratorError(busy)))
    with pytest.raises(DeviceError, match="device cuda:3 failed: .*busy or unavailable"):
        cuda.free_bytes(3)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="otherwise") as found, translated(ON_DEVICE):
        raise RuntimeError("otherwise")
    assert type(found.value) is RuntimeError


@pytest.mark.parametrize("name", ["inbox", "upload", "download", "fetched"])
def test_errors_of_copies_are_seen_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image, stream = image_of(60, 16, 3), stream_of(SMALL_UNETMM, 60, 16, 4)
    monkeypatch.setattr(Copies, name, failing(torch.AcceleratorError(ILLEGAL)))
    with pytest.raises(DeviceError, match="illegal memory access"):
        list(stream.push(image))
        list(stream.flush())


def test_an_array_says_it_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stages, "block", failing(torch.AcceleratorError(ILLEGAL)))
    image, model = np.zeros((60, 40, 3), np.uint8), lively_model(SMALL_UNETMM)
    with pytest.raises(unetmm.DeviceError, match="^device cpu failed: CUDA error: an illegal"):
        unetmm.restore(image, model, "1GB", device="torch")


def failing(error: Exception) -> Callable[..., Any]:
    """A function that raises."""

    def function(*given: Any) -> Any:
        raise error

    return function


def failing_step(error: Exception, after_rows: int) -> Callable[[TorchStream], None]:
    """A step that raises once so many rows went through."""
    step, rows = TorchStream._step, [0]

    def method(self: TorchStream) -> None:
        rows[0] += self.band
        if rows[0] > after_rows:
            with translated(self.net.device):
                raise error
        step(self)

    return method


@pytest.fixture
def large(folder: Path) -> Path:
    """An image of several rows of chunks."""
    image = np.tile(tifffile.imread(folder / "in.tif"), (5, 1, 1))
    tifffile.imwrite(folder / "large.tif", image, photometric="rgb", rowsperstrip=64)
    return folder / "large.tif"


def pixels(path: Path) -> dict[str, bytes] | bytes:
    """Pixels of an output, without what names it."""
    if path.is_dir():
        return {k: v for k, v in content(path).items() if "/c/" in k}
    return tifffile.imread(path).tobytes()


def options(folder: Path, **chosen: Any) -> Options:
    return Options(
        str(folder / "m.safetensors"), 10**9, **{"device": "torch", "workers": 1, **chosen}
    )


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_a_file_goes_on_after_a_lost_gpu_and_not_on_another_device(
    folder: Path, large: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(TorchStream, "_step", failing_step(torch.AcceleratorError(ILLEGAL), 850))
        with pytest.raises(DeviceError, match="what is done of .* is kept, and the same command"):
            restore_file(large, output, options(folder))
    assert not output.exists()
    with pytest.raises(ResumeError, match="begun with precision fp32 on CPU, by torch"):
        restore_file(large, output, options(folder, device="cpu"))
    report = restore_file(large, output, options(folder))
    assert report.resumed_rows > 0 and report.complete
    at_once = tmp_path / f"at_once_{name}"
    restore_file(large, at_once, options(folder))
    assert pixels(output) == pixels(at_once)
    anew = restore_file(large, output, options(folder, device="cpu", overwrite=True))
    assert anew.complete and anew.resumed_rows == 0


def test_the_command_ends_with_one_line(
    folder: Path,
    large: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = str(tmp_path / "out.tif")
    command = ["denoise", str(large), "--model", str(folder / "m.safetensors"), "--device", "torch"]
    command += ["--cores", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(Stages, "block", failing(torch.AcceleratorError(ILLEGAL)))
        assert run_cli([*command, "-o", output, "--quiet"]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: device cpu failed: CUDA error: an illegal memory access")
    assert "nothing was done of" in told and told.endswith("with --device cpu")
    assert not Path(output).exists() and run_cli([*command, "-o", output]) == 0


def test_a_batch_stops_at_it_and_goes_on(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, made = tmp_path / "images", tmp_path / "made"
    images.mkdir()
    for name in "abc":
        (images / f"{name}.tif").write_bytes((folder / "in.tif").read_bytes())
    command = ["denoise", str(images), "--model", str(folder / "m.safetensors")]
    command += ["--device", "torch", "--cores", "1", "-o", str(made)]
    with monkeypatch.context() as patch:
        patch.setattr(TorchStream, "_step", failing_step(torch.AcceleratorError(ILLEGAL), 300))
        assert run_cli(command) == 1
    told = capsys.readouterr().err
    assert "error: the GPU failed, so the images after it are left" in told
    assert [p.name for p in sorted(made.glob("*.tif"))] == ["a.tif"]
    assert run_cli(command) == 0 and len(list(made.glob("*.tif"))) == 3


def test_lower_bands_find_the_memory_free_that_the_failed_ones_took(
    folder: Path,
    large: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    streams: list[weakref.ref[TorchStream]] = []
    left: list[int] = []
    open_stream, step = TorchNet.open_stream, TorchStream._step

    def opened(self: TorchNet, *given: Any) -> TorchStream:
        left.append(sum(stream() is not None for stream in streams))
        found = open_stream(self, *given)
        streams.append(weakref.ref(found))
        return found

    def greedy(self: TorchStream) -> None:
        if len(streams) == 1 and self.clock.step > 2:
            with translated(self.net.device):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        step(self)

    monkeypatch.setattr(TorchNet, "open_stream", opened)
    monkeypatch.setattr(TorchStream, "_step", greedy)
    gc.disable()
    try:
        with caplog.at_level(logging.WARNING, "unetmm"):
            assert restore_file(large, tmp_path / "out.tif", options(folder)).complete
    finally:
        gc.enable()
    assert "going on with bands of" in caplog.text
    assert left == [0] * len(left) and len(left) > 1


def test_no_memory_at_all_names_the_gpu(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from unetmm.engine.contract import DeviceTerms
    from unetmm.run import shrink
    from unetmm.run.job import Job

    def out_of_memory(job: Job, tasks: Any) -> None:
        terms = DeviceTerms(0, 0, 0, 0, 0, 0, 0)
        job.plan = replace(job.plan, device="cuda:0", device_terms=terms)
        raise MemoryError

    monkeypatch.setattr(shrink, "run", out_of_memory)
    with pytest.raises(ImageError, match="^cuda:0 has no memory left .* smaller --device-budget"):
        restore_file(folder / "in.tif", tmp_path / "out.tif", options(folder))
