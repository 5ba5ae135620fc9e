"""MSIAM and IEM: skip-connections aggregated into one small map, and expanded again.

Source: Yin et al. 2024, "UNet--", arXiv 2412.18276. From the paper: 1x1 channel reduction (RC),
resizing by pixel-shuffle or -unshuffle (RS), concatenation and 1x1 fusion in the encoder; RS,
expansion to the level's channels and enhancement in the decoder; size of E'. Ours, because the
public text leaves it open: the scale of E', an equal share of the concatenation for every level,
a body block as the enhancement, and the image as second input of the finest IEM.

The two modules know channel counts and scales only, so they serve any encoder-decoder.

    E_1 --RC--RS--+                        +--RS--expand--enhance--> instead of skip 1
    E_2 --RC--RS--+-- concat -- 1x1 -- E' -+--RS--expand--enhance--> instead of skip 2
    ...           |                        |  ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def resize(x: Tensor, from_scale: int, to_scale: int) -> Tensor:
    """RS: bring a map from one scale to another, trading channels for pixels without loss."""
    if from_scale > to_scale:
        return F.pixel_shuffle(x, from_scale // to_scale)
    return F.pixel_unshuffle(x, to_scale // from_scale)


def resized_channels(channels: int, from_scale: int, to_scale: int) -> int:
    """Channels of a map with `channels` after `resize`."""
    return channels * to_scale**2 // from_scale**2


class MSIAM(nn.Module):
    """Multi-scale information aggregation: every E_n into one map E' (arXiv 2412.18276).

    `reduce` is called as soon as an E_n exists, so that it can be freed; `fuse` once at the end.
    """

    def __init__(
        self, channels: Sequence[int], scales: Sequence[int], aggregate_channels: int, scale: int
    ) -> None:
        super().__init__()
        self.scales, self.scale = tuple(scales), scale
        shares = [resized_channels(aggregate_channels, scale, s) for s in scales]
        self.reducers = nn.ModuleList(
            nn.Conv2d(c, share, 1) for c, share in zip(channels, shares, strict=True)
        )
        self.fusion = nn.Conv2d(aggregate_channels * len(shares), aggregate_channels, 1)

    def reduce(self, level: int, x: Tensor) -> Tensor:
        """RS(RC(E_n)): (b, c_n, h_n, w_n) -> (b, aggregate_channels, h', w')."""
        return resize(self.reducers[level](x), self.scales[level], self.scale)

    def fuse(self, parts: Sequence[Tensor]) -> Tensor:
        """E' from the reduced maps of all levels: (b, aggregate_channels, h', w')."""
        fused: Tensor = self.fusion(torch.cat(tuple(parts), dim=1))
        return fused


class IEM(nn.Module):
    """Information expansion of one level: E' back to what the decoder adds there.

    Parameters
    ----------
    image_channels : 0, or the channels of an image at this level's scale that is read as well.
    enhance : the blocks that refine the expanded map; the identity if empty.
    """

    def __init__(
        self,
        channels: int,
        level_scale: int,
        aggregate_channels: int,
        scale: int,
        enhance: nn.Sequential,
        image_channels: int = 0,
    ) -> None:
        super().__init__()
        self.level_scale, self.scale = level_scale, scale
        self.reads_image = image_channels > 0
        resized = resized_channels(aggregate_channels, scale, level_scale)
        size = 3 if self.reads_image else 1
        self.expansion = nn.Conv2d(resized + image_channels, channels, size, padding=size // 2)
        self.enhance = enhance

    def forward(self, aggregate: Tensor, image: Tensor | None = None) -> Tensor:
        x = resize(aggregate, self.scale, self.level_scale)  # b, resized, h_n, w_n
        if self.reads_image:
            assert image is not None, "the finest IEM was built to read the image"
            x = torch.cat((x, image), dim=1)
        out: Tensor = self.enhance(self.expansion(x))  # b, c_n, h_n, w_n
        return out


def make_iems(
    channels: Sequence[int],
    scales: Sequence[int],
    aggregate_channels: int,
    scale: int,
    enhance: Callable[[int, int], nn.Sequential],
    image_channels: int = 0,
) -> nn.ModuleList:
    """One IEM for each level, finest first; `enhance(level, channels)` makes its blocks."""
    return nn.ModuleList(
        IEM(c, s, aggregate_channels, scale, enhance(level, c), image_channels if level == 0 else 0)
        for level, (c, s) in enumerate(zip(channels, scales, strict=True))
    )
