"""Stream and training with fused kernels or without, nothing of the host in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gpu_subject import Subject, settle
from torch import Tensor, nn

from unetmm.engine.precision import Precision
from unetmm.engine.torch import cuda
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.kernels.tiles import Fusing, Measured
from unetmm.engine.torch.net import TorchNet
from unetmm.engine.torch.stream import TorchStream
from unetmm.geometry import round_up
from unetmm.models.weights import load_model
from unetmm.nets.nafnet import build_net
from unetmm.train.drawn import draw_picture
from unetmm.train.fused import fuse_blocks
from unetmm.train.gradients import Gradients, RecordedGradients

Figures = dict[str, Any]
Tiles = tuple[Measured, ...]
BANDS = (128, 256, 512)
"""Rows of bands that the stream is tried with."""


@contextmanager
def kernels(fused: bool, measured: Tiles = ()) -> Iterator[None]:
    """Fused kernels where they work, or none; with these tiles, and no others than the tables'."""
    found = cuda.fusing

    def chosen(index: int, precision: Precision) -> Fusing | None:
        fusing = found(index, precision) if fused else None
        return None if fusing is None else replace(fusing, measured=measured)

    cuda.fusing = chosen  # type: ignore[assignment]
    try:
        yield
    finally:
        cuda.fusing = found


def stream_rates(
    model: str, precision: Precision, is_tiny: bool, fused: bool, measured: Tiles = ()
) -> Figures:
    """Mpx/s of the stream by band: all on the device, and with rows from and to the host."""
    if is_tiny:
        return rehearsed_stream(model, precision, fused, measured)
    with kernels(fused, measured):
        subject = Subject(model, precision, "cuda", 8192, 16 * 10**9, repeats=2)
        engine, width = subject.engine, 8192
        assert (engine.fusing is not None) == fused, "the trial of the kernels has failed"
        found: Figures = {"planned_band_rows": subject.plan.band_rows}
        attention = subject.calibration.entry(0, 0).attention
        for band in BANDS:
            height = round_up(8192, band)
            stream = subject.net.open_stream(attention, width, height, band)
            taken_s = device_s(stream, engine)
            found[f"resident_{band}_mpx_per_s"] = round(height * width / taken_s / 1e6, 1)
            del stream
        start = time.perf_counter()
        subject.restore(calibration=subject.calibration)
        settle(engine)
        start = time.perf_counter()
        subject.restore(calibration=subject.calibration)
        settle(engine)
        found["array_mpx_per_s"] = round(8192**2 / (time.perf_counter() - start) / 1e6, 1)
        terms = subject.plan.device_terms
        assert terms is not None
        found["peak_bytes"], found["projected_bytes"] = subject.net.peak_bytes(), terms.total
    return found


