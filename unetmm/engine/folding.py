"""A net's tensors folded into the few matrices that the stream multiplies by.

LayerNorm's affine part goes into the following 1x1, beta, gamma and the frozen channel attention
into the 1x1 before the residual; MSIAM's and IEM's chains of linear steps become one matrix each.
Matrices are (outputs, taps, depth) before packing. Pixel-shuffle becomes an order of outputs:
(dy, dx, channel), so that the pixels of a row lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.layout import padded
from unetmm.nets.config import NetConfig
from unetmm.nets.layers import IMAGE, map_shapes, tail_of

Array = NDArray[np.float32]
Matrices = Array | NDArray[np.int32]
"""float32, or pairs of bfloat16."""
Tensors = Mapping[str, Array]
Folded = tuple[Array, Array, int, int, int]
"""matrix, bias, repeat, channels of the source (0: raw pixels, not padded) and the target."""


@dataclass(frozen=True)
class Packed:
    """A matrix in the panel order of `kernels.matmul`, and its bias, both flat."""

    weight: Matrices
    bias: Array

    def in_pairs(self, depth: int, lanes: int) -> Packed:
        """The same rounded to bfloat16."""
        assert self.weight.dtype == np.float32
        pairs = [in_pairs(panel) for panel in panels(self.weight, depth, lanes)]
        return Packed(np.concatenate(pairs), self.bias)

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + self.bias.nbytes


def pack(matrix: NDArray[np.floating], bias: NDArray[np.floating], lanes: int) -> Packed:
    """(n, taps, depth) and (n,) -> panels of 2 * lanes outputs, a narrow one last; n padded."""
    n, taps, depth = matrix.shape
    rows = pad_last(matrix.reshape(n, taps * depth).T, padded(n, lanes))  # depth, outputs
    wide = 2 * lanes
    split = rows.shape[1] // wide * wide
    panels = rows[:, :split].reshape(len(rows), -1, wide).swapaxes(0, 1)
    weight = np.concatenate((panels.ravel(), rows[:, split:].ravel()))
    return Packed(weight, pad_last(np.asarray(bias, np.float32), rows.shape[1]))


def panels(flat: Matrices, depth: int, lanes: int) -> Iterator[Array]:
    """The panels of a packed matrix of float32 as views: (count, depth, outputs), then a narrow."""
    floats, wide = flat.view(np.float32), 2 * lanes
    split = floats.size // (wide * depth) * wide * depth
    yield floats[:split].reshape(-1, depth, wide)
    if split < floats.size:
        yield floats[split:].reshape(1, depth, lanes)


def in_pairs(panels: Array) -> NDArray[np.int32]:
    """Panels (..., depth, outputs) rounded to bfloat16, ties to even: two depths a word; flat."""
    bits = panels.view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + (bits >> 16 & 1))
    low, high = rounded[..., 0::2, :], rounded[..., 1::2, :]
    return (low >> 16 | high & 0xFFFF0000).view(np.int32).ravel()


def pad_last(array: NDArray[np.floating], length: int) -> Array:
    """Zeros appended to the last axis up to `length`."""
    missing = length - array.shape[-1]
    if missing:
        array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(array, np.float32)


def pad_channels(matrix: Array, channels: int, lanes: int) -> Array:
    """(n, taps, pixels * channels) -> the same with each pixel's channels padded to vectors."""
    n, taps, depth = matrix.shape
    split = matrix.reshape(n, taps, depth // channels, channels)
    return pad_last(split, padded(channels, lanes)).reshape(n, taps, -1)


@dataclass(frozen=True)
class Attended:
    """What of a NAFNet block waits for an image's channel attention."""

    channels: int
    project: Packed
    """conv3 scaled by beta, (c, c): depths still to be scaled by the attention."""
    attention: Array
    """sca.1: (c, c + 1), the bias last."""

    def scaled(self, factors: Array, lanes: int) -> Iterator[Array]:
        """Panels of conv3, as `panels` gives them, with the frozen channel factors folded in."""
        c = padded(self.channels, lanes)
        depth = pad_last(factors, c)[:, None]
        for part in panels(self.project.weight, c, lanes):
            yield part * depth


@dataclass(frozen=True)
class FoldedBlock:
    """A NAFNet block's matrices (outputs, inputs) and biases.

    LayerNorm's affine part is in the 1x1 that follows, beta and gamma in the 1x1 before the
    residual; the third waits for an image's channel attention.
    """

    first: Array
    first_bias: NDArray[np.float64]
    depthwise: Array
    """Matrix (2c, 9) of the depthwise convolution."""
    depthwise_bias: Array
    third: Array
    third_bias: Array
    fourth: Array
    fourth_bias: NDArray[np.float64]
    fifth: Array
    fifth_bias: Array
    attention: Array
    """sca.1: (c, c + 1), the bias last."""


def fold_block(t: Tensors, name: str) -> FoldedBlock:
    """Fold the tensors below `name` (public NAFNet names)."""

    def get(key: str) -> Array:
        return t[f"{name}.{key}"]

    # One product of two numbers is rounded once, in float32 as well; only sums take float64.
    def normed(conv: str, norm: str) -> tuple[Array, NDArray[np.float64]]:
        w, shift = get(f"{conv}.weight")[:, :, 0, 0], get(f"{norm}.bias")
        bias = get(f"{conv}.bias") + w.astype(np.float64) @ shift.astype(np.float64)
        return w * get(f"{norm}.weight"), bias

    beta, gamma = get("beta").ravel(), get("gamma").ravel()
    first, first_bias = normed("conv1", "norm1")
    fourth, fourth_bias = normed("conv4", "norm2")
    sca = np.concatenate((get("sca.1.weight")[:, :, 0, 0], get("sca.1.bias")[:, None]), 1)
    return FoldedBlock(
        first=first,
        first_bias=first_bias,
        depthwise=get("conv2.weight").reshape(-1, 9),
        depthwise_bias=get("conv2.bias"),
        third=beta[:, None] * get("conv3.weight")[:, :, 0, 0],
        third_bias=beta * get("conv3.bias"),
        fourth=fourth,
        fourth_bias=fourth_bias,
        fifth=gamma[:, None] * get("conv5.weight")[:, :, 0, 0],
        fifth_bias=gamma * get("conv5.bias"),
        attention=sca,
    )


@dataclass(frozen=True)
class PackedBlock:
    """The same for the kernels: what does not depend on the image, and the rest."""

    first: Packed
    depthwise: Packed
    """Matrix (9, 2c) of the depthwise convolution, both halves padded."""
    fourth: Packed
    fifth: Packed
    attended: Attended


def halves(array: Array, lanes: int) -> Array:
    """(..., 2c) -> each half padded to whole vectors."""
    a, b = np.split(array, 2, axis=-1)
    if a.shape[-1] % lanes == 0:
        return array
    length = padded(a.shape[-1], lanes)
    return np.concatenate((pad_last(a, length), pad_last(b, length)), -1)


def partners(array: Array, lanes: int) -> Array:
    """Padded halves (..., 2c): each vector of the first beside its partner of the second."""
    split = array.reshape(*array.shape[:-1], 2, -1, lanes)
    return np.ascontiguousarray(split.swapaxes(-3, -2)).reshape(array.shape)


def pack_block(block: FoldedBlock, lanes: int) -> PackedBlock:
    """Pad a block's channels to whole vectors, each half of 2c by itself, and pack it."""
    c = len(block.third)

    def widening(matrix: Array, bias: NDArray[np.float64], gated: bool = False) -> Packed:
        columns, row = halves(matrix.T, lanes), halves(bias.astype(np.float32), lanes)
        if gated:
            columns, row = partners(columns, lanes), partners(row, lanes)
        return pack(pad_last(columns.T[:, None, :], padded(c, lanes)), row, lanes)

    def square(matrix: Array, bias: Array) -> Packed:
        return pack(pad_last(matrix[:, None, :], padded(c, lanes)), bias, lanes)

    return PackedBlock(
        first=widening(block.first, block.first_bias),
        depthwise=Packed(
            halves(block.depthwise.T, lanes).ravel(), halves(block.depthwise_bias, lanes)
        ),
        fourth=widening(block.fourth, block.fourth_bias, gated=True),
        fifth=square(block.fifth, block.fifth_bias),
        attended=Attended(c, square(block.third, block.third_bias), block.attention),
    )


def shuffled(matrix: NDArray[Any], ratio: int) -> NDArray[Any]:
    """Outputs from PixelShuffle's order (channel, dy, dx) to ours (dy, dx, channel)."""
    n = matrix.shape[0] // ratio**2
    return matrix.reshape(n, ratio, ratio, -1).transpose(1, 2, 0, 3).reshape(matrix.shape)


class ProductFolder:
    """Makes the matrices of the layout's products: (repeat rows) x (n, taps, depth)."""

    def __init__(self, tensors: Tensors, config: NetConfig, lanes: int) -> None:
        self.t, self.config, self.lanes = tensors, config, lanes
        self.listed = {layer.name: layer for layer in config.layers}
        self.maps = map_shapes(config.layers, config.in_channels) if config.layers else {}

    def matrix(self, name: str) -> Folded:
        """A product's matrix before it is packed, outputs in the order (dy, dx, channel)."""
        if self.config.layers:
            return self._layer(*name.split("#"))
        if ".conv" in name:
            return self._dense(name)
        kind, _, index = name.partition(".")
        folded: Folded = getattr(self, f"_{kind}")(int(index) if index else 0)
        return folded

    def fold(self, name: str) -> list[Packed]:
        """One packed matrix per output row that a reading row makes."""
        matrix, bias, repeat, source_channels, target_channels = self.matrix(name)
        rows = np.split(matrix, repeat)
        biases = np.split(bias, repeat)
        packed = []
        for row, row_bias in zip(rows, biases, strict=True):
            if source_channels:
                row = pad_channels(row, source_channels, self.lanes)
            pixels = row.shape[0] // target_channels
            length = padded(target_channels, self.lanes)
            row = np.pad(
                row.reshape(pixels, target_channels, *row.shape[1:]),
                ((0, 0), (0, length - target_channels), (0, 0), (0, 0)),
            ).reshape(pixels * length, *row.shape[1:])
            row_bias = pad_last(row_bias.reshape(pixels, target_channels), length).ravel()
            packed.append(pack(row, row_bias, self.lanes))
        return packed

    def _conv(self, name: str) -> tuple[Array, Array]:
        """A convolution as (n, kernel rows, kernel columns * channels)."""
        w = self.t[f"{name}.weight"]
        n, c, kh, kw = w.shape
        bias = self.t.get(f"{name}.bias", np.zeros(n, np.float32))
        return w.transpose(0, 2, 3, 1).reshape(n, kh, kw * c), bias

    def _intro(self, index: int) -> Folded:
        matrix, bias = self._conv("intro")
        return matrix, bias, 1, 0, self.config.width

    def _dense(self, name: str) -> Folded:
        """A 3x3 convolution of a U-Net; of two maps side by side the part over one of them."""
        conv, _, part = name.rpartition(".")
        if part not in ("skip", "up"):
            matrix, bias = self._conv(name)
            channels = matrix.shape[2] // 3
            is_image = name == "encoders.0.0.conv1"
            return matrix, bias, 1, 0 if is_image else channels, len(bias)
        matrix, bias = self._conv(conv)
        n, taps, depth = matrix.shape
        halves = matrix.reshape(n, taps, taps, 2, -1)[..., int(part == "up"), :]
        bias = bias if part == "skip" else np.zeros_like(bias)
        return halves.reshape(n, taps, depth // 2), bias, 1, depth // (2 * taps), n

    def _layer(self, name: str, number: str) -> Folded:
        """The part of a layer's convolution over one of its sources; the first has the bias."""
        layer, index = self.listed[name], int(number)
        depths = [self.maps[s].channels for s in layer.sources]
        start = sum(depths[:index])
        w = self.t[f"{name}.weight"][:, start : start + depths[index]]
        n, c, kh, kw = w.shape
        bias = self.t[f"{name}.bias"] if index == 0 else np.zeros(n, np.float32)
        matrix = w.transpose(0, 2, 3, 1).reshape(n, kh, kw * c)
        if layer.enlarge > 1:
            matrix, bias = (shuffled(a, layer.enlarge) for a in (matrix, bias[:, None]))
        source_channels = 0 if layer.sources[index] == IMAGE else c
        return matrix, bias.ravel(), layer.enlarge, source_channels, layer.channels

    def _downs(self, index: int) -> Folded:
        matrix, bias = self._conv(f"downs.{index}")
        c = self.config.width << index
        return matrix, bias, 1, c, 2 * c

    def _ups(self, index: int) -> Folded:
        if self.config.body == "unet":  # transposed, (inputs, outputs, rows, columns)
            w, bias = self.t[f"ups.{index}.weight"], self.t[f"ups.{index}.bias"]
            matrix = w.transpose(2, 3, 1, 0).reshape(4 * len(bias), 1, len(w))
            return matrix, np.tile(bias, 4), 2, len(w), len(bias)
        matrix, bias = self._conv(f"ups.{index}.0")
        c = self.config.width << (self.config.levels - index)
        return shuffled(matrix, 2), bias, 2, c, c // 2

    def _msiam(self, level: int) -> Folded:
        """fusion . RS . RC of one level, as one matrix from E_n to E'."""
        assert self.config.aggregate is not None
        scale, channels = self.config.aggregate.scale, self.config.aggregate.channels
        c, level_scale = self.config.width << level, 1 << level
        reduce = self.t[f"msiam.reducers.{level}.weight"][:, :, 0, 0].astype(np.float64)
        reduce_bias = self.t[f"msiam.reducers.{level}.bias"].astype(np.float64)
        fusion = self.t["msiam.fusion.weight"][:, level * channels : (level + 1) * channels, 0, 0]
        bias = self.t["msiam.fusion.bias"] if level == 0 else np.zeros(channels, np.float32)
        if level_scale <= scale:
            r = scale // level_scale
            share = reduce.shape[0]
            f = fusion.reshape(channels, share, r, r).astype(
                np.float64
            )  # E' channel; share, dy, dx
            matrix = np.einsum("asyx,sc->ayxc", f, reduce).reshape(channels, r, r * c)
            total = bias + np.einsum("asyx,s->a", f, reduce_bias)
            order = self.aggregate_order()
            return matrix[order].astype(np.float32), total[order].astype(np.float32), 1, c, channels
        r = level_scale // scale
        shuffled_reduce = shuffled(reduce, r).reshape(r * r, channels, c)
        shuffled_bias = shuffled(reduce_bias[:, None], r).reshape(r * r, channels)
        order = self.aggregate_order()
        matrix = np.einsum("as,psc->pac", fusion, shuffled_reduce)[:, order].reshape(-1, 1, c)
        total = (np.einsum("as,ps->pa", fusion, shuffled_bias) + bias)[:, order].ravel()
        return matrix.astype(np.float32), total.astype(np.float32), r, c, channels

    def aggregate_order(self) -> NDArray[np.intp]:
        """Our order of E' channels: (dy, dx, channel) of its full-resolution form."""
        assert self.config.aggregate is not None
        scale, channels = self.config.aggregate.scale, self.config.aggregate.channels
        index = np.arange(channels).reshape(channels // scale**2, scale, scale)
        return index.transpose(1, 2, 0).ravel()

    def _iems(self, level: int) -> Folded:
        """RS and expansion of one level, as one matrix from E' (or the guide map) to the level."""
        assert self.config.aggregate is not None
        aggregate = self.config.aggregate
        c, level_scale = self.config.width << level, 1 << level
        expansion, bias = self._conv(f"iems.{level}.expansion")
        if level == 0 and aggregate.reads_image:
            return expansion, bias, 1, 0, c
        order = self.aggregate_order()
        w = expansion[:, 0, :]  # c, resized channels
        if level_scale <= aggregate.scale:
            r = aggregate.scale // level_scale
            picked = np.zeros((r, r, c, aggregate.channels), np.float32)
            for dy in range(r):
                for dx in range(r):
                    picked[dy, dx][:, dy * r + dx :: r * r] = w
            matrix = picked[..., order].reshape(r * r * c, 1, aggregate.channels)
            return matrix, np.tile(bias, r * r), r, aggregate.channels, c
        r = level_scale // aggregate.scale
        split = w.reshape(c, aggregate.channels, r, r)[:, order]
        matrix = split.transpose(0, 2, 3, 1).reshape(c, r, r * aggregate.channels)
        return np.ascontiguousarray(matrix), bias, 1, aggregate.channels, c


def ending_of(tensors: Tensors, config: NetConfig) -> tuple[Array, Array]:
    """Weight (n, c, 3, 3) and bias (n,) of the last convolution."""
    if not config.layers:
        return tensors["ending.weight"], tensors["ending.bias"]
    tail, n = tail_of(config.layers), config.answer_channels
    factor = np.float32(tail.factor)
    if tail.convolution is None:
        weight = np.zeros((n, n, 3, 3), np.float32)
        weight[np.arange(n), np.arange(n), 1, 1] = factor
        return weight, np.zeros(n, np.float32)
    name = tail.convolution.name
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if weight.shape[2] == 1:
        weight = np.pad(weight, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return factor * weight, factor * bias


def fold_ending(tensors: Tensors, config: NetConfig, lanes: int) -> Packed:
    """The last convolution as (n, 3, 3 * padded channels) flat, for `stages.ending`."""
    w, bias = ending_of(tensors, config)
    n, c, _, _ = w.shape
    matrix = pad_channels(w.transpose(0, 2, 3, 1).reshape(n, 3, 3 * c), c, lanes)
    return Packed(matrix.ravel(), np.ascontiguousarray(bias, np.float32))
