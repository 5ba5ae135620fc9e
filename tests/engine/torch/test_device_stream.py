"""The stream of torch operations: equal to the reference forward for any band."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from device_streams import (
    HALF_TOLERANCE,
    ON_CPU,
    TOLERANCE,
    expected_of,
    image_of,
    net_of,
    restored,
    stream_of,
)
from helpers import CONFIGS, SMALL_UNETMM, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.precision import Precision
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.stream import exact
from unetmm.errors import ShapeError


@settings(max_examples=40)
@given(
    name=st.sampled_from(list(CONFIGS)),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    bands=st.sampled_from([1, 2, 3, 8, 30]),
    rows=st.integers(1, 70),
)
def test_stream_equals_reference_for_any_band_and_push(
    name: str, height: int, width: int, bands: int, rows: int
) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    image = image_of(height * stride, width * stride, config.in_channels)
    expected = expected_of(config, image)
    found = restored(stream_of(config, *image.shape[:2], bands * stride), image, rows)
    assert_close(found, expected, TOLERANCE * max(1.0, float(np.ptp(expected))))


@pytest.mark.parametrize("precision", HALF_TOLERANCE)
def test_half_precision_is_close_and_keeps_the_image(precision: Precision) -> None:
    config = SMALL_UNETMM
    image = image_of(48, 32, 3)
    found = restored(stream_of(config, 48, 32, 16, TorchEngine(CpuEngine(), precision)), image, 16)
    expected = expected_of(config, image)
    change, exact_change = found - image, expected - image
    assert_close(change, exact_change, HALF_TOLERANCE[precision] * float(np.ptp(exact_change)))
    assert np.abs(found - expected).max() > 1e-5  # it really was computed with fewer digits


def test_a_band_comes_out_a_push_later_and_stays_until_the_band_after_the_next() -> None:
    stream, image = stream_of(SMALL_UNETMM, 120, 16, 8), image_of(120, 16, 3)
    expected = expected_of(SMALL_UNETMM, image)
    lag = stream.layout.lag_rows
    done = 0
    for y in range(0, 120, 8):
        for band in stream.push(image[y : y + 8]):
            assert_close(band, expected[done : done + len(band)], 1e-5)
            done += len(band)
        assert done == max(0, y - lag)
    while done < 120:
        bands = list(stream.drain())
        assert len(bands) == 1
        done += len(bands[0])
    assert not list(stream.drain()) and not list(stream.flush())


def test_stream_refuses_rows_that_do_not_fit() -> None:
    stream = stream_of(SMALL_UNETMM, 8, 16, 4)
    with pytest.raises(ShapeError, match="takes rows of 16 px and 3 channels, found 12 px and 3"):
        list(stream.push(image_of(4, 12, 3)))
    with pytest.raises(ShapeError, match="8 rows, 9 were pushed"):
        list(stream.push(image_of(9, 16, 3)))
    with pytest.raises(ShapeError, match="multiples of 4"):
        stream_of(SMALL_UNETMM, 8, 18, 4)
    with pytest.raises(ShapeError, match="channel factors"):
        net_of(SMALL_UNETMM, ON_CPU).freeze({})


def test_a_step_changes_no_setting_of_torch() -> None:
    torch.set_float32_matmul_precision("high")
    before = torch.backends.cudnn.enabled, torch.get_num_threads()
    try:
        with exact(1):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.enabled and not torch.is_grad_enabled()
        assert torch.get_float32_matmul_precision() == "high"
        assert before == (torch.backends.cudnn.enabled, torch.get_num_threads())
    finally:
        torch.set_float32_matmul_precision("highest")
