"""NAFNet blocks in training as fused kernels, forward and backward; needs Triton.

Norms, beta and gamma are folded into the products, and so is each image's attention. Of a block's
maps its input and what its gate gave are kept; the rest is computed again where gradients want it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unetmm.engine.torch.kernels.backward import (
    channels_last,
    finished,
    finished_backward,
    folded_weights,
    folded_weights_backward,
    gate,
    gate_backward,
)
from unetmm.engine.torch.kernels.launch import on_device
from unetmm.engine.torch.kernels.tiles import Fusing, Tile
from unetmm.nets.blocks import NAFBlock

log = logging.getLogger(__name__)

TRIAL_SHAPE = 2, 5, 40
"""Images, rows and columns of the map that kernels are tried on."""


@dataclass(frozen=True)
class Way:
    """How a block's kernels are cut."""

    dtype: torch.dtype
    """Type of the products' operands."""
    fusing: Fusing
    """Cut for the GPU."""
    depthwise: Tile
    """Tile of the depthwise half."""
    pointwise: Tile
    """Tile of the pointwise half."""
    gradient: Tile
    """Tile of all gradients."""


class Gate(torch.autograd.Function):
    """LayerNorm, 1x1, depthwise 3x3, gate: the map and its means over each image."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
        *weights, way = given
        ctx.way = way
        ctx.save_for_backward(x, *weights)
        return gate(x, tuple(weights), way.dtype, way.fusing, way.depthwise)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        (x, *weights), way = ctx.saved_tensors, ctx.way
        of_gated = channels_last(given[0])
        way_of = way.dtype, way.fusing, way.gradient
        return *gate_backward(x, tuple(weights), of_gated, given[1], *way_of), None


class Finish(torch.autograd.Function):
    """Third product with each image's attention, residual, and the pointwise half."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gated: Tensor, *given: Any) -> Tensor:
        *weights, way = given
        ctx.way = way
        ctx.save_for_backward(x, gated, *weights)
        return finished(x, gated, tuple(weights), way.dtype, way.pointwise)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        (x, gated, *weights), way = ctx.saved_tensors, ctx.way
        way_of = way.dtype, way.fusing, way.gradient
        found = finished_backward(x, gated, tuple(weights), channels_last(given[0]), *way_of)
        return *found, None


class Fold(torch.autograd.Function):
    """A block's weights as its kernels take them."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*given)
        return folded_weights(given)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return folded_weights_backward(ctx.saved_tensors, gradients)


def fused_block(block: NAFBlock, way: Way, x: Tensor) -> Tensor:
    """A block's forward pass: (b, c, h, w) -> (b, c, h, w), float32."""
    c = x.shape[1]
    # Weights are folded in float32, and Triton starts kernels on the current GPU.
    with torch.autocast(x.device.type, enabled=False), on_device(x):
        x = channels_last(x)
        first, first_bias, third, third_bias, *last = Fold.apply(*weights_of(block))  # type: ignore[no-untyped-call]
        taps = block.conv2.weight.reshape(2 * c, 9).contiguous()
        gated, means = Gate.apply(  # type: ignore[no-untyped-call]
            x, first, first_bias, taps, biased(block.conv2), way
        )
        attention = block.sca.factors(means)  # b, c
        attended = third * attention[:, None, :]  # b, c, c
        made: Tensor = Finish.apply(x, gated, attended, third_bias, *last, way)  # type: ignore[no-untyped-call]
    return made


def weights_of(block: NAFBlock) -> tuple[Tensor, ...]:
    """Weights that are folded, in the order of `folded_weights`."""
    one, three, four, five = block.conv1, block.conv3, block.conv4, block.conv5
    return (
        one.weight, biased(one), block.norm1.weight, block.norm1.bias,
        three.weight, biased(three), block.beta,
        four.weight, biased(four), block.norm2.weight, block.norm2.bias,
        five.weight, biased(five), block.gamma,
    )  # fmt: skip


def biased(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None, "all layers of a block have one"
    return conv.bias


def fuse_blocks(net: nn.Module, precision: str, fusing: Fusing, device: torch.device) -> int:
    """Give a net's blocks the fused forward pass, those that are not too wide; how many have it.

    Kernels are tried on a small map first, for each width: where they do not work, none is used.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    chosen = [
        (block, way)
        for block in net.modules()
        if isinstance(block, NAFBlock) and (way := way_of(block, dtype, fusing)) is not None
    ]
    for channels, way in {block.conv3.out_channels: way for block, way in chosen}.items():
        refused = refusal(channels, way, device)
        if refused is not None:
            log.warning("fused kernels do not train on this GPU, so that it is slower: %s", refused)
            return 0
    for block, way in chosen:
        block.__dict__["forward"] = partial(fused_block, block, way)
    return len(chosen)


def way_of(block: NAFBlock, dtype: torch.dtype, fusing: Fusing) -> Way | None:
    """How a block's kernels are cut; None where it is too wide."""
    channels = block.conv3.out_channels
    halves, gradient = fusing.halves(channels), fusing.gradient(channels)
    return Way(dtype, fusing, *halves, gradient) if halves and gradient else None


def refusal(channels: int, way: Way, device: torch.device) -> str | None:
    """Reason why a block cannot be trained by kernels, one line; None: it can."""
    allowed = 1e-2 if way.dtype == torch.float32 else 5e-2
    try:
        worst = trial(channels, way, device)
    except Exception as error:  # of a compiler, a driver, a missing tool: torch does without them
        return (str(error).strip().splitlines() or [""])[0] or type(error).__name__
    if not worst <= allowed:  # NaN as well
        return f"gradients of a test differ by {worst:.1e} of theirs from torch's"
    return None


def trial(channels: int, way: Way, device: torch.device) -> float:
    """Largest difference between gradients by kernels and by torch, as a share of their length."""
    state = torch.random.get_rng_state()
    torch.manual_seed(1)  # on the CPU, whose state is put back
    block = NAFBlock(channels)
    nn.init.normal_(block.beta)
    nn.init.normal_(block.gamma)
    image = torch.randn(TRIAL_SHAPE[0], channels, *TRIAL_SHAPE[1:])
    torch.random.set_rng_state(state)
    block.to(device)
    found: list[list[Tensor]] = []
    for passing in (block, partial(fused_block, block, way)):
        x = image.to(device).requires_grad_()
        loss = (passing(x) ** 2).mean()
        found.append(list(torch.autograd.grad(loss, [x, *block.parameters()])))
    lengths = [(ours - torchs).norm() / torchs.norm() for torchs, ours in zip(*found, strict=True)]
    return float(torch.stack(lengths).max())
