"""The reference form of a net that is a list of layers (`unetmm.nets.layers`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unetmm.nets.body import continued, finished
from unetmm.nets.config import NetConfig
from unetmm.nets.layers import BORDERS, IMAGE, NetLayer, layer_tensors


class LayerWeights(nn.Module):
    """Tensors of one layer, by the names that the layer gives them."""


class LayersNet(nn.Module):
    """Carries out layers one after another: (b, in_channels, h, w) -> (b, out_channels, s*h, s*w).

    Sizes that are not a multiple of the stride are continued as the config says, and cropped again.
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        for name, shape in layer_tensors(config.layers, config.in_channels).items():
            layer, _, kind = name.rpartition(".")
            if not hasattr(self, layer):
                self.add_module(layer, LayerWeights())
            fan_in = math.prod(shape[1:])
            start = torch.randn(shape) / fan_in**0.5 if kind == "weight" else torch.zeros(shape)
            getattr(self, layer).register_parameter(kind, nn.Parameter(start))

    def forward(self, image: Tensor) -> Tensor:
        h, w = image.shape[-2:]
        maps = {IMAGE: continued(image, self.config)}
        for layer in self.config.layers:
            maps[layer.name] = self.make(layer, [maps[s] for s in layer.sources])
        answer = maps[self.config.layers[-1].name][..., :h, :w]
        return finished(F.pixel_shuffle(answer, self.config.output_scale), self.config)

    def make(self, layer: NetLayer, sources: list[Tensor]) -> Tensor:
        """The map of one layer."""
        weights: Any = getattr(self, layer.name, None)
        if layer.kind == "conv":
            x = sources[0] if len(sources) == 1 else torch.cat(sources, 1)
            pad = layer.pad if layer.border == BORDERS[0] else 0
            if not 0 < layer.kernel - 2 * pad <= layer.stride:  # not what a convolution pads itself
                x, pad = bordered(layer, x), 0
            x = F.conv2d(x, weights.weight, weights.bias, layer.stride, pad)
            x = F.pixel_shuffle(x, layer.enlarge)
        elif layer.kind == "pool":
            return F.max_pool2d(sources[0], 2)
        elif layer.kind == "multiply":
            x = sources[0] * sources[1]
        else:
            x = layer.weighing[0] * sources[0] + layer.shift
            for factor, source in zip(layer.weighing[1:], sources[1:], strict=True):
                x = x + factor * source
        return activated(layer, x, getattr(weights, "slope", None))


MODES = {"zeros": "constant", "edge": "replicate", "reflect": "reflect"}
"""Name of a border -> what torch calls it."""
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda x: x,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "erf": torch.erf,
}
"""Activations without numbers, by name."""


def bordered(layer: NetLayer, x: Tensor) -> Tensor:
    """A map with what a convolution sees around it."""
    sides = layer.pad, layer.beyond
    if layer.border == "reflect" and not torch.compiler.is_compiling():
        # Maps smaller than their border, which torch refuses, end at their edges.
        for axis in (2, 3):
            last = x.shape[axis] - 1
            places = torch.arange(-sides[0], last + 1 + sides[1], device=x.device).abs()
            places = torch.minimum(places, 2 * last - places).clamp(min=0)
            x = x.index_select(axis, places)
        return x
    return F.pad(x, sides * 2, MODES[layer.border])


def activated(layer: NetLayer, x: Tensor, slope: Tensor | None) -> Tensor:
    """What a layer's activation makes of a map."""
    if layer.activation == "leaky":
        return F.leaky_relu(x, layer.numbers[0])
    if layer.activation == "prelu":
        assert slope is not None, "it is one of the layer's tensors"
        return F.prelu(x, slope)
    if layer.activation == "clip":
        return x.clamp(*layer.numbers)
    return PLAIN[layer.activation](x)
