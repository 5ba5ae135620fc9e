"""Nets whose images have other values than 0 to 1: they get them, and we get ours back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.foreign.found import ForeignNet, Values
from unetmm.nets.config import NetConfig, layers_config
from unetmm.nets.layers import IMAGE, NetLayer

USUAL = (0.0, 1.0)
"""Values of black and white that nets see if nothing else is said."""
OF_PHOTOS = (USUAL, (0.0, 255.0), (-1.0, 1.0))
"""Values of black and white that stand for those of any image, whatever it stores."""
_BEFORE, _BEHIND = "in_range", "out_of_range"


@dataclass(frozen=True)
class Normal:
    """What a net's own code takes off each channel, and divides it by."""

    mean: tuple[float, ...] = ()
    """Mean of each channel, or a single one of all; empty: 0."""
    std: tuple[float, ...] = ()
    """Deviation of each channel, or a single one of all; empty: 1."""

    def values(self, channels: int, black: float, white: float) -> Values:
        """How values of 0 to 1, which stand for black to white, become those that the net sees.

        Raises
        ------
        WeightsError
            If there are not as many numbers as channels, or they are none that fit the range.
        """
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (0, 1, channels) or not all(map(math.isfinite, numbers)):
                raise WeightsError(
                    f"asked for {name} {_listed(numbers)}; the net takes {channels} "
                    f"channel{'s' * (channels > 1)}: give a number for each, or a single one"
                )
        if min(self.std, default=1.0) <= 0:
            raise WeightsError(f"asked for std {_listed(self.std)}; deviations are above 0")
        if beyond := [m for m in self.mean if not black <= m <= white]:
            raise WeightsError(
                f"asked for the mean {beyond[0]:g}, which is not within {black:g} to {white:g}; "
                "--net-range LOW,HIGH gives the values that mean and std are of, as 0,10000"
            )
        mean, std = (np.array(n or (e,)) for n, e in ((self.mean, 0.0), (self.std, 1.0)))
        factors, shifts = np.broadcast_arrays((white - black) / std, (black - mean) / std)
        return Values(tuple(factors.tolist()), tuple(shifts.tolist()))

    @property
    def in_words(self) -> str:
        """What is done, for a reader."""
        parts = [f"the mean {_listed(self.mean)} taken off"] if self.mean else []
        parts += [f"divided by {_listed(self.std)}"] if self.std else []
        return " and ".join(parts)


def stored_range(config: NetConfig, black: float, white: float) -> tuple[float, float] | None:
    """The stored values that a net was made for; None where it takes those of any image.

    What is black and white means something of photos only. A net of bands, or one whose maps or
    classes depend on values, was made for what is stored.
    """
    is_of_values = config.takes_bands or config.gives != "image"
    return (black, white) if is_of_values and (black, white) not in OF_PHOTOS else None


def in_range(
    path: Path, found: ForeignNet, black: float, white: float, normal: Normal = Normal()
) -> ForeignNet:
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
    values = normal.values(config.in_channels, black, white)
    if (black, white) == USUAL and normal == Normal():
        return found
    lines = [*found.lines]
    if (black, white) != USUAL:
        lines.append(f"set: it sees black as {black:g} and white as {white:g}")
    if normal != Normal():
        gives = ", and what it gives is brought back" * (config.gives == "image")
        lines.append(f"added: {normal.in_words} in front of it{gives}")
    found = replace(found, lines=tuple(lines), values=values)
    if config.body == "layers":
        return _around(found)
    if config.body != "nafnet" or any(values.shifts) or len(values.factors) > 1:
        raise WeightsError(
            f"{path}: a {config.body} is given the values 0 to a number only; save it as ONNX"
        )
    tensors, factor = dict(found.tensors), np.float32(values.factors[0])
    tensors["intro.weight"] = tensors["intro.weight"] * factor
    for name in ("ending.weight", "ending.bias"):
        tensors[name] = tensors[name] / factor
    return replace(found, tensors=tensors)


def _around(found: ForeignNet) -> ForeignNet:
    """The net with a layer that makes its values of ours, and one that does the reverse.

    They stay layers of their own: what the first convolution sees beyond the edge, zeros mostly,
    is put there behind them.
    """
    config, tensors = found.config, dict(found.tensors)
    factors, shifts = (
        np.broadcast_to(np.array(n), config.in_channels)
        for n in (found.values.factors, found.values.shifts)
    )
    # The image itself is read by convolutions alone.
    first = NetLayer(_BEFORE, "conv", (IMAGE,), config.in_channels)
    _put(tensors, _BEFORE, factors, shifts)
    layers = [first]
    for layer in config.layers:
        sources = tuple(_BEFORE if source == IMAGE else source for source in layer.sources)
        layers.append(replace(layer, sources=sources))
    if config.gives == "image":
        last = layers[-1]
        layers.append(NetLayer(_BEHIND, "conv", (last.name,), last.channels))
        cells = config.output_scale**2
        back = (n.repeat(cells) for n in (1 / factors, -shifts / factors))
        _put(tensors, _BEHIND, *back)
    made = layers_config(
        tuple(layers), config.in_channels, config.out_channels, config.output_scale, config.padding
    )
    made = replace(made, gives=config.gives, final=config.final)
    return replace(found, config=made, tensors=tensors)


def _put(
    tensors: dict[str, NDArray[np.float32]],
    name: str,
    factors: NDArray[np.float64],
    shifts: NDArray[np.float64],
) -> None:
    """The tensors of a layer that changes each channel by itself."""
    tensors[f"{name}.weight"] = np.diag(factors)[:, :, None, None].astype(np.float32)
    tensors[f"{name}.bias"] = shifts.astype(np.float32)


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{n:g}" for n in numbers)
