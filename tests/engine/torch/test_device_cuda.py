"""What only CUDA has; by stand-ins, and on a GPU where there is one."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from device_streams import expected_of, image_of, needs_gpu, net_of, restored, stream_of
from helpers import CONFIGS, SMALL_UNETMM, assert_close, frozen_attention

from unetmm.engine.choice import pick_engine
from unetmm.engine.contract import Scaling
from unetmm.engine.precision import Precision
from unetmm.engine.torch import cuda
from unetmm.engine.torch.kernels.tiles import Fusing
from unetmm.engine.torch.stream import TorchStream
from unetmm.intensities.range import ValueScale, normalise
from unetmm.io.array import array_info
from unetmm.models.weights import load_model
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file

EVENTS = "arrived", "used", "ready", "back"
"""Kinds of events in the order in which the copies make them, two of each."""


@dataclass
class Event:
    """A stand-in for an event of CUDA."""

    name: str
    log: list[tuple[str, str]]

    def record(self, stream: Stream) -> None:
        self.log.append((stream.name, f"records {self.name}"))

    def synchronize(self) -> None:
        self.log.append(("host", f"waits {self.name}"))


@dataclass
class Stream:
    """A stand-in for a stream of CUDA."""

    name: str
    log: list[tuple[str, str]]

    def wait_event(self, event: Event) -> None:
        self.log.append((self.name, f"waits {event.name}"))

    def wait_stream(self, stream: Stream) -> None:
        self.log.append((self.name, f"waits for what {stream.name} has begun"))


def stand_in_for_cuda(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Replace CUDA's streams and events; a list to which they add what waits for what."""
    log: list[tuple[str, str]] = []
    events = iter([f"{kind}{i}" for kind in EVENTS for i in (0, 1)])
    streams = iter(("up", "down"))
    compute, zeros = Stream("compute", log), torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *a, pin_memory=False, **k: zeros(*a, **k))
    monkeypatch.setattr(torch.cuda, "Event", lambda: Event(next(events), log))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: Stream(next(streams), log))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: compute)
    return log


def test_copies_on_a_gpu_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """By stand-ins for streams and events; nothing runs aside."""
    log = stand_in_for_cuda(monkeypatch)
    shape = (2, 3, 1)
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


def test_rows_travel_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_cuda(monkeypatch)
    taken, given = (2, 3, 3), (2, 3, 1)
    copies = cuda.CudaCopies(torch.device("cpu"), taken, given, np.dtype(np.uint8))
    assert copies.inbox().dtype == np.uint8 and copies.staged_in.dtype == torch.uint8
    copies.inbox()[:] = 200
    copies.upload(into := torch.empty(taken))
    assert bool((into == 200).all())
    assert copies.outboxes.dtype == torch.float32


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


@pytest.mark.parametrize(
    ("capability", "refusal", "is_fused", "warning"),
    [
        ((9, 0), None, True, ""),
        ((7, 5), None, False, ""),
        ((9, 0), "no compiler", False, "do not work on Card, so that it is slower: no compiler"),
    ],
)
def test_kernels_are_fused_where_a_trial_says_that_they_work(
    capability: tuple[int, int],
    refusal: str | None,
    is_fused: bool,
    warning: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By stand-ins for a GPU and for the trial, which needs one."""
    properties = SimpleNamespace(multi_processor_count=132, shared_memory_per_block_optin=232448)
    trial = SimpleNamespace(refusal=lambda *given: refusal)
    monkeypatch.setitem(sys.modules, "unetmm.engine.torch.kernels.trial", trial)
    monkeypatch.setattr(cuda, "has", lambda package: package == "triton")
    monkeypatch.setattr(cuda, "model", lambda index: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    found = cuda.fusing.__wrapped__(0, "bf16")
    assert found == (Fusing(2, 132, 232448) if is_fused else None)
    assert warning in caplog.text and bool(caplog.text) == bool(warning)
    monkeypatch.setattr(cuda, "has", lambda package: False)
    assert cuda.fusing.__wrapped__(0, "bf16") is None


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 2e-2), ("bf16", 2e-2)]
)
@pytest.mark.parametrize("name", CONFIGS)
def test_gpu_equals_reference(name: str, precision: Precision, tolerance: float) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    image = image_of(50 * stride, 33 * stride, config.in_channels)
    expected = expected_of(config, image)
    where = pick_engine("cuda", precision)
    found = restored(stream_of(config, *image.shape[:2], 8 * stride, where), image, 8 * stride)
    assert_close(found, expected, tolerance * max(1.0, float(np.ptp(expected))))


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 3.3, 251.7), ("uint16", 101.1, 6e4)])
def test_gpu_scales_stored_rows_bit_by_bit(dtype: str, low: float, high: float) -> None:
    limits = np.iinfo(dtype)
    image = np.random.default_rng(1).integers(0, limits.max + 1, (64, 96, 3)).astype(dtype)
    scale, seen = ValueScale(low, high, low), np.empty(image.shape, np.float32)
    normalise(image, None, scale, seen)
    scaling = Scaling(np.dtype(dtype), scale.low, scale.factor)
    net, attention = (
        net_of(SMALL_UNETMM, pick_engine("cuda", "fp32")),
        frozen_attention(SMALL_UNETMM),
    )
    ours, theirs = (TorchStream(net, attention, 96, 64, 16, 1, s) for s in (scaling, None))
    assert np.array_equal(restored(ours, image, 16), restored(theirs, seen, 16))


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gpu_takes_no_more_than_projected(precision: Precision) -> None:
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
