"""Nets trained without statistics of the whole image: a learned constant a channel in their stead.

The layout of a net stays: each channel attention keeps weights that are zero, so that its factor is
its bias, whatever the image. Such a net answers alike in a crop and in the whole, and every engine
runs it as it is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from unetmm.nets.blocks import ChannelAttention
from unetmm.train.config import TrainConfig
from unetmm.train.degrade import add_all_noise
from unetmm.train.drawn import draw_picture

PICTURES, PICTURE_PX = 48, 64
"""Number and side of the drawn pictures that a net's attention is averaged over at the start."""


def make_local(net: nn.Module, config: TrainConfig) -> None:
    """Turn each channel attention of a net into constants, and keep them that way in training.

    They begin with the mean factors on drawn pictures with the run's noise, where the net was
    trained before, else with 1.
    """
    if config.init is None:
        factors: list[Tensor | float] = [1.0 for _ in _attentions(net)]
    else:
        factors = [factor.mean((0, 2, 3)) for factor in _observed(net, config)]
    for attention, factor in zip(_attentions(net), factors, strict=True):
        projection = _projection(attention)
        assert projection.bias is not None
        with torch.no_grad():
            projection.weight.zero_()
            projection.bias.copy_(torch.as_tensor(factor))
    keep_local(net)


def keep_local(net: nn.Module) -> None:
    """See to it that attention with weights of zero, as of a local net, keeps them in training."""
    for attention in _attentions(net):
        weight = _projection(attention).weight
        if not bool(weight.any()):
            weight.register_hook(torch.zeros_like)  # no gradient, so they stay zero


def _projection(attention: ChannelAttention) -> nn.Conv2d:
    """The layer that makes factors of the means of the channels."""
    projection = attention[1]
    assert isinstance(projection, nn.Conv2d)
    return projection


def _attentions(net: nn.Module) -> list[ChannelAttention]:
    return [module for module in net.modules() if isinstance(module, ChannelAttention)]


def _observed(net: nn.Module, config: TrainConfig) -> list[Tensor]:
    """The factors (b, c, 1, 1) of each attention, in the order of the net's modules."""
    rng = np.random.default_rng(config.seed)
    channels = config.net.in_channels
    clean = np.stack([draw_picture(channels, PICTURE_PX, rng) for _ in range(PICTURES)])
    noisy, _ = add_all_noise(clean, config.noise, rng)
    was_training = net.training
    net.eval()
    with torch.no_grad():
        net(torch.from_numpy(noisy))
    net.train(was_training)
    found = [attention.observed for attention in _attentions(net)]
    return [factor for factor in found if factor is not None]
