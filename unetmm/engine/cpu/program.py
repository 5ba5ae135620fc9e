"""A layout and a compiled net as the tables of integers that `stages.run_stages` carries out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.compiling.processor import LANES
from unetmm.engine.cpu import tables as st
from unetmm.engine.cpu.compiled import CompiledNet, pointwise_name
from unetmm.engine.cpu.footprint import BATCH_PX, MemoryMap, panel_px, parts, scratch_floats
from unetmm.engine.layout import (
    Block,
    Ending,
    Guide,
    Layout,
    MaxPool,
    Pointwise,
    Product,
    Stage,
    padded,
)
from unetmm.nets.layers import ACTIVATIONS, BORDERS

Table = NDArray[np.int64]


def ring_table(layout: Layout, places: MemoryMap, width_px: int, height_px: int) -> Table:
    """One row per ring, see the columns in `tables`."""
    table = np.zeros((len(layout.rings), 8), np.int64)
    for row, ring in zip(table, layout.rings, strict=True):
        channels = padded(ring.channels, LANES, ring)
        row[st.BASE], row[st.COUNT] = places.rings[ring.name], ring.rows
        row[st.ROW] = ring.row_floats(width_px, LANES)
        row[st.HEIGHT], row[st.PIXELS] = height_px // ring.scale, width_px // ring.scale
        row[st.EDGE], row[st.PADDED], row[st.SCALE] = ring.pad_px * channels, channels, ring.scale
    return table


def stage_table(
    layout: Layout, net: CompiledNet, places: MemoryMap, in_parts: bool = True
) -> Table:
    """One row per stage, see the columns in `tables`; in_parts: see `footprint.parts`."""
    room = scratch_floats(layout, LANES)[st.TAPS_AT]
    table = np.zeros((len(layout.stages), st.COLUMNS), np.int64)
    numbers = {ring.name: i for i, ring in enumerate(layout.rings)}
    for row, stage in zip(table, layout.stages, strict=True):
        row[st.LAG] = stage.lag
        _FILL[type(stage)](row, stage, net, places, numbers)
        row[st.PARTS] = parts(layout, stage) if in_parts else 1
        row[st.BAND] //= row[st.PARTS]
        if isinstance(stage, Block):
            row[st.ROOM] = room
    return table


def _product(
    row: Table, stage: Stage, net: CompiledNet, places: MemoryMap, numbers: dict[str, int]
) -> None:
    assert isinstance(stage, Product)
    row[st.KIND] = st.PRODUCT
    row[st.SOURCE], row[st.TARGET] = numbers[stage.source.name], numbers[stage.target.name]
    row[st.BAND] = stage.target.band // stage.repeat
    row[st.STEP], row[st.TAPS], row[st.PAD] = stage.step, stage.taps, stage.pad
    row[st.REPEAT], row[st.ACCUMULATE] = stage.repeat, stage.accumulate
    row[st.RECTIFY], row[st.BORDER] = stage.rectify, BORDERS.index(stage.border)
    # The image's columns are there before any thread begins.
    row[st.MEETS] = stage.pad > 0 and stage.source.name != "image"
    row[[st.W, st.W_SIZE, st.B, st.B_SIZE]] = net.places[stage.name]


def _pool(
    row: Table, stage: Stage, net: CompiledNet, places: MemoryMap, numbers: dict[str, int]
) -> None:
    assert isinstance(stage, MaxPool)
    row[st.KIND], row[st.BAND] = st.POOL, stage.target.band
    row[st.SOURCE], row[st.TARGET] = numbers[stage.source.name], numbers[stage.target.name]


def _pointwise(
    row: Table, stage: Stage, net: CompiledNet, places: MemoryMap, numbers: dict[str, int]
) -> None:
    assert isinstance(stage, Pointwise)
    rings = [numbers[source.name] for source in stage.sources]
    row[st.KIND], row[st.BAND] = st.POINTWISE, stage.target.band
    row[st.SOURCE], row[st.TARGET] = rings[0], numbers[stage.target.name]
    row[st.OTHER], row[st.MULTIPLIES] = (*rings, -1)[1], stage.multiplies
    row[st.ACTIVATION] = ACTIVATIONS.index(stage.layer.activation)
    row[st.NUMBERS] = net.places[pointwise_name(stage)][0]


def _block(
    row: Table, stage: Stage, net: CompiledNet, places: MemoryMap, numbers: dict[str, int]
) -> None:
    assert isinstance(stage, Block)
    row[st.KIND] = st.BLOCK
    row[st.SOURCE] = row[st.TARGET] = numbers[stage.ring.name]
    row[st.BAND], row[st.CHANNELS] = stage.ring.band, stage.channels
    row[st.PANEL], row[st.BATCH] = panel_px(stage, LANES), BATCH_PX
    row[st.KEPT] = places.kept[stage.name]
    shared = [st.MASK, st.W1, st.B1, st.W2, st.B2, st.W4, st.B4, st.W5, st.B5]
    row[shared], row[[st.W3, st.B3]] = net.places[stage.name], net.third[stage.name]


def _guide(
    row: Table, stage: Stage, net: CompiledNet, places: MemoryMap, numbers: dict[str, int]
) -> None:
    assert isinstance(stage, Guide)
    row[st.KIND] = st.GUIDE
    row[st.SOURCE], row[st.TARGET] = numbers[stage.aggregate.name], numbers[stage.target.name]
    row[st.BAND], row[st.IMAGE] = stage.aggregate.band, numbers[stage.image.name]
    row[st.SHARED] = stage.aggregate.channels // stage.aggregate.scale**2


def _ending(
    row: Table, stage: Stage, net: CompiledNet, places: MemoryMap, numbers: dict[str, int]
) -> None:
    assert isinstance(stage, Ending)
    row[st.KIND], row[st.MEETS] = st.ENDING, True
    row[st.SOURCE], row[st.BAND] = numbers[stage.source.name], stage.source.band
    row[st.IMAGE] = -1 if stage.image is None else numbers[stage.image.name]
    row[[st.W, st.B]] = net.places["ending"]


_FILL = {
    Product: _product,
    MaxPool: _pool,
    Pointwise: _pointwise,
    Block: _block,
    Guide: _guide,
    Ending: _ending,
}
