"""Peak memory of adapting a net, known before a pixel is read."""

from __future__ import annotations

from unetmm.errors import BudgetError
from unetmm.io.image import Source
from unetmm.nets.config import NetConfig
from unetmm.nets.layers import map_shapes
from unetmm.nets.shapes import parameter_count
from unetmm.sizes import default_budget_bytes, format_size
from unetmm.train.blocks import BATCH, BLOCK_PX, HELD_OUT, POOL

RUNTIME_BYTES = 450 * 2**20
"""Memory of Python, torch and the image libraries."""
FLOAT_BYTES = 4
COPIES = 8
"""Copies of the parameters: net, start, average, gradients, two moments, the best, its writing."""
MAPS = 20
"""Feature maps that a training step keeps of one body block."""


def check_budget(source: Source, config: NetConfig, budget_bytes: int | None) -> int:
    """Projected peak of an adaptation in bytes; refuses one beyond the budget.

    Raises
    ------
    BudgetError
        If it is more than the budget.
    """
    budget = budget_bytes or default_budget_bytes()
    needed = projected_bytes(source, config)
    if needed > budget:
        raise BudgetError(
            f"budget {format_size(budget)} is too small to adapt a net of "
            f"{parameter_count(config):,} parameters to this image: it needs {format_size(needed)}",
            budget_bytes=budget,
            needed_bytes=needed,
        )
    return needed


def projected_bytes(source: Source, config: NetConfig) -> int:
    """Peak memory of adapting: source, blocks, and a net with gradients, moments and averages."""
    block_px = BLOCK_PX**2
    blocks = (POOL + 2 * HELD_OUT) * block_px * config.in_channels * FLOAT_BYTES
    read = source.read_bytes(BLOCK_PX, BLOCK_PX)
    weights = COPIES * FLOAT_BYTES * parameter_count(config)
    activations = int(BATCH * block_px * FLOAT_BYTES * _activation_floats_per_px(config))
    return RUNTIME_BYTES + source.resident_bytes + read + blocks + weights + activations


def _activation_floats_per_px(config: NetConfig) -> float:
    """About what a training step keeps, in floats per image pixel: MAPS for each block or layer."""
    if config.layers:
        maps = map_shapes(config.layers, config.in_channels).values()
        return MAPS * sum(each.channels / each.scale**2 for each in maps)
    counts = [
        e + d for e, d in zip(config.encoder_blocks, reversed(config.decoder_blocks), strict=True)
    ]
    if config.aggregate is not None:
        counts = [n + e for n, e in zip(counts, config.aggregate.enhance_blocks, strict=True)]
    levels = zip(counts, config.level_channels, config.level_scales, strict=True)
    middle = config.middle_blocks * (config.width << config.levels) / config.stride_px**2
    return MAPS * (middle + sum((n + 1) * c / s**2 for n, c, s in levels))
