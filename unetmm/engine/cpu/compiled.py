"""A net folded for the stream: shared by all strips and threads, read-only once it is made."""

from __future__ import annotations

import numpy as np

from unetmm.compiling.processor import LANES
from unetmm.engine.checks import Attention, factors_of
from unetmm.engine.cpu.footprint import LINE_FLOATS, frozen_floats, packed_floats
from unetmm.engine.cpu.precision import words
from unetmm.engine.folding import (
    Array,
    Attended,
    Matrices,
    Packed,
    ProductFolder,
    Tensors,
    fold_block,
    fold_ending,
    in_pairs,
    pack_block,
    pad_last,
)
from unetmm.engine.layout import FLOAT_BYTES, Block, Layout, Pointwise, Product, padded
from unetmm.engine.layouts import make_layout
from unetmm.engine.precision import Precision
from unetmm.errors import WeightsError
from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig

Frozen = Matrices
"""Each block's third matrix with its attention folded in, one behind the other."""


def aligned_zeros(floats: int) -> Array:
    """A flat array that starts on a cache line: vectors that straddle two lines load slowly."""
    raw = np.zeros(floats + LINE_FLOATS, np.float32)
    first = -raw.ctypes.data % (LINE_FLOATS * FLOAT_BYTES) // FLOAT_BYTES
    return raw[first : first + floats]


class Pool:
    """Arrays one behind the other in one that is allocated at once."""

    def __init__(self, floats: int) -> None:
        self.data = aligned_zeros(floats)
        self.end = 0

    def add(self, *parts: Packed) -> tuple[int, ...]:
        """Copy matrices and biases in; gives where each begins."""
        places = []
        for array in (a for part in parts for a in (part.weight, part.bias)):
            self.data[self.end : self.end + array.size].view(array.dtype)[:] = array
            places.append(self.end)
            self.end += round_up(array.size, LINE_FLOATS)
        return tuple(places)


