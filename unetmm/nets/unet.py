"""A plain U-Net, the second body that UNet-- is tried on.

Source: Ronneberger et al. 2015, arXiv 1505.04597, section 2: double 3x3 convolutions with ReLU,
2x2 max-pooling, transposed 2x2 convolutions, skips concatenated. Ours: convolutions are padded,
the last one is 3x3, and the image is added to the output, as in NAFNet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unetmm.nets.body import EncoderDecoder
from unetmm.nets.config import NetConfig


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with a ReLU: (b, c_in, h, w) -> (b, c, h, w)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # section 3 of the paper

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class UNet(EncoderDecoder):
    """U-Net with config.body = "unet"; as UNet-- the expanded map is concatenated instead."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        below, c = config.in_channels, config.width
        self.intro = nn.Identity()  # the first double convolution reads the image
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for count in config.encoder_blocks:
            self.encoders.append(double_convs(below, c, count))
            self.downs.append(nn.MaxPool2d(2))
            below, c = c, 2 * c
        self.middle_blks = double_convs(below, c, config.middle_blocks)
        for count in config.decoder_blocks:
            self.ups.append(nn.ConvTranspose2d(c, c // 2, 2, stride=2))
            self.decoders.append(double_convs(c, c // 2, count))
            c //= 2
        self.ending = nn.Conv2d(c, config.answer_channels, 3, padding=1)
        self.replace_skips(lambda channels, count: double_convs(channels, channels, count))

    def merge(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map and skip side by side: (b, 2c, h, w)."""
        return torch.cat((skip, x), dim=1)


def double_convs(in_channels: int, channels: int, count: int) -> nn.Sequential:
    """`count` double convolutions in a row, the first from `in_channels`."""
    inputs = [in_channels, *[channels] * (count - 1)][:count]
    return nn.Sequential(*(DoubleConv(c, channels) for c in inputs))
