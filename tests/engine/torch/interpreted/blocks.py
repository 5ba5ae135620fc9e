"""Blocks with lively weights, and what the kernels take of them."""

from __future__ import annotations

import torch
from torch import Tensor

from unetmm.engine.folding import FoldedBlock, fold_block
from unetmm.nets.blocks import NAFBlock

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16
TOLERANCE = {FP32: 1e-5, BF16: 2e-3, FP16: 2e-3}
"""Share of the reference's range that a kernel may differ by."""


def block_of(channels: int, seed: int = 0) -> NAFBlock:
    """A block in which each weight matters, with residuals as strong as those of trained nets."""
    torch.manual_seed(seed)
    block = NAFBlock(channels)
    with torch.no_grad():
        for name, weights in block.named_parameters():
            spread = 0.1 if name in ("beta", "gamma") else 0.2
            if name.startswith("conv"):
                spread = float(weights.std())
            weights.add_(spread * torch.randn_like(weights))
    return block


def map_of(channels: int, height: int, width: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """(channels, height, width), as far from zero as maps of nets are."""
    torch.manual_seed(seed)
    return (torch.randn((channels, height, width)) + 0.3).to(dtype)


def freeze(block: NAFBlock) -> Tensor:
    """Factors of its attention, frozen as for a stream."""
    factors = torch.linspace(0.5, 1.5, block.beta.shape[1])
    block.sca.frozen = factors
    return factors


def folded(block: NAFBlock, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The weights of both halves, attention folded in."""
    tensors = {f"b.{name}": weights.detach().numpy() for name, weights in block.named_parameters()}
    f: FoldedBlock = fold_block(tensors, "b")
    assert block.sca.frozen is not None
    third = f.third * block.sca.frozen.numpy()
    first = f.first, f.first_bias, f.depthwise, f.depthwise_bias, third, f.third_bias
    second = f.fourth, f.fourth_bias, f.fifth, f.fifth_bias
    return tuple(
        tuple(torch.from_numpy(array).to(dtype).contiguous() for array in half)
        for half in (first, second)
    )  # type: ignore[return-value]


def reference(block: NAFBlock, x: Tensor) -> tuple[Tensor, Tensor]:
    """(c, height, width): after the first half, and after both, in float32."""
    with torch.no_grad():
        x = x.float()[None]
        y = block.conv2(block.conv1(block.norm1(x)))
        a, b = y.chunk(2, 1)
        middle = x + block.conv3(block.sca(a * b)) * block.beta
        return middle[0], block(x)[0]


def assert_near(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Close as a share of the expected range, apart from what rounding the result itself does."""
    allowed = TOLERANCE[dtype] * float(expected.max() - expected.min())
    rounding = expected.abs() * (torch.finfo(dtype).eps / 2)
    difference = float(((found.float() - expected).abs() - rounding).max())
    assert difference <= allowed, f"differs by {difference:.2e}, allowed {allowed:.2e}"
