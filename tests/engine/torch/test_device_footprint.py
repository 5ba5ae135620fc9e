"""What a stream of torch operations takes: the tensors and bytes that were projected."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from device_streams import GPU, image_of, stream_of
from helpers import CONFIGS, frozen_attention, lively_model
from torch.utils._python_dispatch import TorchDispatchMode

from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.layouts import make_layout
from unetmm.engine.precision import Precision
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.folded import FoldedNet
from unetmm.engine.torch.footprint import (
    COMPILED_BYTES,
    host_slot_bytes,
    product_shapes,
    shapes_of,
)
from unetmm.engine.torch.stream import TorchStream
from unetmm.nets.config import NetConfig


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
    name: str, precision: Precision
) -> None:
    config = CONFIGS[name]
    height, width, band = 40 * config.stride_px, 5 * config.stride_px, 4 * config.stride_px
    stream = stream_of(config, height, width, band, TorchEngine(CpuEngine(), precision))
    image = image_of(height, width, config.in_channels)
    arena, taken = stream.stages.arena, [0]
    take = arena.take

    def noted(shape: tuple[int, ...]) -> torch.Tensor:
        tensor = take(shape)
        taken.append(arena.end)
        return tensor

    arena.take = noted  # type: ignore[method-assign]
    with Allocations() as allocations:
        restored_bands = list(stream.push(image)) + list(stream.flush())
    assert restored_bands
    convolved = shapes_of(stream.layout, width).convolved
    assert allocations.made == ({"aten.convolution.default": convolved} if convolved else {})
    assert max(taken) == shapes_of(stream.layout, width).arena


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("width", "bands"), [(3, 1), (7, 5)])
def test_allocated_bytes_are_the_projected_ones(name: str, width: int, bands: int) -> None:
    """For a GPU as well, apart from what is stated as a constant."""
    config = CONFIGS[name]
    width_px, band = width * config.stride_px, bands * config.stride_px
    where = TorchEngine(CpuEngine(), "bf16")
    with Allocations() as allocations:
        made: list[torch.Tensor] = []
        zeros = torch.zeros
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(torch, "zeros", lambda *a, **k: made.append(zeros(*a, **k)) or made[-1])
            net = FoldedNet(config, lively_model(config).tensors, where.precision, where.device)
            stream = TorchStream(net, frozen_attention(config), width_px, 11 * band, band)
    held = sum(t.untyped_storage().nbytes() for t in made)
    layout = make_layout(config, band)
    terms = where.device_terms(layout, width_px, streams=1)
    shapes = shapes_of(layout, width_px)
    within_operations = where.item_bytes * shapes.convolved + 4 * shapes.convolving
    stated = terms.workspace + within_operations
    assert held == terms.total - stated + host_slot_bytes(layout, width_px, where.place)
    assert stream.copies.inboxes.nbytes + stream.copies.outboxes.nbytes == (
        host_slot_bytes(layout, width_px, where.place)
    )
    assert allocations.made


def test_device_terms_are_the_products_they_should_be() -> None:
    """Distinct primes, so that a swapped factor shows."""
    config = NetConfig(13, 13, 11, (1, 1), 1, (1, 1))
    layout, width = make_layout(config, 4 * 41), 4 * 43
    gpu, half = replace(GPU, precision="fp32"), replace(GPU, precision="bf16")
    one, three, small = (
        where.device_terms(layout, width, n) for where, n in ((gpu, 1), (gpu, 3), (half, 1))
    )
    transfers = 2 * 4 * 41 * width * (13 + 13) * 4
    assert one.transfers == transfers and small.transfers == transfers
    assert three.transfers == 3 * transfers and three.stream_state == 3 * one.stream_state
    assert three.weights < 3 * one.weights and three.workspace == one.workspace
    assert 2 * small.skip == one.skip and 2 * small.weights == one.weights
    assert small.image_rows == one.image_rows > 4 * 13 * layout.rings[0].rows * width
    assert TorchEngine(CpuEngine(), "fp32").place == "cpu"
    on_cpu = TorchEngine(CpuEngine(), "fp32").device_terms(layout, width, 1)
    copied = 4 * shapes_of(layout, width).convolving
    assert on_cpu.transfers == on_cpu.workspace == 0 and on_cpu.arena == one.arena + copied
    shapes = product_shapes(layout, width)
    half_on_cpu = TorchEngine(CpuEngine(), "fp16").device_terms(layout, width, 1)
    assert half_on_cpu.workspace == len(shapes) * COMPILED_BYTES
    assert {(22, 11, 164 * 172, "set"), (11, 11, 164 * 172, "accumulated")} < shapes
    assert (13, 33, 164 * 172, "accumulated") in shapes  # the ending, one row of taps at a time


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_step_on_the_cpu_takes_no_more_than_projected(precision: Precision) -> None:
    """Measured, because torch copies within its operations, which no count of tensors shows."""
    run = f"""
import numpy as np
from unetmm import process
from unetmm.engine.torch.footprint import host_slot_bytes
from unetmm.engine.torch.folded import FoldedNet
from unetmm.engine.torch.stream import TorchStream
from unetmm.engine.choice import pick_engine
from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.precision import Precision
from unetmm.engine.torch.engine import TorchEngine
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import tensor_shapes
process.limit_allocator()
where = TorchEngine(CpuEngine(), {precision!r})
config = NetConfig(1, 1, 16, (1,), 0, (0,))
tensors = {{n: np.ones(s, np.float32) / 9 for n, s in tensor_shapes(config).items()}}
net = FoldedNet(config, tensors, where.precision, where.device)
attention = {{name: np.ones(len(m), np.float32) for name, m in net.third.items()}}
def restore(width, band):
    stream = TorchStream(net, attention, width, 2 * band, band)
    rows = np.ones((band, width, 1), np.float32)
    for _ in range(2):
        list(stream.push(rows))
    return stream.layout
restore(64, 32)  # what torch takes once
before = process.resident_bytes()
process.reset_peak()
layout = restore(4000, 100)
taken = process.peak_bytes() - before
slots = host_slot_bytes(layout, 4000, where.place)
print(taken, where.device_terms(layout, 4000, 1).total + slots, 4000 * 100 * 4)
"""
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    taken, projected, rows_bytes = (int(n) for n in done.stdout.split())
    assert projected * 0.6 < taken <= projected + rows_bytes + 4 * 10**6
