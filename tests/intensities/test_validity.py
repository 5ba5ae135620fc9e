"""Which values hold a measurement, and what keeps restored ones from being taken for none."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.intensities.validity import LARGEST, NoData, finite_mask, keep_measured, valid_mask


def test_restored_values_move_off_nodata_towards_the_stored_ones() -> None:
    stored = np.array([[254, 255, 255, 200]], np.uint8)
    restored = np.array([[255, 255, 250, 255]], np.uint8)
    keep_measured(restored, stored, NoData.of(255))
    assert restored.tolist() == [[254, 255, 250, 254]]
    floats = np.array([0.0, 0.0, 1.0], np.float32)
    keep_measured(floats, np.array([-2.0, 0.0, 3.0], np.float32), NoData.of(0))
    assert floats[0] < 0 and floats[0] > -1e-40 and floats[1:].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("pixels", "nodata", "valid", "finite", "note"),
    [
        (np.array([1, 7], np.uint8), None, None, None, "integers are measured by their kind"),
        (np.array([1, 7], np.uint8), 7.0, [1, 0], [1, 0], "but for the value of no data"),
        (np.array([1, 7], np.uint8), np.nan, [1, 1], [1, 1], "which NaN is not"),
        (np.array([1, np.nan, -np.inf], np.float32), None, [1, 0, 0], [1, 0, 0], "floats"),
        (np.array([1, 7, np.nan], np.float64), 7.0, [1, 0, 0], [1, 0, 0], "floats with it"),
        (np.array([1, 2 * LARGEST], np.float32), None, [1, 0], [1, 1], "means hold the largest"),
    ],
)
def test_what_holds_a_measurement(
    pixels: np.ndarray,
    nodata: float | None,
    valid: list[int] | None,
    finite: list[int] | None,
    note: str,
) -> None:
    said = NoData() if nodata is None else NoData.of(nodata)
    for mask, expected in (
        (valid_mask(pixels, said), valid),
        (finite_mask(pixels, said), finite),
    ):
        assert (None if mask is None else mask.astype(int).tolist()) == expected, note
