"""Which values a net sees whose answer depends on them: those that it was trained on, or said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import lively_model

import unetmm
from unetmm.errors import ShapeError, WeightsError
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig

SMALL = NetConfig(1, 3, 8, (1,), 1, (1,), body="unet", gives="classes", final="softmax")


def test_floats_of_0_to_1_are_seen_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """What a class is depends on how bright it is, so no range of the image's own is put there."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0.01, 0.3, (48, 64)).astype(np.float32)
    image[:6, :6] = -9999
    model = Model("mine", SMALL, {}, None, lively_model(SMALL).tensors)
    seen = unetmm.restore(image, model, scores=True)
    np.testing.assert_array_equal(
        seen, unetmm.restore(image, model, scores=True, fixed_range=(0, 1))
    )
    assert not caplog.messages
    counts = rng.integers(100, 3000, (48, 64)).astype(np.uint16)
    assert not np.array_equal(
        unetmm.restore(counts, model, scores=True),
        unetmm.restore(counts, model, scores=True, fixed_range=(0, 65535)),
    )
    said = [m for m in caplog.messages if "--range LOW,HIGH gives that" in m]
    assert len(said) == 1 and "as 0 to 1, which is the range of this image" in said[0]


@pytest.mark.parametrize("asked", [(5, 1), 3, "a", (0,), (0, float("nan"))])
def test_what_is_no_range_is_refused(asked: Any) -> None:
    with pytest.raises(ShapeError, match="the smaller first"):
        unetmm.restore(np.zeros((9, 9), np.uint8), fixed_range=asked)


def test_a_model_of_another_task_is_refused() -> None:
    image, model = np.zeros((9, 9), np.uint8), Model("mine", SMALL, {}, None, {})
    for command in (unetmm.upscale, unetmm.deblur):
        with pytest.raises(WeightsError, match="gives classes, no restored image; run it with"):
            command(image, model=model)
    with pytest.raises(WeightsError, match="is for deblur; run it with unetmm deblur"):
        unetmm.upscale(image, model="deblur")
