"""A loss that needs no clean image: hidden pixels are guessed from those around them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN_SHARE = 0.03
"""Share of the pixels that are hidden, and guessed, at once."""
REACH_PX = 2
"""Distance, beyond the hidden pixels, within which a stand-in value may lie."""


def blind_spot_loss(
    net: nn.Module, noisy: Tensor, generator: torch.Generator, reach: tuple[int, int] = (0, 0)
) -> Tensor:
    """Mean squared error of a net where pixels were hidden from it.

    Noise must be independent from pixel to pixel, given the signal, or at least beyond `reach`.

    Parameters
    ----------
    noisy : (b, c, h, w); all channels of a pixel are hidden together.
    reach : rows and columns over which noise is correlated
        So far on either side of a pixel that is asked for its neighbours are hidden as well.

    Source
    ------
    Krull et al., Noise2Void (2019), section 3.3: a hidden pixel gets the value of a random one
    near by. Broaddus et al., Removing Structured Noise with Self-Supervised Blind-Spot Networks
    (2020): `reach`.
    """
    b, c, h, w = noisy.shape
    ry, rx = reach
    asked = torch.rand((b, 1, h, w), generator=generator) < HIDDEN_SHARE
    window = (2 * ry + 1, 2 * rx + 1)
    hidden = F.max_pool2d(asked.float(), window, 1, (ry, rx)) > 0
    others = _values_near_by(noisy, reach, generator)
    error = (net(torch.where(hidden, others, noisy)).float() - noisy) ** 2
    total: Tensor = (error * asked).sum() / (c * asked.sum()).clamp(min=1)
    return total


def _values_near_by(noisy: Tensor, reach: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(b, c, h, w): each pixel's value taken from a random place near by, outside `reach`."""
    b, c, h, w = noisy.shape
    ry, rx = reach
    offsets = torch.tensor(
        [
            (dy, dx)
            for dy in range(-REACH_PX - ry, REACH_PX + ry + 1)
            for dx in range(-REACH_PX - rx, REACH_PX + rx + 1)
            if abs(dy) > ry or abs(dx) > rx
        ]
    )
    chosen = offsets[torch.randint(len(offsets), (b, h, w), generator=generator)]
    y = _mirrored(torch.arange(h).view(1, h, 1) + chosen[..., 0], h)
    x = _mirrored(torch.arange(w).view(1, 1, w) + chosen[..., 1], w)
    index = (y * w + x).view(b, 1, h * w).expand(-1, c, -1)
    return noisy.flatten(2).gather(2, index).view(b, c, h, w)


def _mirrored(index: Tensor, length: int) -> Tensor:
    """Indices beyond an end taken from inside instead."""
    return length - 1 - (length - 1 - index.abs()).abs()
