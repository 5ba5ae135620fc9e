"""The memory model, with dimensions that are distinct primes, so that a swapped factor shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import CONFIGS, compiled, frozen_attention, lively_model

from unetmm.compiling.processor import LANES
from unetmm.engine.contract import THREAD_BYTES, Pixels
from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.cpu.footprint import (
    LINE_FLOATS,
    frozen_bytes,
    observing_bytes,
    packed_bytes,
    scratch_bytes,
    skip_bytes,
    stream_bytes,
)
from unetmm.engine.layout import Layout
from unetmm.engine.layouts import make_layout, observing_layout
from unetmm.intensities.brackets import box_px
from unetmm.intensities.guard import guard_bytes
from unetmm.intensities.outliers import REACH_PX
from unetmm.io.open import open_source
from unetmm.nets.config import NetConfig, nafnet32_config
from unetmm.plan.memory import (
    RUNTIME_BYTES,
    WORKER_BYTES,
    Storage,
    loading_bytes,
    project,
    slab_rows,
    source_storage,
)

CONFIG = NetConfig(13, 13, 11, (1, 1), 1, (1, 1))
WITHOUT_RESIDUAL = replace(CONFIG, out_channels=17)
HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS, WORKERS, THREADS = 1009, 2003, 5, 2, 3, 7, 37
READ_PX, WRITE_PX, BAND = 4 * 43, 131, 4 * 41
SOURCE_ROWS, SINK_ROWS = 167, 23
HELD, RESIDENT = 61, 67


def storage(rows: int, columns: int, resident: int, factor: int) -> Storage:
    return Storage((rows, columns), resident, lambda height, width: factor * height * width)


@pytest.mark.parametrize("config", [CONFIG, WITHOUT_RESIDUAL])
def test_terms_are_the_products_they_should_be(config: NetConfig) -> None:
    """No two dimensions share a factor beyond the net's stride."""
    layout = make_layout(config, BAND)
    pixels = Pixels(HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS)
    terms, _ = project(
        CpuEngine(), layout, pixels, storage(SOURCE_ROWS, 19, 0, 11),
        storage(SINK_ROWS, 29, RESIDENT, 31), WORKERS, THREADS, READ_PX, WRITE_PX,
        calibration_bytes=0, held_bytes=HELD,
    )  # fmt: skip
    pixel, live = SAMPLES * ITEMSIZE, WORKERS * NETS
    kept = WORKERS * (layout.lag_rows + BAND) * WRITE_PX * pixel
    converted = WORKERS * 3 * BAND * READ_PX * config.in_channels * 4
    image_px = READ_PX + 2
    assert terms.runtime == (
        RUNTIME_BYTES + HELD + WORKERS * WORKER_BYTES + live * (THREADS - 1) * THREAD_BYTES
    )
    assert terms.source == WORKERS * SOURCE_ROWS * READ_PX * (2 * pixel + 11)
    guard = guard_bytes(BAND, WRITE_PX, SAMPLES // NETS, NETS)
    written = SINK_ROWS * WRITE_PX * (2 * pixel + 31)
    assert terms.sink == RESIDENT + WORKERS * (written + guard)
    assert terms.skip == live * skip_bytes(layout, READ_PX, LANES)
    rows = layout.rings[0].rows + 1
    ring = rows * image_px * config.in_channels * 4
    mirrored = 2 * 3 * READ_PX * config.in_channels * 4  # twice a row less than the stride, 4
    assert terms.image_rows == kept + live * (ring + mirrored)
    assert terms.arena == converted + live * (
        THREADS * scratch_bytes(layout, LANES) + BAND * READ_PX * config.out_channels * 4
    )
    streams = terms.stream_state + terms.skip + terms.image_rows + terms.arena
    in_streams = live * stream_bytes(layout, READ_PX, LANES, THREADS)
    assert streams - kept - converted == in_streams + live * mirrored
    assert terms.weights == (packed_bytes(layout, LANES) + live * frozen_bytes(layout, LANES))


def test_maps_count_what_is_written_and_no_image() -> None:
    config = replace(CONFIG, out_channels=17, gives="map")
    layout, written = make_layout(config, BAND), 4
    image = Pixels(HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS)
    maps = replace(image, maps=NETS * 17, written_itemsize=written, may_have_gaps=True)
    terms, of_image = (
        project(
            CpuEngine(), layout, pixels, storage(SOURCE_ROWS, 19, 0, 11),
            storage(SINK_ROWS, 29, RESIDENT, 31), WORKERS, THREADS, READ_PX, WRITE_PX, 0,
        )[0]
        for pixels in (maps, replace(image, may_have_gaps=True))
    )  # fmt: skip
    buffers = SINK_ROWS * WRITE_PX * (2 * NETS * 17 * written + 31)
    assert terms.sink == RESIDENT + WORKERS * buffers
    kept = WORKERS * (layout.lag_rows + BAND) * WRITE_PX
    assert of_image.image_rows - terms.image_rows == kept * (SAMPLES * ITEMSIZE - NETS)


def test_a_streams_bytes_are_those_of_its_maps_worked_out_by_hand() -> None:
    """One level, so that every lag can be counted: intro 1, each block 1, the ending 1 more."""
    config = NetConfig(13, 17, 11, (1,), 1, (1,))
    width, band, threads = 2 * 43, 2 * 41, 5
    layout = make_layout(config, band)

    def whole(channels: int) -> int:
        return -(-channels // LANES) * LANES

    fine, coarse = whole(11), whole(22)
    parts = [
        (band + 2 + 1) * (width + 2) * 13,  # the image, which the intro reads around its row
        # Written 1 row behind, read by the ending 7 rows behind; a row of zeros.
        (band + 6 + 1) * (width + 2) * fine,
        # Written 1 row behind, read 2 rows behind.
        (band // 2 + 1 + 1) * (width // 2) * coarse,
        *[2 * width * 2 * fine] * 2,  # kept by the encoder's and the decoder's block
        2 * (width // 2) * 2 * coarse,
        band * width * 17,
    ]
    lines = sum(-(-n // LINE_FLOATS) * LINE_FLOATS for n in parts) + LINE_FLOATS
    expected = 4 * lines + threads * scratch_bytes(layout, LANES)
    assert stream_bytes(layout, width, LANES, threads) == expected


def test_calibration_counts_only_where_it_exceeds_the_streams() -> None:
    layout, pixels = make_layout(CONFIG, 12), Pixels(HEIGHT, WIDTH, 3, 1, 1)
    args = (
        CpuEngine(),
        layout,
        pixels,
        storage(17, 19, 0, 0),
        storage(23, 29, 0, 0),
        1,
        1,
        READ_PX,
        WRITE_PX,
    )
    none, much = project(*args, 0)[0], project(*args, 10**9)[0]
    assert none.calibration == 0
    assert much.total == 10**9 + much.runtime + much.weights


def test_loading_a_net_counts_where_it_exceeds_the_streams() -> None:
    """The tensors are folded and given back before the first strip is live."""
    config = nafnet32_config()
    layout, pixels = make_layout(config, 16), Pixels(HEIGHT, WIDTH, 3, 1, 1)
    nothing = storage(17, 19, 0, 0)
    terms, _ = project(CpuEngine(), layout, pixels, nothing, nothing, 1, 1, 16, 16, 0)
    assert terms.total == loading_bytes(config) + terms.runtime + terms.weights


def test_rows_that_cost_nothing_more_are_read_by_the_band() -> None:
    assert slab_rows(replace(storage(HEIGHT, WIDTH, 1, 0), by_row=True), 16, HEIGHT) == 16
    assert slab_rows(storage(5, WIDTH, 0, 0), 16, HEIGHT) == 20
    assert slab_rows(storage(512, WIDTH, 0, 0), 16, HEIGHT) == 512
    assert slab_rows(storage(512, WIDTH, 0, 0), 16, 100) == 100


def test_compressed_tiles_are_read_whole_and_plain_ones_by_row(tmp_path: Path) -> None:
    pixels = np.arange(96 * 64, dtype=np.uint16).reshape(96, 64)
    for compression, by_row in ((None, True), ("zlib", False)):
        tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(32, 32), compression=compression)
        source = open_source(tmp_path / "a.tif")
        assert source_storage(source).by_row == by_row
        source.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_bytes_are_what_the_compiled_net_holds(name: str) -> None:
    config = CONFIGS[name]
    net = compiled(config)
    layout = make_layout(config, config.stride_px)
    blocks = net.blocks.values()
    held = sum(b.project.nbytes + b.attention.nbytes for b in blocks)
    line = LINE_FLOATS * 4  # room to start on a cache line
    assert net.weights.nbytes + line + held == packed_bytes(layout, LANES)
    frozen = net.freeze(frozen_attention(config))
    assert frozen.nbytes + line == frozen_bytes(layout, LANES)
    assert loading_bytes(config) > sum(t.nbytes for t in lively_model(config).tensors.values())


def test_wider_ranges_cost_every_worker_a_stream_of_boxes() -> None:
    layout, pixels = make_layout(CONFIG, BAND), Pixels(HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS)
    nothing = storage(SOURCE_ROWS, 19, 0, 0)
    args = (CpuEngine(), layout, pixels, nothing, nothing, WORKERS, 1, READ_PX, WRITE_PX, 0)
    without, terms = project(*args)[0], project(*args, exceeds=True)[0]
    most_px = box_px(CONFIG.stride_px)
    observing = observing_layout(CONFIG, most_px)
    stream = observing_bytes(observing, most_px, most_px, LANES, 1)
    assert without.excess == 0
    assert terms.excess > WORKERS * NETS * stream
    assert terms.total == without.total + terms.excess


def test_the_search_for_outliers_holds_back_rows() -> None:
    layout, pixels = make_layout(CONFIG, BAND), Pixels(HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS)
    source = storage(SOURCE_ROWS, 19, 0, 0)
    args = (CpuEngine(), layout, pixels, source, source, WORKERS, 1, READ_PX, WRITE_PX, 0)
    without, terms = project(*args)[0], project(*args, searches=True)[0]
    wide_px = READ_PX + 2 * REACH_PX
    windows = 4 * (REACH_PX + BAND) * wide_px * SAMPLES * 4
    held = (REACH_PX + 3 * BAND) * wide_px * SAMPLES * ITEMSIZE
    under_way = (layout.lag_rows + BAND) * WRITE_PX * SAMPLES
    assert without.outliers == 0
    assert terms.outliers > WORKERS * (windows + held + under_way)
    assert terms.source - without.source == (
        WORKERS * 2 * SOURCE_ROWS * 2 * REACH_PX * SAMPLES * ITEMSIZE
    )
    assert terms.total == without.total + terms.outliers + terms.source - without.source


def test_opacity_of_a_larger_output_is_kept_with_its_surroundings() -> None:
    larger = replace(CONFIG, in_channels=4, out_channels=4, output_scale=3)
    layout, clear = make_layout(larger, BAND), Pixels(HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS)
    nothing = storage(SOURCE_ROWS, 19, 0, 0)

    def total(layout: Layout, pixels: Pixels) -> int:
        args = (CpuEngine(), layout, pixels, nothing, nothing, WORKERS, 1, READ_PX, WRITE_PX, 0)
        return project(*args)[0].total

    more = total(layout, replace(clear, alpha=True)) - total(layout, clear)
    assert more > WORKERS * ITEMSIZE * (layout.lag_rows + BAND) * WRITE_PX
    assert more > WORKERS * ITEMSIZE * BAND * WRITE_PX * 3**2
    same = make_layout(CONFIG, BAND)
    assert total(same, replace(clear, alpha=True)) == total(same, clear)
