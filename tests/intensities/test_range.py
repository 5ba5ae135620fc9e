"""Which stored values are 0 and 1 to a net."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.intensities.range import intensity_range


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        (np.arange(256, dtype=np.uint8), (0.0, 255.0), "8-bit keeps its full range"),
        (np.full(100, 7, np.uint16), (7.0, 8.0), "a constant image still has a range"),
        (np.array([], np.float32), (0.0, 1.0), "nothing measured"),
        (np.linspace(-1, 3, 1001, dtype=np.float32), (-0.996, 2.996), "percentiles of floats"),
    ],
)
def test_intensity_range(values: np.ndarray, expected: tuple[float, float], note: str) -> None:
    assert intensity_range(values, values.dtype) == pytest.approx(expected, abs=1e-6)