def device_s(stream: TorchStream, engine: TorchEngine) -> float:
    """Seconds of a strip whose rows are on the device already."""
    steps = stream.height // stream.band
    stream.copies.upload = lambda into: None  # type: ignore[method-assign]
    stream.copies.download = lambda band: None  # type: ignore[method-assign]
    rows = stream.layout.lag_rows // stream.band + 2  # until all stages have work
    for _ in range(min(rows, steps // 2)):
        one_step(stream)
    left = steps - min(rows, steps // 2)
    settle(engine)
    start = time.perf_counter()
    for _ in range(left):
        one_step(stream)
    settle(engine)
    return (time.perf_counter() - start) * steps / left


def one_step(stream: TorchStream) -> None:
    for _ in stream.clock.take(stream.band):
        stream._step()


def rehearsed_stream(model: str, precision: Precision, fused: bool, measured: Tiles) -> Figures:
    """The same code on the CPU, with a strip of a few pixels."""
    engine = TorchEngine(
        TorchEngine,
        precision,
        fusing=Fusing(2, 1, 10**6, measured) if fused else None,  # type: ignore[arg-type]
    )
    loaded = load_model(model)
    net = engine.fold(loaded.config, loaded.tensors)
    assert isinstance(net, TorchNet)
    attention = {name: np.ones(len(m), np.float32) for name, m in net.folded.third.items()}
    stride = loaded.config.stride_px
    stream = net.open_stream(attention, stride, 2 * stride, stride)
    return {"rehearsed_s": round(device_s(stream, engine), 2)}


def training_steps(
    model: str, precision: str, is_tiny: bool, fused: bool, measured: Tiles = ()
) -> Figures:
    """Milliseconds of a step and Mpx/s of its batch, recorded as a graph on a GPU."""
    batch, side, rounds = (1, 16, 1) if is_tiny else (8, 160, 30)
    device = torch.device("cpu" if is_tiny else "cuda:0")
    torch.manual_seed(0)
    noisy, target = (torch.rand((batch, 3, side, side), device=device) for _ in "nt")
    with kernels(fused, measured):
        gradients = gradients_of(model, precision, device, fused, measured)
    float(gradients(noisy, target))
    start = time.perf_counter()
    for _ in range(rounds):
        loss = gradients(noisy, target)
    value = float(loss)  # waits for the device
    taken_s = (time.perf_counter() - start) / rounds
    rate = round(batch * side**2 / taken_s / 1e6, 2)
    return {"step_ms": round(taken_s * 1e3, 2), "mpx_per_s": rate, "loss": value}


def gradients_of(
    model: str, precision: str, device: torch.device, fused: bool, measured: Tiles = ()
) -> Gradients:
    """Of a net with a model's weights."""
    loaded = load_model(model)
    net = build_net(loaded.config)
    net.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in loaded.tensors.items()})
    net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if fused:
        fuse(net, precision, device, measured)
    if device.type == "cuda":
        return RecordedGradients(net, precision)
    return Gradients(net, precision)


def fuse(net: nn.Module, precision: str, device: torch.device, measured: Tiles) -> None:
    fusing = Fusing(4 if precision == "fp32" else 2, 1, 10**6, measured)
    if device.type == "cuda":
        found = cuda.fusing(0, "fp32" if precision == "fp32" else "bf16")
        assert found is not None, "the trial of the kernels has failed"
        fusing = found
    assert fuse_blocks(net, precision, fusing, device) > 0, "no block is trained by kernels"


def curves(steps: int) -> Figures:
    """Mean losses of the same training by torch's operations and by kernels, twenty parts each."""
    device, found = torch.device("cuda:0"), {}
    for name, fused in (("torch", False), ("fused", True)):
        gradients = gradients_of("small-rgb", "bf16", device, fused)
        torch.manual_seed(1)
        for weights in gradients.net.parameters():  # anew, so that there is something to learn
            if weights.dim() > 1 and weights.shape[0] > 1:
                nn.init.kaiming_uniform_(weights, a=5**0.5)
        optimiser = torch.optim.AdamW(gradients.net.parameters(), 1e-3, (0.9, 0.9), fused=True)
        losses = [step(gradients, optimiser, batch) for batch in batches(steps, device)]
        parts = torch.stack(losses).view(-1, max(1, steps // 20)).mean(1)
        found[name] = [round(v, 4) for v in parts.tolist()]
    return found


def step(gradients: Gradients, optimiser: torch.optim.Optimizer, batch: Tensor) -> Tensor:
    noisy = batch + 0.1 * torch.randn_like(batch)
    loss = gradients(noisy, batch)
    nn.utils.clip_grad_norm_(gradients.net.parameters(), 1.0)
    optimiser.step()
    return loss


def batches(steps: int, device: torch.device) -> Iterator[Tensor]:
    """Parts of drawn pictures, the same ones each time."""
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(np.stack([draw_picture(3, 256, rng) for _ in range(16)])).to(device)
    torch.manual_seed(2)
    for _ in range(steps):
        y, x = torch.randint(0, 128, (2,)).tolist()
        chosen = torch.randperm(16)[:8].to(device)
        yield pictures[chosen, :, y : y + 128, x : x + 128].contiguous()
