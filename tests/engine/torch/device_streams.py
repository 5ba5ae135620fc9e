"""Nets, streams and images that the tests of the torch engine share."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from helpers import frozen_attention, lively_model, lively_net, reference

from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.precision import Precision
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.folded import FoldedNet
from unetmm.engine.torch.stream import TorchStream
from unetmm.nets.config import NetConfig

TOLERANCE = 2e-6
"""Share of the output's range that float32 sums in another order may change."""
HALF_TOLERANCE: dict[Precision, float] = {"fp16": 4e-3, "bf16": 4e-2}
"""Shares of the output's range for maps in 11 and in 8 significant bits, with random weights."""
ON_CPU = TorchEngine(CpuEngine(), "fp32")
GPU = TorchEngine(CpuEngine(), "fp32", 1, "Some GPU", 40 * 10**9)
torch.set_num_threads(1)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")


@cache
def net_of(config: NetConfig, where: TorchEngine) -> FoldedNet:
    tensors = lively_model(config).tensors
    return FoldedNet(config, tensors, where.precision, where.device, where.fusing)


def stream_of(
    config: NetConfig, height: int, width: int, band: int, where: TorchEngine = ON_CPU
) -> TorchStream:
    return TorchStream(net_of(config, where), frozen_attention(config), width, height, band)


def image_of(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, height, width)).random(
        (height, width, channels), np.float32
    )


def expected_of(config: NetConfig, image: np.ndarray) -> np.ndarray:
    return reference(lively_net(config), image, frozen_attention(config))


def restored(stream: TorchStream, image: np.ndarray, rows: int) -> np.ndarray:
    bands = []
    for y in range(0, len(image), rows):
        bands += [band.copy() for band in stream.push(image[y : y + rows])]
    return np.concatenate(bands + [band.copy() for band in stream.flush()])
