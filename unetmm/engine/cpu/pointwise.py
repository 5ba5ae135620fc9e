"""The compiled stage that makes values one by one: sums, products and activations of maps.

Each function of ACTIVATIONS is the same operations for a value wherever it lies.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from unetmm.compiling.flags import INLINE
from unetmm.engine.cpu.kernels import rectify
from unetmm.engine.cpu.tables import (
    ACTIVATION,
    BAND,
    LAG,
    MULTIPLIES,
    NUMBERS,
    OTHER,
    PADDED,
    PIXELS,
    SOURCE,
    TARGET,
    written,
)
from unetmm.nets.layers import ACTIVATIONS

RELU, LEAKY, PRELU, SIGMOID, SILU, GELU, TANH, CLIP, ERF = range(1, 10)
assert ACTIVATIONS[RELU] == "relu" and ACTIVATIONS[ERF] == "erf", "numbered as they are listed"
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
ROOT_HALF = np.float32(math.sqrt(0.5))


@njit(**INLINE)
def pointwise(stage, rings, memory, weights, step, begin, stop, cells):
    """Values of a band for the cells of columns from `begin` to `stop`."""
    source, target, other = stage[SOURCE], stage[TARGET], stage[OTHER]
    c, numbers = rings[target, PADDED], stage[NUMBERS]
    cell_px = rings[target, PIXELS] // cells
    first, count = begin * cell_px * c, (stop - begin) * cell_px * c
    a, b, shift = weights[numbers], weights[numbers + 1], weights[numbers + 2]
    low, high = weights[numbers + 3], weights[numbers + 4]
    is_plain = a == ONE and shift == ZERO
    for j in range(step * stage[BAND] - stage[LAG], (step + 1) * stage[BAND] - stage[LAG]):
        to = written(rings, target, j)
        if to < 0:
            continue
        to += first
        x = written(rings, source, j) + first
        if other >= 0:
            y = written(rings, other, j) + first
            if stage[MULTIPLIES]:
                for k in range(count):
                    memory[to + k] = memory[x + k] * memory[y + k]
            else:
                for k in range(count):
                    memory[to + k] = a * memory[x + k] + b * memory[y + k] + shift
        elif x != to or not is_plain:
            for k in range(count):
                memory[to + k] = a * memory[x + k] + shift
        activate(memory, to, count, c, stage[ACTIVATION], low, high, weights, numbers + 5)


@njit(**INLINE)
def activate(x, at, count, c, kind, low, high, weights, slopes):
    """Apply a function to `count` floats, pixels of c channels, in place."""
    if kind == RELU:
        rectify(x, at, count)
    elif kind == LEAKY:
        for k in range(at, at + count):
            x[k] = max(x[k], ZERO) + low * min(x[k], ZERO)
    elif kind == PRELU:
        for p in range(at, at + count, c):
            for k in range(c):
                x[p + k] = max(x[p + k], ZERO) + weights[slopes + k] * min(x[p + k], ZERO)
    elif kind == SIGMOID:
        for k in range(at, at + count):
            x[k] = ONE / (ONE + np.float32(math.exp(-x[k])))
    elif kind == SILU:
        for k in range(at, at + count):
            x[k] = x[k] / (ONE + np.float32(math.exp(-x[k])))
    elif kind == GELU:
        for k in range(at, at + count):
            x[k] = HALF * x[k] * (ONE + np.float32(math.erf(x[k] * ROOT_HALF)))
    elif kind == TANH:
        for k in range(at, at + count):
            x[k] = np.float32(math.tanh(x[k]))
    elif kind == CLIP:
        for k in range(at, at + count):
            x[k] = min(max(x[k], low), high)
    elif kind == ERF:
        for k in range(at, at + count):
            x[k] = np.float32(math.erf(x[k]))
