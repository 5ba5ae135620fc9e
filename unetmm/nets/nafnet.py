"""NAFNet and UNet--: one body, two ways to carry what the encoder knows to the decoder."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from unetmm.nets.aggregate import MSIAM, make_iems
from unetmm.nets.blocks import body_blocks
from unetmm.nets.config import NetConfig


class Skips(Protocol):
    """What the encoder leaves for the decoder: `put` finest first, `take` coarsest first."""

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


class NAFNet(nn.Module):
    """NAFNet (arXiv 2204.04676); parameter names and shapes equal the public checkpoints'.

    (b, in_channels, h, w), nominally in [0, 1] -> (b, out_channels, h, w). Sizes that are not a
    multiple of the stride are zero-padded at the bottom and right, and cropped again.
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        c = config.width
        self.intro = nn.Conv2d(config.in_channels, c, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for count in config.encoder_blocks:
            self.encoders.append(body_blocks(c, count))
            self.downs.append(nn.Conv2d(c, 2 * c, 2, stride=2))
            c *= 2
        self.middle_blks = body_blocks(c, config.middle_blocks)
        for count in config.decoder_blocks:
            self.ups.append(nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)))
            c //= 2
            self.decoders.append(body_blocks(c, count))
        self.ending = nn.Conv2d(c, config.out_channels, 3, padding=1)

    def new_skips(self, image: Tensor) -> Skips:
        """A fresh carrier between encoder and decoder for one forward pass."""
        return PlainSkips()

    def forward(self, image: Tensor) -> Tensor:
        h, w = image.shape[-2:]
        stride = self.config.stride_px
        image = F.pad(image, (0, -w % stride, 0, -h % stride))
        skips = self.new_skips(image)
        x = self.intro(image)  # b, width, h, w
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x)
            skips.put(x)
            x = down(x)  # b, 2c, h/2, w/2
        x = self.middle_blks(x)
        for up, blocks in zip(self.ups, self.decoders, strict=True):
            x = up(x)  # b, c/2, 2h, 2w
            x = x + skips.take()
            x = blocks(x)
        x = self.ending(x)  # b, out_channels, h, w
        if image.shape[1] == x.shape[1]:
            x = x + image
        cropped: Tensor = x[..., :h, :w]
        return cropped


class UNetMM(NAFNet):
    """UNet-- (arXiv 2412.18276): the NAFNet body with MSIAM and IEM instead of skip-connections."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        assert config.aggregate is not None, "UNetMM needs config.aggregate"
        aggregate = config.aggregate
        channels, scales = config.level_channels, config.level_scales
        self.msiam = MSIAM(channels, scales, aggregate.channels, aggregate.scale)
        self.iems = make_iems(
            channels,
            scales,
            aggregate.channels,
            aggregate.scale,
            enhance=lambda level, c: body_blocks(c, aggregate.enhance_blocks[level]),
            image_channels=config.in_channels if aggregate.reads_image else 0,
        )

    def new_skips(self, image: Tensor) -> Skips:
        return AggregatedSkips(self.msiam, self.iems, image)


def build_net(config: NetConfig) -> NAFNet:
    """The reference net that `config` describes, with fresh weights."""
    return NAFNet(config) if config.aggregate is None else UNetMM(config)
