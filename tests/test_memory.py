"""The memory model, with dimensions that are distinct primes, so that a swapped factor shows."""

from __future__ import annotations

import pytest
from helpers import CONFIGS, compiled, frozen_attention

from unetmm.memory import (
    RUNTIME_BYTES,
    WORKER_BYTES,
    Pixels,
    Storage,
    frozen_bytes,
    project,
    slab_rows,
    weight_bytes,
)
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import parameter_count
from unetmm.stream.lanes import LANES
from unetmm.stream.layout import make_layout

CONFIG = NetConfig(3, 3, 8, (1, 1), 1, (1, 1))
HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS, WORKERS = 1009, 2003, 5, 2, 3, 7
READ_PX, WRITE_PX = 172, 131


def storage(rows: int, columns: int, resident: int, factor: int) -> Storage:
    return Storage((rows, columns), resident, lambda height, width: factor * height * width)


def test_terms_are_the_products_they_should_be() -> None:
    layout = make_layout(CONFIG, 12)
    pixels = Pixels(HEIGHT, WIDTH, SAMPLES, ITEMSIZE, NETS)
    terms = project(
        layout, LANES, pixels, storage(17, 19, 0, 11), storage(23, 29, 13, 31), WORKERS, READ_PX,
        WRITE_PX, calibration_bytes=0,
    )  # fmt: skip
    pixel = SAMPLES * ITEMSIZE
    assert terms.runtime == RUNTIME_BYTES + WORKERS * WORKER_BYTES
    assert terms.source == WORKERS * (17 * READ_PX * pixel + 11 * 17 * READ_PX)
    assert terms.sink == 13 + WORKERS * (23 * WRITE_PX * pixel + 31 * 23 * WRITE_PX)
    streams = terms.stream_state + terms.skip + terms.image_rows + terms.arena
    kept = WORKERS * (layout.lag_rows + 12) * WRITE_PX * pixel
    converted = WORKERS * 3 * 12 * READ_PX * 3 * 4
    assert streams - kept - converted == WORKERS * NETS * layout.stream_bytes(READ_PX, LANES)
    assert terms.skip == WORKERS * NETS * layout.skip_bytes(READ_PX, LANES)


def test_calibration_counts_only_where_it_exceeds_the_streams() -> None:
    layout, pixels = make_layout(CONFIG, 12), Pixels(HEIGHT, WIDTH, 3, 1, 1)
    args = (
        layout,
        LANES,
        pixels,
        storage(17, 19, 0, 0),
        storage(23, 29, 0, 0),
        1,
        READ_PX,
        WRITE_PX,
    )
    none, much = project(*args, 0), project(*args, 10**9)
    assert none.calibration == 0
    assert much.total == 10**9 + much.runtime + much.weights


def test_resident_sources_are_read_by_the_band() -> None:
    assert slab_rows(storage(HEIGHT, WIDTH, 1, 0), 16, HEIGHT) == 16
    assert slab_rows(storage(5, WIDTH, 0, 0), 16, HEIGHT) == 20
    assert slab_rows(storage(512, WIDTH, 0, 0), 16, HEIGHT) == 512
    assert slab_rows(storage(512, WIDTH, 0, 0), 16, 100) == 100


@pytest.mark.parametrize("name", CONFIGS)
def test_weight_bytes_hold_what_the_compiled_net_holds(name: str) -> None:
    config = CONFIGS[name]
    net = compiled(config)
    frozen = net.freeze(frozen_attention(config))
    packed = [p for pack in net.products.values() for p in pack] + list(frozen.values())
    packed += [net.ending] + [p for b in net.blocks.values() for p in (b.first, b.fourth, b.fifth)]
    arrays = [
        a
        for b in net.blocks.values()
        for a in (b.depthwise, b.depthwise_bias, b.project, b.project_bias, b.attention)
    ]
    held = sum(p.nbytes for p in packed) + sum(a.nbytes for a in arrays)
    held += 4 * parameter_count(config)
    layout = make_layout(config, config.stride_px)
    assert held == weight_bytes(config, layout, LANES) + frozen_bytes(layout, LANES)
