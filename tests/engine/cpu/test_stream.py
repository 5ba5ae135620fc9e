"""The row stream equals the reference forward, for every net, size and cut."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from helpers import (
    CONFIGS,
    SMALL_UNETMM,
    assert_close,
    attention_blocks,
    compiled,
    frozen_attention,
    lively_net,
    reference,
    stream_image,
)
from hypothesis import given
from hypothesis import strategies as st

from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import stream_bytes
from unetmm.engine.cpu.shares import Shares
from unetmm.engine.cpu.stream import ObservingStream, RowStream
from unetmm.engine.layouts import make_layout
from unetmm.errors import ShapeError
from unetmm.nets.config import NetConfig, nafnet32_config, tiny_config

TOLERANCE = 2e-6
"""Share of the output's range; float32 sums in another order."""


def image_of(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, height, width)).random(
        (height, width, channels), np.float32
    )


def check(name: str, height: int, width: int, **cut: int) -> None:
    check_net(CONFIGS[name], height, width, **cut)


def check_net(config: NetConfig, height: int, width: int, **cut: int) -> None:
    image = image_of(height, width, config.in_channels)
    expected = reference(lively_net(config), image, frozen_attention(config))
    found = stream_image(config, image, **cut)
    assert_close(found, expected, TOLERANCE * max(1.0, float(np.ptp(expected))))


SAME_CHANNELS = [n for n, c in CONFIGS.items() if c.in_channels == c.out_channels]


@pytest.mark.parametrize("name", SAME_CHANNELS)
@pytest.mark.parametrize(
    ("height", "width", "note"),
    [
        (1, 1, "a single pixel"),
        (5, 7, "smaller than the stride"),
        (16, 16, "exactly a band"),
        (61, 59, "primes"),
        (33, 17, "one pixel more than bands and strides"),
        (97, 8, "narrower than the halo"),
    ],
)
def test_stream_equals_reference_on_awkward_sizes(
    name: str, height: int, width: int, note: str
) -> None:
    check(name, height, width, band_rows=16)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_net_without_blocks(threads: int) -> None:
    """Each thread's sums once lay in the same place, beyond the end of the memory."""
    check_net(NetConfig(1, 1, 16, (0, 0), 0, (0, 0)), 64, 256, band_rows=16, threads=threads)


@given(
    name=st.sampled_from(SAME_CHANNELS),
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    bands=st.sampled_from([1, 2, 8]),
    strips=st.integers(1, 5),
    segments=st.integers(1, 4),
)
def test_stream_equals_reference_for_any_cut(
    name: str, height: int, width: int, bands: int, strips: int, segments: int
) -> None:
    band_rows = bands * CONFIGS[name].stride_px
    check(name, height, width, band_rows=band_rows, strips=strips, segments=segments)


@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    bands=st.sampled_from([1, 3, 16]),
    strips=st.integers(2, 6),
    segments=st.integers(1, 4),
)
def test_result_does_not_change_by_a_bit_with_the_cut(
    height: int, width: int, bands: int, strips: int, segments: int
) -> None:
    image = image_of(height, width, 3)
    whole = stream_image(SMALL_UNETMM, image, band_rows=4)
    cut = stream_image(
        SMALL_UNETMM, image, band_rows=4 * bands, strips=strips, segments=segments, workers=2
    )
    assert np.array_equal(whole, cut)


def stream_of(config: NetConfig, width: int, height: int, band: int, threads: int) -> RowStream:
    frozen = compiled(config).freeze(frozen_attention(config))
    return RowStream(compiled(config), frozen, width, height, band, threads)


def restored(stream: RowStream, image: np.ndarray) -> np.ndarray:
    bands = [band.copy() for band in stream.push(image)]
    return np.concatenate(bands + [band.copy() for band in stream.flush()])


