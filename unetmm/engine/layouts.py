"""The layout of any net, made once and shared by all who ask for it."""

from __future__ import annotations

from functools import lru_cache

from unetmm.engine.layout import Layout
from unetmm.engine.walk import Walk
from unetmm.engine.walk_layers import LayersWalk
from unetmm.engine.walk_nafnet import NAFNetWalk
from unetmm.engine.walk_unet import UNetWalk
from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig

WALKS: dict[str, type[Walk]] = {"nafnet": NAFNetWalk, "unet": UNetWalk, "layers": LayersWalk}
"""Name of a body -> walk through its nets."""
LEAST_BAND_ROWS = 4
"""Rows of a band at least, also of nets whose stride is less."""


@lru_cache(maxsize=256)
def make_layout(config: NetConfig, band_rows: int) -> Layout:
    """Stages and rings of `config` for bands of `band_rows` rows, a multiple of its stride."""
    return WALKS[config.body](config, band_rows).build()


@lru_cache(maxsize=64)
def observing_layout(config: NetConfig, height_px: int) -> Layout:
    """A layout whose band holds a whole patch and all its lag: one step does every row of it.

    A net without blocks has nothing to be observed, so its patches go through in ordinary bands.
    """
    stride = config.stride_px
    layout = make_layout(config, stride)
    if not layout.blocks:
        return make_layout(config, round_up(LEAST_BAND_ROWS, stride))
    band = round_up(height_px + 2 * layout.lag_rows, stride)
    layout = WALKS[config.body](config, band).build()
    for ring in layout.rings:
        ring.map_rows = height_px // ring.scale
    return layout
