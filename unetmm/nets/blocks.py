"""The NAFNet block (Chen et al. 2022, arXiv 2204.04676, section 4), with its public names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unetmm.nets.constants import LAYER_NORM_EPS


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of each pixel; (b, c, h, w) in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # b, h, w, c: a view where memory is channels-last
        x = F.layer_norm(x, (x.shape[-1],), self.weight, self.bias, LAYER_NORM_EPS)
        return x.permute(0, 3, 1, 2)


class ChannelAttention(nn.Sequential):
    """Simplified channel attention: one factor per channel from the image-wide mean (section 4.3).

    `frozen` replaces the pooled factor by a constant. This is ours: with it the net is purely
    local, so its answer does not depend on how the image is cut. `observed` keeps the factor of
    the last forward pass for calibration to read.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.frozen: Tensor | None = None
        self.observed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.frozen is not None:
            return x * self.frozen.view(1, -1, 1, 1)
        attention: Tensor = self[1](self[0](x))  # b, c, 1, 1
        if not self.training:
            self.observed = attention.detach()
        return x * attention

    def factors(self, means: Tensor) -> Tensor:
        """The factors that belong to means of channels: (b, c) -> (b, c)."""
        if self.frozen is not None:
            return self.frozen.view(1, -1).expand_as(means)
        attention: Tensor = self[1](means[:, :, None, None])  # b, c, 1, 1
        if not self.training:
            self.observed = attention.detach()
        return attention.flatten(1)


class NAFBlock(nn.Module):
    """Nonlinear-activation-free block: depthwise half, then pointwise half, both residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.norm1 = LayerNorm2d(c)
        self.conv1 = nn.Conv2d(c, 2 * c, 1)
        self.conv2 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
        self.sca = ChannelAttention(c)
        self.conv3 = nn.Conv2d(c, c, 1)
        self.norm2 = LayerNorm2d(c)
        self.conv4 = nn.Conv2d(c, 2 * c, 1)
        self.conv5 = nn.Conv2d(c, c, 1)
        self.beta = nn.Parameter(torch.zeros(1, c, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, c, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(self.norm1(x)))  # b, 2c, h, w
        y = self.conv3(self.sca(simple_gate(y)))  # b, c, h, w
        x = x + y * self.beta
        y = simple_gate(self.conv4(self.norm2(x)))  # b, c, h, w
        out: Tensor = x + self.conv5(y) * self.gamma
        return out


def simple_gate(x: Tensor) -> Tensor:
    """First half of the channels times the second half: (b, 2c, h, w) -> (b, c, h, w)."""
    a, b = x.chunk(2, dim=1)
    return a * b


def body_blocks(channels: int, count: int) -> nn.Sequential:
    """`count` NAFNet blocks in a row."""
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))
