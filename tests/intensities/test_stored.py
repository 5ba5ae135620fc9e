"""Stored values moved in one compiled pass: the same bits as by NumPy, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.intensities.kernel import move_stored
from unetmm.intensities.stored import changed, clipped, to_dtype

LOW, HIGH = 3.7, 251.3


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("strength", [1.0, 0.3, 0.0])
def test_the_same_bits_as_step_by_step(dtype: type, strength: float) -> None:
    rng = np.random.default_rng(5)
    kind = np.dtype(dtype)
    top = 255 if kind.kind == "f" else np.iinfo(kind).max
    stored = rng.integers(0, top, (7, 19, 3), endpoint=True).astype(kind)
    restored = (rng.random((7, 29, 3), np.float32) * 1.4 - 0.2) * np.float32(top / 250)
    values = stored.astype(np.float32)
    move_stored(values, restored, 5, LOW, HIGH, strength, kind)

    scaled = (stored.astype(np.float32) - np.float32(LOW)) * np.float32(1 / (HIGH - LOW))
    expected = changed(stored, restored[:, 5:24] - scaled, (HIGH - LOW) * strength)
    assert np.array_equal(values.astype(kind), to_dtype(expected, kind))
    if strength == 0:
        assert np.array_equal(values.astype(kind), stored)


@pytest.mark.filterwarnings("error")
def test_half_floats_are_held_at_the_limits_of_16_bits() -> None:
    values = np.array([-1.5, 3.0, 65504.0, np.inf, np.nan], np.float16)
    held = clipped(values, np.dtype(np.uint16))
    assert held[:4].tolist() == [0, 3, 65504, 65535]
