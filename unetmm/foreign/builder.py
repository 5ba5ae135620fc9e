"""Layers put together from the operations that foreign nets are made of.

A value is one or several maps side by side. Where a net makes a map finer than the image, its
pixels become channels, in the order of pixel-shuffle, and convolutions of them are written out as
convolutions at the image's size: the same numbers, with zeros between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.foreign.simplify import simplify
from unetmm.foreign.written_out import (
    dilated,
    linear_taps,
    on_cells,
    spread_taps,
    ungrouped,
    zeros,
)
from unetmm.nets.config import OUTPUT_SCALES, NetConfig, layers_config
from unetmm.nets.layers import BORDERS, IMAGE, MOST_CHANNELS, MOST_KERNEL_PX, MOST_LAYERS, NetLayer

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Value:
    """What an operation gives: maps side by side, at one scale."""

    parts: tuple[tuple[str, int], ...]
    """Names of maps and their channels, in order."""
    scale: int
    """Image pixels per pixel of the maps."""
    fine: int = 1
    """Pixels of the value for a pixel of its maps, along each axis; they lie among the channels."""

    @property
    def held(self) -> int:
        """Channels of the maps."""
        return sum(channels for _, channels in self.parts)

    @property
    def channels(self) -> int:
        """Channels of the value."""
        return self.held // self.fine**2


@dataclass
class Builder:
    """Collects layers and their tensors.

    Raises
    ------
    WeightsError
        By every method, if there is no such layer, with the reason.
    """

    in_channels: int
    layers: list[NetLayer] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)

    @property
    def image(self) -> Value:
        return Value(((IMAGE, self.in_channels),), 1)

    def conv(
        self,
        x: Value,
        weight: Array,
        bias: Array | None = None,
        *,
        stride: int = 1,
        pads: tuple[int, int] | None = None,
        dilation: int = 1,
        groups: int = 1,
        border: str = BORDERS[0],
    ) -> Value:
        """A convolution with weights (n, channels / groups, k, k).

        pads : pixels around the map above and below, and to its left and right; None: as many as
            keep its size.
        border : what they are, a name of BORDERS.
        """
        weight = ungrouped(np.asarray(weight, np.float32), groups)
        _check_depth(x, weight.shape[1], len(weight))
        weight = dilated(weight, dilation)
        kernel = weight.shape[2]
        pad, below = ((kernel - 1) // 2, kernel // 2) if pads is None else pads
        if not 0 < kernel - pad - below <= stride or pad >= kernel:
            raise WeightsError(
                f"a convolution of {kernel} x {kernel} with step {stride} and {pad} and {below} "
                "zeros around the map changes its size; give it as many zeros as keep it"
            )
        if stride > MOST_KERNEL_PX:
            raise WeightsError(f"a convolution with steps of {stride} px")
        missing = max(0, stride + pad - kernel)
        weight = np.pad(weight, ((0, 0), (0, 0), (0, missing), (0, missing)))
        bias = np.zeros(len(weight), np.float32) if bias is None else bias
        if border != BORDERS[0] and weight.shape[2] > 1:
            x = self._alone(x)
        if x.fine == 1:
            return self._conv(
                x, weight, bias, x.scale * stride, stride=stride, pad=pad, border=border
            )
        if stride != 1:
            raise WeightsError("a convolution with steps of a map finer than the image")
        weight, pad = on_cells(weight, pad, x.fine)
        return self._conv(x, weight, np.repeat(bias, x.fine**2), x.scale, x.fine, pad=pad)

    def transposed(
        self,
        x: Value,
        weight: Array,
        bias: Array | None,
        *,
        stride: int,
        pad: int = 0,
        output_pad: int = 0,
        groups: int = 1,
    ) -> Value:
        """A transposed convolution with weights (channels, n / groups, k, k)."""
        _check_depth(x, weight.shape[0], weight.shape[1])
        kernel = weight.shape[2]
        if kernel - 2 * pad + output_pad != stride or groups < 1 or weight.shape[0] % groups:
            raise WeightsError(
                f"a transposed convolution of {kernel} x {kernel} with step {stride} that does not "
                f"make the map exactly {stride} times as large"
            )
        parts = np.split(np.asarray(weight, np.float32), groups)
        n = weight.shape[1] * groups
        square = zeros(n, weight.shape[0], kernel, kernel)
        for g, part in enumerate(parts):
            rows = slice(g * len(part), (g + 1) * len(part))
            outputs = slice(g * weight.shape[1], (g + 1) * weight.shape[1])
            square[outputs, rows] = part.transpose(1, 0, 2, 3)
        spread = spread_taps(square, stride, pad)
        bias = np.zeros(n, np.float32) if bias is None else bias
        made = self.conv(x, spread, np.repeat(bias, stride**2))
        return self.shuffle(made, stride)

    def activation(
        self, x: Value, kind: str, numbers: Sequence[float] = (), slopes: Array | None = None
    ) -> Value:
        """A function of single values; slopes : of each channel, of "prelu"."""
        x = self.joined(x)
        name = self._name(kind)
        self.layers.append(
            NetLayer(name, "add", (x.parts[0][0],), x.held, activation=kind, numbers=tuple(numbers))
        )
        if slopes is not None:
            slopes = np.broadcast_to(np.asarray(slopes, np.float32).ravel(), (x.channels,))
            self.tensors[f"{name}.slope"] = np.repeat(slopes, x.fine**2)
        return Value(((name, x.held),), x.scale, x.fine)

    def add(
        self, a: Value, b: Value, factors: tuple[float, float] = (1.0, 1.0), last: bool = False
    ) -> Value:
        """A weighted sum; last : of the image and a map, as the end of the net."""
        factors = (float(factors[0]), float(factors[1]))
        images = [factor for factor, x in zip(factors, (a, b), strict=True) if x == self.image]
        return self._of_two("add", a, b, factors=factors, keeps_image=last and images == [1.0])

    def multiply(self, a: Value, b: Value) -> Value:
        """The product of two maps."""
        return self._of_two("multiply", a, b)

    def scaled(self, x: Value, factor: float, shift: float = 0.0) -> Value:
        """A factor and a constant, the same for all channels."""
        x = self.joined(x)
        name = self._name("scaled")
        self.layers.append(
            NetLayer(name, "add", (x.parts[0][0],), x.held, factors=(factor,), shift=shift)
        )
        return Value(((name, x.held),), x.scale, x.fine)

    def affine(self, x: Value, factors: Array, shifts: Array) -> Value:
        """A factor and a constant for each channel, as batch normalisation has."""
        matrix = np.diag(np.asarray(factors, np.float32))
        return self.conv(x, matrix[:, :, None, None], np.asarray(shifts, np.float32))

    def concat(self, values: Sequence[Value]) -> Value:
        """Maps side by side."""
        if len({(v.scale, v.fine) for v in values}) > 1:
            raise WeightsError("maps of different sizes side by side")
        first = values[0]
        return Value(tuple(p for v in values for p in v.parts), first.scale, first.fine)

    def slice(self, x: Value, start: int, stop: int) -> Value:
        """Channels next to each other."""
        return self.pick(x, list(range(start, stop)))

    def pick(self, x: Value, channels: list[int]) -> Value:
        """Some of the channels, in this order."""
        if len(channels) > MOST_CHANNELS:
            raise WeightsError(f"a map of {len(channels)} channels; {MOST_CHANNELS} are the most")
        matrix = zeros(len(channels), x.channels, 1, 1)
        matrix[np.arange(len(channels)), channels] = 1
        return self.conv(x, matrix)

    def repeat(self, x: Value, channels: int) -> Value:
        """A map of one channel, repeated."""
        return self.pick(x, [0] * channels)

    def pool(self, x: Value) -> Value:
        """The largest of each 2x2 pixels."""
        x = self.joined(x)
        if x.fine > 1:
            raise WeightsError("pooling of a map finer than the image")
        name = self._name("pooled")
        self.layers.append(NetLayer(name, "pool", (x.parts[0][0],), x.held))
        return Value(((name, x.held),), 2 * x.scale)

    def average_pool(self, x: Value, size: int, stride: int | None = None, pad: int = 0) -> Value:
        """The mean of size x size pixels, of zeros beyond the edges."""
        mean = zeros(x.channels, x.channels, size, size)
        mean[np.arange(x.channels), np.arange(x.channels)] = 1 / max(1, size) ** 2
        return self.conv(x, mean, stride=stride or size, pads=(pad, pad))

    def thinned(self, x: Value, ratio: int, offset: int) -> Value:
        """One pixel of each cell of ratio x ratio."""
        taps = zeros(x.channels, x.channels, ratio, ratio)
        taps[np.arange(x.channels), np.arange(x.channels), offset, offset] = 1
        return self.conv(x, taps, stride=ratio, pads=(0, 0))

    def halfway(self, x: Value, ratio: int) -> Value:
        """What lies in the middle of each cell of ratio x ratio."""
        taps = zeros(x.channels, x.channels, ratio, ratio)
        middle = slice((ratio - 1) // 2, ratio // 2 + 1)
        share = 1.0 if ratio % 2 else 0.25
        taps[np.arange(x.channels), np.arange(x.channels), middle, middle] = share
        return self.conv(x, taps, stride=ratio, pads=(0, 0))

    def linear(self, x: Value, ratio: int) -> Value:
        """Linear interpolation of half-pixel centres, whose edges are repeated.

        A map of ones tells where the edges are: what lies beyond them is missing there in the sum
        of the weights, which has to be one.
        """
        taps, c = linear_taps(ratio), x.channels
        weight = zeros(c, ratio, ratio, c, 3, 3)
        weight[np.arange(c), :, :, np.arange(c)] = np.einsum("di,ej->deij", taps, taps)
        made = self.shuffle(self.conv(x, weight.reshape(c * ratio**2, c, 3, 3)), ratio)
        ones = self.constant(x, np.ones(1, np.float32))
        beyond = np.where(np.arange(ratio) < ratio / 2, taps[:, 0], taps[:, 2])
        more = 1 / (1 - beyond)
        for axis in (0, 1):
            by_rows = np.zeros((ratio, ratio, 1, 3, 3), np.float32)
            shape = (ratio, 1) if axis == 0 else (1, ratio)
            for i in range(3):
                row, column = (i, 1) if axis == 0 else (1, i)
                by_rows[:, :, 0, row, column] = -(more * taps[:, i]).reshape(shape)
            bias = np.broadcast_to(np.float32(1 + more).reshape(shape), (ratio, ratio)).ravel()
            edges = self.shuffle(self.conv(ones, by_rows.reshape(-1, 1, 3, 3), bias), ratio)
            made = self.multiply(made, edges)
        return made

    def shuffle(self, x: Value, ratio: int) -> Value:
        """Pixel-shuffle: channels (c, dy, dx) become pixels."""
        if ratio == 1:
            return x
        n, common = x.channels // ratio**2, math.gcd(x.scale, ratio)
        if x.fine == 1 and common == 1:
            return Value(x.parts, x.scale, ratio)
        if x.fine == 1 and common < ratio:
            # Channels (c, dy, dx) by coarse and fine steps: (c, Y, y, X, x) -> (c, y, x, Y, X).
            rest = ratio // common
            order = np.arange(x.held).reshape(n, common, rest, common, rest)
            ranks = order.transpose(0, 2, 4, 1, 3).ravel().tolist()
            return self.shuffle(self.shuffle(self.pick(x, ranks), common), rest)
        if x.fine == 1:
            return self._copied(x, enlarge=ratio)
        # Pixels of pixels: (c, dy, dx, ey, ex) -> (c, ey, dy, ex, dx).
        order = np.arange(x.held).reshape(n, ratio, ratio, x.fine, x.fine).transpose(0, 3, 1, 4, 2)
        matrix = np.eye(x.held, dtype=np.float32)[order.ravel()]
        zeros = np.zeros(x.held, np.float32)
        return self._conv(x, matrix[:, :, None, None], zeros, x.scale, x.fine * ratio)

    def unshuffle(self, x: Value, ratio: int, order: str = "cyx") -> Value:
        """Pixels become channels, in the order (channel, dy, dx) or, "yxc", (dy, dx, channel)."""
        c = x.channels
        if ratio < 1:
            raise WeightsError(f"cells of {ratio} x {ratio} pixels")
        taps = zeros(c * ratio**2, c * ratio**2)
        taps[np.arange(len(taps)), np.arange(len(taps))] = 1
        taps = taps.reshape(-1, c, ratio, ratio)
        if order == "yxc":
            taps = taps.reshape(c, ratio, ratio, -1).transpose(1, 2, 0, 3).reshape(taps.shape)
        return self.conv(x, taps, stride=ratio, pads=(0, 0))

    def nearest(self, x: Value, ratio: int) -> Value:
        """Each pixel repeated."""
        made = self.pick(x, [c for c in range(x.channels) for _ in range(ratio**2)])
        return self.shuffle(made, ratio)

    def constant(self, x: Value, values: Array) -> Value:
        """Maps of the size of x that hold one number each."""
        values = np.asarray(values, np.float32)
        return self.conv(x, np.zeros((len(values), x.channels, 1, 1), np.float32), values)

    def joined(self, x: Value) -> Value:
        """The same as one map that is not the image itself."""
        if len(x.parts) == 1 and x.parts[0][0] != IMAGE:
            return x
        return self._copied(x)

    def finish(self, x: Value, padding: str = "mirror") -> tuple[NetConfig, dict[str, Array]]:
        """The net that gives this value, and its tensors."""
        if x.scale != 1 or x.fine not in OUTPUT_SCALES:
            raise WeightsError(
                f"the net gives {x.fine}/{x.scale} of the image's size; 1, 2, 3 and 4 times can be "
                "written"
            )
        if not self.layers or len(x.parts) != 1 or self.layers[-1].name != x.parts[0][0]:
            x = self._copied(x)
        layers, tensors = simplify(list(self.layers), dict(self.tensors))
        config = layers_config(tuple(layers), self.in_channels, x.channels, x.fine, padding)
        return config, tensors

    def _conv(
        self,
        x: Value,
        weight: Array,
        bias: Array,
        scale: int,
        fine: int = 1,
        *,
        stride: int = 1,
        pad: int = 0,
        enlarge: int = 1,
        border: str = BORDERS[0],
    ) -> Value:
        name, n = self._name("conv"), len(weight) // enlarge**2
        sources = tuple(source for source, _ in x.parts)
        layer = NetLayer(
            name, "conv", sources, n, weight.shape[2], stride=stride, pad=pad, enlarge=enlarge,
            border=border,
        )  # fmt: skip
        self.layers.append(layer)
        self.tensors[f"{name}.weight"] = np.ascontiguousarray(weight, np.float32)
        self.tensors[f"{name}.bias"] = np.ascontiguousarray(bias, np.float32)
        return Value(((name, n),), scale, fine)

    def _alone(self, x: Value) -> Value:
        """The same as a map of its own: what lies around it is kept beside it."""
        if x.fine > 1:
            raise WeightsError("a border that is not zeros, around a map finer than the image")
        return self._copied(x)

    def _copied(self, x: Value, enlarge: int = 1) -> Value:
        """The same as one map, by a convolution that changes no value; enlarge : by shuffling."""
        matrix = np.eye(x.held, dtype=np.float32)[:, :, None, None]
        zeros = np.zeros(x.held, np.float32)
        return self._conv(x, matrix, zeros, x.scale // enlarge, x.fine, enlarge=enlarge)

    def _of_two(
        self,
        kind: str,
        a: Value,
        b: Value,
        factors: tuple[float, ...] = (),
        keeps_image: bool = False,
    ) -> Value:
        if a.channels == 1 and b.channels > 1:
            a = self.repeat(a, b.channels)
        if b.channels == 1 and a.channels > 1:
            b = self.repeat(b, a.channels)
        if (a.scale, a.fine, a.channels) != (b.scale, b.fine, b.channels):
            raise WeightsError(
                f"a {kind} of maps that do not fit each other: {a.channels} channels at "
                f"{a.fine}/{a.scale}, {b.channels} at {b.fine}/{b.scale}"
            )
        a, b = (x if keeps_image and x == self.image else self.joined(x) for x in (a, b))
        name = self._name(kind)
        sources = a.parts[0][0], b.parts[0][0]
        self.layers.append(NetLayer(name, kind, sources, a.held, factors=factors))
        return Value(((name, a.held),), a.scale, a.fine)

    def _name(self, kind: str) -> str:
        if len(self.layers) > 4 * MOST_LAYERS:
            raise WeightsError(f"more than {4 * MOST_LAYERS} layers")
        return f"{kind}{len(self.layers)}"


def _check_depth(x: Value, depth: int, given: int) -> None:
    if depth != x.channels:
        raise WeightsError(f"a convolution of {depth} channels over a map of {x.channels}")
    if not given:
        raise WeightsError("a convolution that gives no channels")