@given(
    name=st.sampled_from(list(CONFIGS)),
    height=st.integers(1, 40),
    width=st.integers(1, 80),
    bands=st.sampled_from([1, 2, 8]),
    threads=st.integers(2, 5),
)
def test_result_does_not_change_by_a_bit_with_the_threads(
    name: str, height: int, width: int, bands: int, threads: int
) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    height, width, band = height * stride, width * stride, bands * stride
    image = image_of(height, width, config.in_channels)
    alone = restored(stream_of(config, width, height, band, 1), image)
    shared = restored(stream_of(config, width, height, band, threads), image)
    assert np.array_equal(alone, shared)


def test_panels_of_a_wide_range_are_shared_bit_for_bit() -> None:
    """Several panels a thread, and edge columns that are prepared apart."""
    config = SMALL_UNETMM
    image = image_of(12, 2052, 3)
    alone = restored(stream_of(config, 2052, 12, 4, 1), image)
    assert np.array_equal(alone, restored(stream_of(config, 2052, 12, 4, 3), image))
    moving = stream_of(config, 2052, 12, 4, 3)
    moving.shares = ShuffledShares(moving.cells, 3, seed=0)
    assert np.array_equal(alone, restored(moving, image))


class ShuffledShares(Shares):
    """Other shares in every step, from one cell to nearly all of them."""

    def __init__(self, cells: int, threads: int, seed: int) -> None:
        super().__init__(cells, threads)
        self.rng = np.random.default_rng(seed)
        self.learn([])

    def learn(self, busy: Sequence[int]) -> None:
        cells = int(self.cuts[-1])
        inner = self.rng.choice(np.arange(1, cells), len(self.cuts) - 2, replace=False)
        self.cuts = np.concatenate([[0], np.sort(inner), [cells]]).astype(np.int64)


@given(
    name=st.sampled_from(list(CONFIGS)),
    width=st.integers(5, 80),
    bands=st.sampled_from([1, 2, 8]),
    threads=st.integers(2, 5),
    seed=st.integers(0, 2**16),
)
def test_result_does_not_change_by_a_bit_with_shares_that_move(
    name: str, width: int, bands: int, threads: int, seed: int
) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    height, width, band = 40 * stride, width * stride, bands * stride
    image = image_of(height, width, config.in_channels)
    alone = restored(stream_of(config, width, height, band, 1), image)
    shared = stream_of(config, width, height, band, threads)
    shared.shares = ShuffledShares(shared.cells, threads, seed)
    assert np.array_equal(alone, restored(shared, image))


def test_threads_beyond_the_columns_are_not_started() -> None:
    assert stream_of(SMALL_UNETMM, 12, 8, 4, 64).threads == 3


@pytest.mark.parametrize("push_rows", [1, 3, 4, 64])
def test_rows_may_be_pushed_in_any_number(push_rows: int) -> None:
    config, height, width = SMALL_UNETMM, 64, 24
    image = image_of(height, width, 3)
    frozen = compiled(config).freeze(frozen_attention(config))
    stream = RowStream(compiled(config), frozen, width, height, 8)
    bands = []
    for y in range(0, height, push_rows):
        bands += [band.copy() for band in stream.push(image[y : y + push_rows])]
    bands += [band.copy() for band in stream.flush()]
    expected = reference(lively_net(config), image, frozen_attention(config))
    assert_close(np.concatenate(bands), expected, TOLERANCE * float(np.ptp(expected)))


def test_stream_of_a_net_with_other_output_channels() -> None:
    config = CONFIGS["other_channels"]
    image = image_of(30, 22, 1)
    frozen = compiled(config).freeze(frozen_attention(config))
    stream = RowStream(compiled(config), frozen, 22, 30, 2)
    bands = [band.copy() for band in stream.push(image)]
    bands += [band.copy() for band in stream.flush()]

    expected = reference(lively_net(config), image, frozen_attention(config))
    assert_close(np.concatenate(bands), expected, TOLERANCE * float(np.ptp(expected)))


