"""Convolutions between blocks as fused kernels, beside torch's."""

from __future__ import annotations

import pytest
import torch
from blocks import BF16, FP32, assert_near, map_of
from torch import Tensor
from torch.nn import functional as F

from unetmm.engine.torch.kernels.launch import convolve


def expected_of(
    x: Tensor, weights: Tensor, bias: Tensor, step: int, pad: int, repeat: int
) -> Tensor:
    """By torch: columns are padded, rows are not; outputs become pixels."""
    outputs, taps = weights.shape[0], weights.shape[1]
    kernel = weights.float().view(outputs, taps, taps, -1).permute(0, 3, 1, 2)
    padded = F.pad(x.float(), (pad, pad, 0, 0))
    made = F.conv2d(padded[None], kernel, bias.float(), stride=step)[0]
    c = outputs // repeat**2
    cells = made.view(repeat, repeat, c, *made.shape[1:]).permute(2, 3, 0, 4, 1)
    return cells.reshape(c, made.shape[1] * repeat, made.shape[2] * repeat)


@pytest.mark.parametrize(
    ("c", "outputs", "taps", "step", "pad", "repeat", "dtype"),
    [
        (3, 20, 3, 1, 1, 1, BF16),  # the first one, whose channels are padded
        (12, 24, 2, 2, 0, 1, FP32),  # down
        (40, 6, 1, 1, 0, 2, FP32),  # up
        (5, 7, 5, 3, 2, 2, FP32),  # of nets of other projects
    ],
)
def test_convolutions_equal_those_of_torch(
    c: int, outputs: int, taps: int, step: int, pad: int, repeat: int, dtype: torch.dtype
) -> None:
    rows, columns = 3, 4
    width = step * columns if taps == step else step * (columns - 1) + taps - 2 * pad
    x = map_of(c, step * (rows - 1) + taps, width, torch.float32)
    torch.manual_seed(2)
    weights = (torch.randn((repeat**2 * outputs, taps, taps * c)) / c**0.5 / taps).to(dtype)
    bias = torch.randn(repeat**2 * outputs).to(dtype)
    expected = expected_of(x, weights, bias, step, pad, repeat)
    out = torch.empty(expected.shape, dtype=dtype)
    geometry = {"taps": taps, "step": step, "pad": pad, "repeat": repeat}
    convolve(x, weights, bias, out, dtype, **geometry, rectify=True)
    assert_near(out, expected.relu(), dtype)
    before = out.clone()
    convolve(x, weights, None, out, dtype, **geometry, base=out)
    plain = expected_of(x, weights, bias * 0, step, pad, repeat)
    assert_near(out, plain + before.float(), dtype)


def test_several_outputs_are_added_to_a_channel() -> None:
    """As at the end of a net that enlarges."""
    x, image = map_of(8, 5, 6, BF16), map_of(2, 3, 6, FP32, seed=4)
    weights, out = torch.randn((8, 3, 24)).to(BF16) / 8, torch.empty((8, 3, 6))
    convolve(x, weights, None, out, BF16, taps=3, pad=1, base=image, share=4)
    plain = expected_of(x, weights, torch.zeros(8), 1, 1, 1)
    assert_near(out, plain + image.repeat_interleave(4, 0), FP32)
