"""What torch operations cost in time: they wait for memory, so bytes are what is counted."""

from __future__ import annotations

from functools import lru_cache

from unetmm.engine.layout import FLOAT_BYTES, Block, Ending, Layout

BYTES_PER_S: dict[str, float] = {"cpu": 6e9, "cuda": 1e12}
"""Rate at which torch operations read and write maps on a core, or on a GPU (an H200)."""
PASSES = 12
"""Times that torch operations read and write a map, for each time that a kernel does."""
OPERATIONS = 16
"""Torch operations that a stage is made of."""
OPERATION_S = 8e-6
"""Fixed price of one of them."""


def compute_s(
    layout: Layout, where: str, item_bytes: int, rows: int, width_px: int, threads: int
) -> float:
    """Seconds of one stream over `rows` new rows of a strip; whole bands are computed."""
    steps = -(-(rows + layout.lag_rows) // layout.band_rows)
    computed_rows = steps * layout.band_rows  # a band that is begun is computed whole
    passes = PASSES * item_bytes / FLOAT_BYTES
    map_bytes = computed_rows * width_px * _map_bytes_per_px(layout) * passes
    seconds = map_bytes / BYTES_PER_S[where] / threads
    return seconds + steps * len(layout.stages) * OPERATIONS * OPERATION_S


@lru_cache(maxsize=64)
def _map_bytes_per_px(layout: Layout) -> float:
    """Bytes that the stages read and write, for each image pixel."""
    made = [
        s.ring if isinstance(s, Block) else s.target
        for s in layout.stages
        if not isinstance(s, Ending)
    ]
    return sum(2 * FLOAT_BYTES * ring.channels / ring.scale**2 for ring in made)