class CompiledNet:
    """A net's packed matrices, and where each stage's begin.

    Parameters
    ----------
    precision : of the blocks' 1x1s.

    Raises
    ------
    ShapeError
        If the net changes the image's size.
    WeightsError
        If a tensor is missing.
    """

    def __init__(self, config: NetConfig, tensors: Tensors, precision: Precision = "fp32") -> None:
        self.config, self.precision = config, precision
        layout = make_layout(config, config.stride_px)
        pool = Pool(packed_floats(layout, LANES, precision))
        self.places: dict[str, tuple[int, ...]] = {}
        """Of each product (w, w_size, b, b_size), of each block the columns of `tables`."""
        self.third = _third_places(layout, precision)
        """Of each block, where its matrix and bias lie in `Frozen`."""
        self.blocks: dict[str, Attended] = {}
        try:
            self._fold(layout, tensors, pool)
        except KeyError as error:
            raise WeightsError(f"the weights lack the tensor {error} of their net") from error
        assert pool.end == len(pool.data), "packed_floats counts what is packed"
        self.weights = pool.data

    def _fold(self, layout: Layout, tensors: Tensors, pool: Pool) -> None:
        folder = ProductFolder(tensors, self.config, LANES)
        for stage in layout.stages:
            if isinstance(stage, Product):
                places = pool.add(*folder.fold(stage.name))
                w, b = places[:2]
                w_size, b_size = (places[2] - w, places[3] - b) if len(places) > 2 else (0, 0)
                self.places[stage.name] = (w, w_size, b, b_size)
            elif isinstance(stage, Pointwise):
                numbers = Packed(_numbers(stage, tensors), np.zeros(0, np.float32))
                self.places[pointwise_name(stage)] = pool.add(numbers)
            elif isinstance(stage, Block):
                block = pack_block(fold_block(tensors, stage.name), LANES)
                first, fourth, fifth = (
                    self._rounded(part, stage) for part in (block.first, block.fourth, block.fifth)
                )
                matrices = (first, block.depthwise, fourth, fifth)
                mask = Packed(_mask(stage.channels), np.zeros(0, np.float32))
                self.places[stage.name] = (pool.add(mask)[0], *pool.add(*matrices))
                self.blocks[stage.name] = block.attended
        self.places["ending"] = pool.add(fold_ending(tensors, self.config, LANES))

    def _rounded(self, packed: Packed, block: Block) -> Packed:
        """A block's 1x1 in the precision of this net."""
        if self.precision == "fp32":
            return packed
        return packed.in_pairs(padded(block.channels, LANES), LANES)

    @property
    def matrices(self) -> Matrices:
        """`weights` as the kernels of the blocks' products take them."""
        return self.weights if self.precision == "fp32" else self.weights.view(np.int32)

    def empty_frozen(self) -> Frozen:
        """Room for the third matrices of all blocks."""
        layout = make_layout(self.config, self.config.stride_px)
        room = aligned_zeros(frozen_floats(layout, LANES, self.precision))
        return room if self.precision == "fp32" else room.view(np.int32)

    def fold_attention(self, name: str, factors: Array, frozen: Frozen) -> None:
        """Write a block's third matrix with its channel factors folded in."""
        block, (w, b) = self.blocks[name], self.third[name]
        for panels in block.scaled(factors, LANES):
            part = panels.ravel() if self.precision == "fp32" else in_pairs(panels)
            frozen[w : w + part.size] = part
            w += part.size
        bias = block.project.bias
        frozen[b : b + bias.size].view(np.float32)[:] = bias

    def freeze(self, attention: Attention) -> Frozen:
        """Fold the frozen channel factors into the blocks.

        Raises
        ------
        ShapeError
            If a block has no factors or the wrong number of them.
        """
        frozen = self.empty_frozen()
        for name, block in self.blocks.items():
            factors = factors_of(attention, name, block.channels)
            self.fold_attention(name, factors, frozen)
        return frozen

    def unattended(self) -> Frozen:
        """The same without any attention, for streams that multiply by the factors themselves."""
        return self.freeze({n: np.ones(b.channels, np.float32) for n, b in self.blocks.items()})

    def constant_attention(self) -> dict[str, Array] | None:
        """The channel factors of every block, where no image changes them; else None."""
        if any(block.attention[:, :-1].any() for block in self.blocks.values()):
            return None
        return {name: block.attention[:, -1].copy() for name, block in self.blocks.items()}

    def attention(self, name: str, mean: Array) -> Array:
        """The channel factors of a block from the mean of its gated map, (c,) -> (c,)."""
        matrix = self.blocks[name].attention
        factors: Array = matrix[:, :-1] @ mean + matrix[:, -1]
        return factors


def _third_places(layout: Layout, precision: Precision) -> dict[str, tuple[int, int]]:
    """Where each block's third matrix and its bias lie, one behind the other."""
    places, end = {}, 0
    for block in layout.blocks:
        c = padded(block.channels, LANES)
        bias = end + round_up(words(c * c, precision), LINE_FLOATS)
        places[block.name] = (end, bias)
        end = bias + round_up(c, LINE_FLOATS)
    assert end == frozen_floats(layout, LANES, precision)
    return places


def pointwise_name(stage: Pointwise) -> str:
    """Name of its numbers among the places of a net."""
    return f"{stage.layer.name}, pointwise"


def _numbers(stage: Pointwise, tensors: Tensors) -> Array:
    """Two factors, the constant, two numbers of the activation, then slopes if it has them."""
    layer = stage.layer
    shift = layer.shift if layer.kind == "add" else 0.0
    factors, numbers = (*stage.factors, 0.0)[:2], (*layer.numbers, 0.0, 0.0)[:2]
    slopes = np.zeros(0, np.float32)
    if layer.activation == "prelu":
        slopes = pad_last(tensors[f"{layer.name}.slope"], padded(layer.channels, LANES))
    return np.concatenate((np.array([*factors, shift, *numbers], np.float32), slopes))


def _mask(channels: int) -> Array:
    """Ones for the real channels of a pixel's last vector."""
    last = padded(channels, LANES) - LANES
    return (np.arange(last, last + LANES) < channels).astype(np.float32)
