"""Encoder and decoder, and the two ways to carry what the one knows to the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetmm.nets.aggregate import MSIAM, make_iems
from unetmm.nets.config import NetConfig


def continued(image: Tensor, config: NetConfig) -> Tensor:
    """(..., h, w) -> the same with sides that are multiples of the stride, as the config says.

    Written in operations on tensors only, so that an exported graph takes any size.
    """
    (h, w), stride = image.shape[-2:], config.stride_px
    if stride == 1:
        return image
    if config.padding == "zeros":
        return functional.pad(image, (0, -w % stride, 0, -h % stride))
    if torch.compiler.is_compiling() or h % stride or w % stride:
        for axis, length in ((-2, h), (-1, w)):
            image = image.index_select(axis, _mirrored(length, stride, image.device))
    return image


def finished(answer: Tensor, config: NetConfig) -> Tensor:
    """(b, out_channels, h, w) -> the same after the function at the very end of the net."""
    if config.final == "sigmoid":
        return torch.sigmoid(answer)
    return torch.softmax(answer, 1) if config.final == "softmax" else answer


def _mirrored(length: int, stride: int, device: torch.device) -> Tensor:
    """As `geometry.mirrored`: rows up to a multiple of the stride, of which the last go back.

    In an exported graph, of which ONNX knows no remainder of numbers like these, an image needs at
    least `stride` rows.
    """
    rows = torch.arange((length + stride - 1) // stride * stride, device=device)
    if not torch.compiler.is_compiling():
        rows = rows % (2 * length)
    return torch.minimum(rows, 2 * length - 1 - rows)


class Skips(Protocol):
    """Carrier from encoder to decoder: `put` finest level first, `take` coarsest first."""

    def put(self, x: Tensor) -> None:
        """Accept the encoder output of the next level."""

    def take(self) -> Tensor:
        """Give what the decoder adds at the next level, and forget it."""


class PlainSkips:
    """Ordinary skip-connections: every encoder output stays alive until its decoder level."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def put(self, x: Tensor) -> None:
        self.kept.append(x)

    def take(self) -> Tensor:
        return self.kept.pop()


class AggregatedSkips:
    """UNet--: encoder outputs shrink to E' at once, and only E' stays alive."""

    def __init__(self, msiam: MSIAM, iems: nn.ModuleList, image: Tensor) -> None:
        self.msiam, self.iems, self.image = msiam, iems, image
        self.parts: list[Tensor] = []
        self.aggregate: Tensor | None = None
        self.level = len(iems)

    def put(self, x: Tensor) -> None:
        self.parts.append(self.msiam.reduce(len(self.parts), x))
        if len(self.parts) == len(self.iems):
            self.aggregate = self.msiam.fuse(self.parts)
            self.parts = []

    def take(self) -> Tensor:
        self.level -= 1
        out: Tensor = self.iems[self.level](self.aggregate, self.image)
        return out


class EncoderDecoder(nn.Module):
    """Base of all bodies: the way through them, and MSIAM and IEM in place of skips.

    (b, in_channels, h, w), nominally in [0, 1] -> (b, out_channels, s * h, s * w) with the config's
    output scale s. Sizes that are not a multiple of the stride are continued at the bottom and
    right as the config says, and cropped again. The image is added to the answer, each pixel to all
    that come of it, where it has as many channels and gives an image.
    """

    intro: nn.Module
    encoders: nn.ModuleList
    downs: nn.ModuleList
    middle_blks: nn.Sequential
    ups: nn.ModuleList
    decoders: nn.ModuleList
    ending: nn.Module

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config

    def replace_skips(self, blocks: Callable[[int, int], nn.Sequential]) -> None:
        """Make it a UNet-- (arXiv 2412.18276) if the config says so.

        blocks : gives body blocks in a row, by channels and count, to enhance expanded maps with.
        """
        aggregate = self.config.aggregate
        if aggregate is None:
            return
        channels, scales = self.config.level_channels, self.config.level_scales
        self.msiam = MSIAM(channels, scales, aggregate.channels, aggregate.scale)
        self.iems = make_iems(
            channels,
            scales,
            aggregate.channels,
            aggregate.scale,
            enhance=lambda level, c: blocks(c, aggregate.enhance_blocks[level]),
            image_channels=self.config.in_channels if aggregate.reads_image else 0,
        )

    def new_skips(self, image: Tensor) -> Skips:
        """A fresh carrier between encoder and decoder for one forward pass."""
        if self.config.aggregate is None:
            return PlainSkips()
        return AggregatedSkips(self.msiam, self.iems, image)

    def merge(self, x: Tensor, skip: Tensor) -> Tensor:
        """Input of a decoder level from the coarser map and its skip: here their sum."""
        return x + skip

    def forward(self, image: Tensor) -> Tensor:
        h, w = image.shape[-2:]
        image = continued(image, self.config)
        skips = self.new_skips(image)
        x = self.intro(image)  # b, width, h, w
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x)
            skips.put(x)
            x = down(x)  # b, 2c (unet: c), h/2, w/2
        x = self.middle_blks(x)
        for up, blocks in zip(self.ups, self.decoders, strict=True):
            x = up(x)  # b, c/2, 2h, 2w
            x = self.merge(x, skips.take())
            x = blocks(x)
        x = self.ending(x)[..., :h, :w]  # b, out_channels * s * s, h, w
        scale = self.config.output_scale
        if self.config.adds_image:
            x = x + image[..., :h, :w].repeat_interleave(scale**2, dim=1)
        x = functional.pixel_shuffle(x, scale)  # b, out_channels, s * h, s * w
        return finished(x, self.config)
