"""A net folded for the stream: shared by all strips and threads, read-only once it is frozen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError, WeightsError
from unetmm.nets.config import NetConfig
from unetmm.stream.folding import (
    Array,
    BlockWeights,
    Packed,
    ProductFolder,
    Tensors,
    fold_block,
    fold_ending,
)
from unetmm.stream.lanes import LANES
from unetmm.stream.layout import Product, make_layout

Attention = Mapping[str, NDArray[np.float32]]
"""Frozen channel factors: block name -> (c,)."""


Frozen = Mapping[str, Packed]
"""Each block's third matrix with its attention folded in: block name -> matrix."""


class CompiledNet:
    """Packed matrices of a net by stage name."""

    def __init__(self, config: NetConfig, tensors: Tensors) -> None:
        if config.output_scale != 1:
            raise ShapeError(
                f"the row stream restores at the input's size, asked for output_scale "
                f"{config.output_scale}; use a model with output_scale 1"
            )
        self.config = config
        layout = make_layout(config, config.stride_px)
        folder = ProductFolder(tensors, config, LANES)
        try:
            self.products: dict[str, list[Packed]] = {
                s.name: folder.fold(s.name) for s in layout.stages if isinstance(s, Product)
            }
            self.blocks: dict[str, BlockWeights] = {
                b.name: fold_block(tensors, b.name, LANES) for b in layout.blocks
            }
            self.ending = fold_ending(tensors, LANES)
        except KeyError as error:
            raise WeightsError(f"the weights lack the tensor {error} of their net") from error

    def freeze(self, attention: Attention) -> Frozen:
        """Fold the frozen channel factors into the blocks.

        Raises
        ------
        ShapeError
            If a block has no factors or the wrong number of them.
        """
        frozen = {}
        for name, block in self.blocks.items():
            factors = attention.get(name)
            if factors is None or factors.shape != (block.channels,):
                found = "none" if factors is None else f"shape {factors.shape}"
                raise ShapeError(
                    f"calibration: block {name} needs {block.channels} channel factors, found "
                    f"{found}; calibrate with this model"
                )
            frozen[name] = block.with_attention(factors, LANES)
        return frozen

    def attention(self, name: str, mean: Array) -> Array:
        """The channel factors of a block from the mean of its gated map, (c,) -> (c,)."""
        matrix = self.blocks[name].attention
        factors: Array = matrix[:, :-1] @ mean + matrix[:, -1]
        return factors
