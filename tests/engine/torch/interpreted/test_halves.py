"""Both halves of a block as fused kernels, beside the reference block."""

from __future__ import annotations

import pytest
import torch
from blocks import BF16, FP16, FP32, assert_near, block_of, folded, freeze, map_of, reference
from torch import Tensor

from unetmm.engine.torch.kernels.launch import (
    depthwise_band,
    gated_depthwise,
    pointwise,
    product,
)
from unetmm.engine.torch.kernels.tiles import Fusing, Tile, padded_channels

SMALL = Tile(16, 4, 0)
"""Tile that makes several of a small map."""


def narrow(x: Tensor, weights: tuple, bands: list[int]) -> tuple[Tensor, Tensor]:
    """Both halves of a map, its rows given band by band as a stream gives them."""
    c, height, width = x.shape
    fusing = Fusing(x.element_size(), 1, 10**6)
    padded = torch.cat((x, x.new_zeros((c, 1, width))), 1)  # the last row comes out one late
    above, middle, start = x.new_zeros((c, 2, width)), [], 0
    for rows in bands:
        band = padded[:, start : start + rows]
        cut = fusing.cut(SMALL, c, rows, width)
        out = torch.full_like(band.contiguous(), float("nan"))
        scratch = torch.full((cut.scratch,), float("nan"), dtype=x.dtype)
        depthwise_band(band, above, out, scratch, weights[0], start - 2, height, SMALL, cut)
        above = torch.cat((above, band), 1)[:, -2:].contiguous()
        middle.append(out)
        start += rows
    assert start == height + 1, "the bands cover the map"
    middle_map = torch.cat(middle, 1)[:, 1:].contiguous()
    out = torch.empty_like(middle_map)
    pointwise(middle_map.flatten(1), out.flatten(1), weights[1], SMALL, 2)
    return middle_map, out


@pytest.mark.parametrize(
    ("channels", "height", "width", "dtype"),
    [
        (8, 5, 17, FP32),  # fewer channels than a tile, several tiles across
        (16, 6, 14, BF16),  # a tile exactly
        (12, 5, 9, FP16),  # no power of two
        (24, 1, 1, FP32),  # a single pixel
        (48, 3, 7, FP32),
        pytest.param(32, 3, 16, BF16, marks=pytest.mark.slow),
        (64, 2, 5, BF16),
        pytest.param(96, 2, 3, BF16, marks=pytest.mark.slow),
        (128, 3, 4, BF16),
    ],
)
def test_halves_equal_the_reference(
    channels: int, height: int, width: int, dtype: torch.dtype
) -> None:
    block, x = block_of(channels), map_of(channels, height, width, dtype)
    freeze(block)
    bands = [height + 1] if height < 5 else [1, 3, height - 3]
    found = narrow(x, folded(block, dtype), bands)
    for ours, expected in zip(found, reference(block, x), strict=True):
        assert_near(ours, expected, dtype)


@pytest.mark.parametrize(
    ("channels", "height", "width", "dtype"),
    [(20, 5, 9, FP32), (72, 2, 3, BF16), (144, 1, 2, FP16)],
)
def test_a_kernel_an_operation_equals_the_reference(
    channels: int, height: int, width: int, dtype: torch.dtype
) -> None:
    block, x = block_of(channels), map_of(channels, height, width, dtype)
    freeze(block)
    (first, b1, taps, b2, third, b3), (fourth, b4, fifth, b5) = folded(block, dtype)
    padded = torch.cat((x[:, :1], x, x[:, :1]), 1)  # rows outside the image, not zero
    hidden = x.new_empty((2 * channels, height + 2, width))
    rows = -1, height, width
    product(first, b1, padded.flatten(1), hidden.flatten(1), norm=True, rows=rows)
    gated, middle = torch.empty_like(x), torch.empty_like(x)
    gated_depthwise(hidden, taps, b2, gated)
    product(third, b3, gated.flatten(1), middle.flatten(1), base=x.flatten(1))
    out = torch.empty_like(x)
    product(fourth, b4, middle.flatten(1), gated.flatten(1), norm=True, gate=True)
    product(fifth, b5, gated.flatten(1), out.flatten(1), base=middle.flatten(1))
    for ours, expected in zip((middle, out), reference(block, x), strict=True):
        assert_near(ours, expected, dtype)


def test_a_band_is_cut_into_programs_that_the_scratch_is_for() -> None:
    fusing, tile = Fusing(2, 2, 10**6), Tile(64, 4, 0, rows=16, resident=4)
    cut = fusing.cut(tile, 12, 40, 200)
    assert (cut.across, cut.walk) == (4, 16) and cut.tiles == 4 * 3
    assert cut.programs == 8 and cut.scratch == 8 * 18 * 64 * 2 * padded_channels(12)
    assert fusing.cut(tile, 12, 11, 200).walk == 8  # or programs would have nothing to do
    assert fusing.cut(tile, 12, 2, 200).walk == 2
    assert Fusing(2, 2, 1000).halves(16) is None and Fusing(4, 2, 10**6).halves(200) is None
