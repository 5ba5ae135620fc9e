"""Time of a net's matrix products by themselves: the bound that the row stream approaches.

Depthwise convolutions, normalisation and gates are not counted: they are what the stream has to
hide. Each product has the shape it has in the net, all threads are busy, and the faster of
torch.addmm and the stream's own product counts, each with the number of pixels that suits it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.compiled import aligned_zeros
from unetmm.engine.cpu.kernels import matmul
from unetmm.engine.precision import Precision
from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig
from unetmm.nets.layers import map_shapes
from unetmm.nets.shapes import macs_per_px, tensor_shapes

SAMPLE_S = 0.01
"""Shortest time of a measurement, about."""
TRIES = 3
"""Measurements of a product, of which the fastest counts."""
OWN_PIXELS = (64, 256)
"""Pixels that go through the stream's own product at once."""
ADDMM_PIXELS = (256, 2048)
"""Pixels that go through torch.addmm at once."""

BLOCK_PRODUCTS = "conv1", "conv3", "conv4", "conv5"

Calls = Callable[[int], None]
"""Function that computes a product a given number of times."""


@dataclass(frozen=True)
class MatrixProduct:
    """A convolution of the net as the matrix product that it is."""

    depth: int
    outputs: int
    per_px: float
    """Pixels of its output per image pixel."""
    in_block: bool
    """Whether it is a block's 1x1, which may be in bfloat16."""

    @property
    def macs_per_px(self) -> float:
        """Multiply-adds per image pixel."""
        return self.depth * self.outputs * self.per_px


def matrix_products(config: NetConfig) -> list[MatrixProduct]:
    """Every convolution of the net except the depthwise ones and channel attention."""
    if config.layers:
        return _layer_products(config)
    found = []
    is_nafnet = config.body == "nafnet"
    left_out = ("beta", "gamma", ".conv2.weight") if is_nafnet else ()
    for name, shape in tensor_shapes(config).items():
        if len(shape) != 4 or name.endswith(left_out) or ".sca." in name:
            continue
        n, c, height, width = shape
        depth, outputs = c * height * width, n
        if name.startswith("ups.") and not is_nafnet:  # transposed: a pixel becomes four
            depth, outputs = n, c * height * width
        in_block = is_nafnet and name.split(".")[-2] in BLOCK_PRODUCTS
        found.append(MatrixProduct(depth, outputs, 0.25 ** _halvings(name, config), in_block))
    return found


def _layer_products(config: NetConfig) -> list[MatrixProduct]:
    """The convolutions of a net that is a list of layers."""
    maps, found = map_shapes(config.layers, config.in_channels), []
    for layer in config.layers:
        if layer.kind == "conv":
            depth = layer.kernel**2 * sum(maps[s].channels for s in layer.sources)
            outputs = layer.channels * layer.enlarge**2
            scale = maps[layer.sources[0]].scale * layer.stride
            found.append(MatrixProduct(depth, outputs, 1 / scale**2, in_block=False))
    return found


def depthwise_share(config: NetConfig) -> float:
    """Share of the net's multiply-adds that are in depthwise convolutions."""
    return 1 - sum(p.macs_per_px for p in matrix_products(config)) / macs_per_px(config)


def _halvings(name: str, config: NetConfig) -> int:
    """How often the image was halved where a layer's output is."""
    kind, *rest = name.split(".")
    index = next((int(part) for part in rest if part.isdigit()), 0)
    levels = config.levels
    if name.startswith("msiam.fusion"):
        assert config.aggregate is not None
        return config.aggregate.scale.bit_length() - 1
    return {
        "encoders": index,
        "iems": index,
        "msiam": index,
        "downs": index + 1,
        "ups": levels - index,
        "decoders": levels - 1 - index,
        "middle_blks": levels,
    }.get(kind, 0)


def seconds_per_mpx(config: NetConfig, threads: int, precision: Precision = "fp32") -> float:
    """Time of all matrix products of a megapixel, each at its own measured rate.

    precision : of the blocks' 1x1s; all others are float32.
    """
    ways = [
        (p, (p.depth, p.outputs, precision if p.in_block else "fp32"))
        for p in matrix_products(config)
    ]
    with ThreadPoolExecutor(threads) as pool:
        rates = {way: _rate(*way, threads, pool) for way in {way for _, way in ways}}
    return sum(product.macs_per_px * 1e6 / rates[way] for product, way in ways)


def _rate(
    depth: int, outputs: int, precision: str, threads: int, pool: ThreadPoolExecutor
) -> float:
    """Multiply-adds a second of the fastest way to do one product, on all threads together."""
    ways = [(_addmm, pixels) for pixels in ADDMM_PIXELS] + [(_own, p) for p in OWN_PIXELS]
    best = 0.0
    for make, pixels in ways:
        workers = [make(depth, outputs, pixels, precision) for _ in range(threads)]
        seconds = _seconds_of_one(workers, pool)
        best = max(best, threads * pixels * depth * outputs / seconds)
    return best


def _seconds_of_one(workers: list[Calls], pool: ThreadPoolExecutor) -> float:
    """Seconds of one call, while every thread does the same."""

    def together(times: int) -> float:
        start = time.perf_counter()
        list(pool.map(lambda worker: worker(times), workers))
        return time.perf_counter() - start

    together(1)
    times = 1
    while (seconds := together(times)) < SAMPLE_S:
        times = max(2 * times, int(times * SAMPLE_S / max(seconds, 1e-6)))
    return min(seconds, *(together(times) for _ in range(TRIES - 1))) / times


def _addmm(depth: int, outputs: int, pixels: int, precision: str) -> Calls:
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    shapes = (outputs,), (pixels, depth), (depth, outputs), (pixels, outputs)
    bias, x, w, out = (torch.randn(shape).to(dtype) for shape in shapes)

    def work(times: int) -> None:
        for _ in range(times):
            torch.addmm(bias, x, w, out=out)

    return work


def _own(depth: int, outputs: int, pixels: int, precision: str) -> Calls:
    n = round_up(outputs, LANES)
    rng = np.random.default_rng(0)
    x, w, b, out = (aligned_zeros(size) for size in (pixels * depth, depth * n, n, pixels * n))
    for array in (x, w, b):
        array[:] = rng.standard_normal(array.size)
    starts, weights = np.zeros(1, np.int64), w
    if precision == "bf16":
        # Pairs of bfloat16 are the upper halves of float32s; twice as many fit.
        for array in (x, w):
            array.view(np.uint16)[::2] = array.view(np.uint16)[1::2]
        weights, depth = w.view(np.int32), depth // 2

    def work(times: int) -> None:
        _repeat(x, starts, depth, weights, b, out, n, pixels, times)

    return work


@cached_on_disk
@njit(**INLINE)  # type: ignore[untyped-decorator, unused-ignore]
def _repeat(
    x: Any, starts: Any, depth: int, w: Any, b: Any, out: Any, n: int, pixels: int, times: int
) -> None:
    for _ in range(times):
        matmul(x, starts, 1, depth, depth, w, 0, b, 0, out, 0, n, n, pixels, False)
