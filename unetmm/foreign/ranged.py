"""Nets whose images have other values than 0 to 1: they get them, and we get ours back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from unetmm.errors import WeightsError
from unetmm.foreign.found import ForeignNet
from unetmm.nets.config import NetConfig, layers_config
from unetmm.nets.layers import IMAGE, NetLayer

USUAL = (0.0, 1.0)
"""Values of black and white that nets see if nothing else is said."""
_BEFORE, _BEHIND = "in_range", "out_of_range"


def in_range(path: Path, found: ForeignNet, black: float, white: float) -> ForeignNet:
    """The same net for images from 0 to 1, where its own go from black to white.

    What is no image, maps and classes, comes out as it is.

    Raises
    ------
    WeightsError
        If there is no such range, or the net cannot be given one.
    """
    width = white - black
    if not (math.isfinite(width) and math.isfinite(black) and width > 0):
        raise WeightsError(f"a range goes from a number up to another, found {black:g},{white:g}")
    config = found.config
    if (black, white) == USUAL:
        return found
    lines = (*found.lines, f"set: it sees black as {black:g} and white as {white:g}")
    if config.body == "layers":
        tensors = dict(found.tensors)
        eye = np.eye(config.in_channels, dtype=np.float32)[:, :, None, None]
        tensors[f"{_BEFORE}.weight"] = eye * np.float32(width)
        tensors[f"{_BEFORE}.bias"] = np.full(config.in_channels, black, np.float32)
        made, values = _around(config, black, width), (black, white)
        return replace(found, config=made, tensors=tensors, lines=lines, values=values)
    if config.body != "nafnet" or black:
        raise WeightsError(
            f"{path}: a {config.body} is given the values 0 to a number only; save it as ONNX"
        )
    tensors = dict(found.tensors)
    tensors["intro.weight"] = tensors["intro.weight"] * np.float32(width)
    for name in ("ending.weight", "ending.bias"):
        tensors[name] = tensors[name] / np.float32(width)
    return replace(found, tensors=tensors, lines=lines)


def _around(config: NetConfig, black: float, width: float) -> NetConfig:
    """Layers between one that makes the net's values of ours and one that does the reverse."""
    # The image itself is read by convolutions alone.
    first = NetLayer(_BEFORE, "conv", (IMAGE,), config.in_channels)
    layers = [first]
    for layer in config.layers:
        sources = tuple(_BEFORE if source == IMAGE else source for source in layer.sources)
        layers.append(replace(layer, sources=sources))
    if config.gives == "image":
        last = layers[-1]
        layers.append(
            NetLayer(
                _BEHIND, "add", (last.name,), last.channels, factors=(1 / width,),
                shift=-black / width,
            )
        )  # fmt: skip
    made = layers_config(
        tuple(layers), config.in_channels, config.out_channels, config.output_scale, config.padding
    )
    return replace(made, gives=config.gives, final=config.final)