def test_one_step_after_the_first_bands_gives_a_band_for_a_band() -> None:
    config = SMALL_UNETMM
    frozen = compiled(config).freeze(frozen_attention(config))
    stream = RowStream(compiled(config), frozen, 16, 400, 8)
    counts = [sum(len(b) for b in stream.push(image_of(8, 16, 3))) for _ in range(50)]
    filled = -(-stream.layout.lag_rows // 8)
    assert counts[filled + 1 :] == [8] * (50 - filled - 1)


@pytest.mark.parametrize("name", CONFIGS)
def test_observed_attention_equals_global_pooling(name: str) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    patch = image_of(6 * stride, 5 * stride, config.in_channels)
    net = lively_net(config)
    reference(net, patch, None)
    unattended = compiled(config).unattended()
    height_px, width_px, _ = patch.shape
    found = ObservingStream(compiled(config), unattended, width_px, height_px).observe(patch)
    blocks = attention_blocks(net)
    shared = ObservingStream(compiled(config), unattended, width_px, height_px, threads=3)
    assert found.keys() == shared.observe(patch).keys() == blocks.keys()
    again = shared.observe(patch)  # nothing of the patch before is left
    for block, attention in found.items():
        observed = blocks[block].sca.observed
        assert observed is not None
        assert_close(attention, observed.numpy().ravel(), 2e-6)
        assert np.array_equal(again[block], attention)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("width", "bands", "threads"), [(3, 1, 1), (7, 5, 3)])
def test_allocated_bytes_are_the_layouts(name: str, width: int, bands: int, threads: int) -> None:
    config = CONFIGS[name]
    width_px, band = width * config.stride_px, bands * config.stride_px
    stream = stream_of(config, width_px, 11 * config.stride_px, band, threads)
    assert stream.nbytes == stream_bytes(make_layout(config, band), width_px, LANES, threads)


def test_a_step_allocates_nothing_that_grows() -> None:
    config = SMALL_UNETMM
    stream = stream_of(config, 800, 4000, 8, 2)
    image = image_of(8, 800, 3)
    for _ in range(5):
        list(stream.push(image))
    tracemalloc.start()
    try:
        for _ in range(20):
            list(stream.push(image))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < image.nbytes / 2


def test_unetmm_stream_is_less_than_half_of_nafnets() -> None:
    nafnet = nafnet32_config()
    plain = stream_bytes(make_layout(nafnet, 16), 1024, LANES)
    ours = stream_bytes(make_layout(nafnet.with_aggregate(), 16), 1024, LANES)
    assert ours < plain / 2


def test_halo_covers_the_receptive_field() -> None:
    """A pixel farther away than the halo changes nothing; one within does."""
    config = SMALL_UNETMM
    halo = make_layout(config, 4).halo_px
    image = image_of(4, 6 * halo, 3)
    changed = image.copy()
    changed[:, 3 * halo] += 1
    difference = stream_image(config, image, band_rows=4) != stream_image(
        config, changed, band_rows=4
    )
    touched = np.flatnonzero(difference.any(axis=(0, 2)))
    assert 2 * halo <= touched[0] and touched[-1] <= 4 * halo
    assert touched[0] < 3 * halo - 4


def test_tiny_halo_is_80_px() -> None:
    assert make_layout(tiny_config(3), 16).halo_px == 80


def test_stream_refuses_rows_that_do_not_fit() -> None:
    config = SMALL_UNETMM
    frozen = compiled(config).freeze(frozen_attention(config))
    stream = RowStream(compiled(config), frozen, 16, 8, 4)
    with pytest.raises(ShapeError, match="takes rows of 16 px and 3 channels, found 12 px and 3"):
        list(stream.push(image_of(4, 12, 3)))
    with pytest.raises(ShapeError, match="8 rows, 9 were pushed"):
        list(stream.push(image_of(9, 16, 3)))
    with pytest.raises(ShapeError, match="multiples of 4"):
        RowStream(compiled(config), frozen, 18, 8, 4)
    with pytest.raises(ShapeError, match="channel factors"):
        compiled(config).freeze({})
