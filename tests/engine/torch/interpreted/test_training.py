"""Blocks in training as fused kernels: their answer and all gradients, beside torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from blocks import BF16, FP32, block_of
from helpers import lively_net

from unetmm.engine.precision import ITEM_BYTES
from unetmm.engine.torch import cuda
from unetmm.engine.torch.kernels import tiles
from unetmm.engine.torch.kernels.tiles import Fusing, Tile
from unetmm.nets.blocks import NAFBlock
from unetmm.nets.config import NetConfig
from unetmm.train import fused as fused_training
from unetmm.train.fused import Way, fuse_blocks, fused_block, trial
from unetmm.train.gradients import Gradients, fuse_where_possible

ALLOWED = {FP32: 1e-4, BF16: 1e-2}
"""Share of a gradient's range that may differ."""
FORWARD = {FP32: 1e-5, BF16: 2e-3}
SMALL = Tile(16, 4, 0)


def gradients(
    block: NAFBlock, x: torch.Tensor, way: Way | None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The answer, and the gradients of the input and of each weight."""
    block.zero_grad()
    x = x.clone().requires_grad_()
    out = block(x) if way is None else fused_block(block, way, x)
    torch.manual_seed(3)
    (out.float() * torch.randn(out.shape)).sum().backward()
    assert x.grad is not None
    found = {name: weights.grad.clone() for name, weights in block.named_parameters()}
    return out.detach(), {"x": x.grad.clone(), **found}


@pytest.mark.parametrize(
    ("channels", "shape", "dtype"),
    [
        (8, (2, 2, 17), FP32),  # several tiles, images and programs
        (12, (1, 2, 5), BF16),
        (24, (2, 1, 3), FP32),
        pytest.param(64, (1, 2, 3), BF16, marks=pytest.mark.slow),
    ],
)
def test_gradients_equal_those_of_torch(
    channels: int, shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    block = block_of(channels)
    torch.manual_seed(1)
    b, h, w = shape
    x = torch.randn((b, channels, h, w)) + 0.3
    way = Way(dtype, Fusing(4 if dtype is FP32 else 2, 1, 10**6), SMALL, SMALL, SMALL)
    expected, of_torch = gradients(block, x, None)
    found, ours = gradients(block, x, way)
    span = float(expected.max() - expected.min())
    assert float((found - expected).abs().max()) <= FORWARD[dtype] * span
    for name, gradient in of_torch.items():
        allowed = ALLOWED[dtype] * max(float(gradient.max() - gradient.min()), 1e-3)
        difference = float((ours[name] - gradient).abs().max())
        assert difference <= allowed, f"{name} differs by {difference:.1e}, allowed {allowed:.1e}"


NET = NetConfig(1, 1, 8, (1,), 1, (1,))


def loss_and_gradients(net: torch.nn.Module, precision: str) -> tuple[float, torch.Tensor]:
    """Of a batch of two, with torch's rounding to half precision where that is asked for."""
    torch.manual_seed(5)
    noisy, target = torch.rand((2, 1, 2, 6)), torch.rand((2, 1, 2, 6))
    loss = Gradients(net, precision)(noisy, target)
    return float(loss), torch.cat(
        [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    )


@pytest.mark.parametrize(
    ("precision", "allowed"), [("fp32", 1e-4), pytest.param("bf16", 2e-2, marks=pytest.mark.slow)]
)
def test_a_net_learns_by_kernels_as_by_torch(
    precision: str, allowed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {(item, 16): SMALL for item in (2, 4)}
    monkeypatch.setattr(tiles, "DEPTHWISE", small)
    monkeypatch.setattr(tiles, "POINTWISE", small)
    monkeypatch.setattr(tiles, "GRADIENT", small)
    plain, fused = copy.deepcopy(lively_net(NET)).train(), copy.deepcopy(lively_net(NET)).train()
    monkeypatch.setattr(cuda, "fusing", lambda index, chosen: Fusing(ITEM_BYTES[chosen], 1, 10**6))
    monkeypatch.setattr(fused_training, "refusal", lambda *given: None)
    fuse_where_possible(fused, precision, torch.device("cuda:0"))
    chosen = [m for m in fused.modules() if isinstance(m, NAFBlock) and "forward" in vars(m)]
    assert len(chosen) == 3 and fused.state_dict().keys() == plain.state_dict().keys()
    expected, gradient = loss_and_gradients(plain, "fp32")
    found, ours = loss_and_gradients(fused, precision)
    assert abs(found - expected) <= allowed * abs(expected)
    assert float((ours - gradient).norm()) <= allowed * 2 * float(gradient.norm())


def test_blocks_stay_as_they_are_where_kernels_do_not_work_or_are_too_wide(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    net = copy.deepcopy(lively_net(NET))
    monkeypatch.setattr(cuda, "fusing", lambda index, chosen: None)
    fuse_where_possible(net, "bf16", torch.device("cuda:0"))
    cpu, fusing = torch.device("cpu"), Fusing(2, 1, 10**6)
    assert fuse_blocks(block_of(80), "bf16", fusing, cpu) == 0  # too wide
    monkeypatch.setattr(fused_training, "trial", lambda *given: float("nan"))
    assert fuse_blocks(net, "bf16", fusing, cpu) == 0
    assert "fused kernels do not train on this GPU, so that it is slower" in caplog.text
    assert not any("forward" in vars(module) for module in net.modules())


def test_a_trial_compares_all_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_training, "TRIAL_SHAPE", (2, 2, 3))
    way = Way(FP32, Fusing(4, 1, 10**6), SMALL, SMALL, SMALL)
    assert trial(8, way, torch.device("cpu")) < 1e-4
