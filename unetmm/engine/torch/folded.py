"""A net's matrices on a device: shared by all its streams, read-only once it is made."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetmm.engine.checks import Attention, factors_of
from unetmm.engine.folding import ProductFolder, Tensors, ending_of, fold_block
from unetmm.engine.layout import Block, Layout, Pointwise, Product
from unetmm.engine.layouts import make_layout
from unetmm.engine.precision import Precision
from unetmm.engine.torch.failures import translated
from unetmm.engine.torch.footprint import ALIGN, frozen_numbers, weight_numbers
from unetmm.engine.torch.kernels.tiles import Fusing
from unetmm.errors import DeviceError, WeightsError
from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TensorPool:
    """A tensor that others are cut out of, one behind the other."""

    def __init__(self, numbers: int, dtype: torch.dtype, device: torch.device) -> None:
        self.data = torch.zeros(numbers, dtype=dtype, device=device)
        self.end = 0

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """The next part, of this shape."""
        start, self.end = self.end, self.end + round_up(prod(shape), ALIGN)
        assert self.end <= len(self.data), "the footprint counts what is taken"
        return self.data[start : start + prod(shape)].view(shape)

    def put(self, array: NDArray[np.floating], shape: tuple[int, ...]) -> Tensor:
        """The next part, with these values."""
        part = self.take(shape)
        part.copy_(torch.from_numpy(np.ascontiguousarray(array).reshape(shape)))
        return part


@dataclass(frozen=True)
class ProductWeights:
    """Matrix and bias of a product or of the ending."""

    matrix: Tensor
    """Matrix (outputs, taps, depth); outputs in the order (dy, dx, channel)."""
    bias: Tensor | None
    """Column (outputs, 1), or None where it is zero."""


@dataclass(frozen=True)
class BlockWeights:
    """Weights of a NAFNet block: matrices (outputs, inputs), biases (outputs, 1)."""

    first: Tensor
    first_bias: Tensor
    depthwise: Tensor
    """Weights (2c, 1, 3, 3) of the depthwise convolution, its bias (2c,)."""
    depthwise_bias: Tensor
    third_bias: Tensor
    fourth: Tensor
    fourth_bias: Tensor
    fifth: Tensor
    fifth_bias: Tensor


class FoldedNet:
    """A net folded for the stream of torch operations.

    The attention comes in with `freeze`, once an image.

    Parameters
    ----------
    device : as torch names it, cpu or cuda:N.
    fusing : how its streams' blocks are cut where they are fused kernels.

    Raises
    ------
    ShapeError
        If the net changes the image's size.
    WeightsError
        If a tensor is missing.
    DeviceError
        If the GPU fails, or has no memory left.
    """

    def __init__(
        self,
        config: NetConfig,
        tensors: Tensors,
        precision: Precision,
        device: str,
        fusing: Fusing | None = None,
    ) -> None:
        self.config, self.fusing = config, fusing
        self.device, self.dtype = torch.device(device), DTYPES[precision]
        self.layout = make_layout(config, config.stride_px)
        self.products: dict[str, ProductWeights] = {}
        self.blocks: dict[str, BlockWeights] = {}
        self.slopes: dict[str, Tensor] = {}
        """Of each layer with slopes below zero, (channels, 1, 1)."""
        self.third: dict[str, NDArray[np.float32]] = {}
        """On the host: each block's matrix that waits for the attention."""
        try:
            with translated(self.device):
                self.pool = TensorPool(weight_numbers(self.layout), self.dtype, self.device)
                self._fold(self.layout, tensors, self.pool)
        except MemoryError as error:
            if self.device.type == "cpu":
                raise
            raise DeviceError(
                f"device {device} has no memory left for the net; stop what else uses it, or use "
                "device cpu"
            ) from error
        except KeyError as error:
            raise WeightsError(f"the weights lack the tensor {error} of their net") from error
        assert self.pool.end == len(self.pool.data), "weight_numbers counts what is held"

    def _fold(self, layout: Layout, tensors: Tensors, pool: TensorPool) -> None:
        folder = ProductFolder(tensors, self.config, lanes=1)
        for stage in layout.stages:
            if isinstance(stage, Product):
                matrix, bias, *_ = folder.matrix(stage.name)
                self.products[stage.name] = _product(matrix, bias, pool)
            elif isinstance(stage, Pointwise):
                if stage.layer.activation == "prelu":
                    name, c = stage.layer.name, stage.layer.channels
                    self.slopes[name] = pool.put(tensors[f"{name}.slope"], (c, 1, 1))
            elif isinstance(stage, Block):
                self.blocks[stage.name] = self._block(tensors, stage.name, pool)
        w, bias = ending_of(tensors, self.config)
        matrix = np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(len(w), 3, -1)
        self.products["ending"] = _product(matrix, bias, pool)

    def _block(self, tensors: Tensors, name: str, pool: TensorPool) -> BlockWeights:
        block = fold_block(tensors, name)
        self.third[name] = block.third

        def whole(matrix: NDArray[np.float32]) -> Tensor:
            return pool.put(matrix, matrix.shape)

        def column(bias: NDArray[np.floating]) -> Tensor:
            return pool.put(bias, (len(bias), 1))

        return BlockWeights(
            whole(block.first),
            column(block.first_bias),
            pool.put(block.depthwise, (len(block.depthwise), 1, 3, 3)),
            pool.put(block.depthwise_bias, block.depthwise_bias.shape),
            column(block.third_bias),
            whole(block.fourth),
            column(block.fourth_bias),
            whole(block.fifth),
            column(block.fifth_bias),
        )

    def freeze(self, attention: Attention) -> dict[str, Tensor]:
        """Each block's matrix before the first residual with its channel factors folded in.

        Raises
        ------
        ShapeError
            If a block has no factors or the wrong number of them.
        """
        pool = TensorPool(frozen_numbers(self.layout), self.dtype, self.device)
        frozen = {}
        for name, matrix in self.third.items():
            factors = factors_of(attention, name, len(matrix))
            frozen[name] = pool.put(matrix * factors, matrix.shape)
        return frozen


def _product(
    matrix: NDArray[np.float32], bias: NDArray[np.float32], pool: TensorPool
) -> ProductWeights:
    held = pool.put(bias, (len(bias), 1))
    return ProductWeights(pool.put(matrix, matrix.shape), held if bias.any() else None)
