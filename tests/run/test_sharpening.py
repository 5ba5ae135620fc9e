"""Runs that sharpen: what is invented by edges that swing too far, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import unetmm
from unetmm.calibrate.calibration import Calibration
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig

CONFIG = NetConfig(1, 1, 8, (1,), 0, (1,))


def sharpener(task: str = "deblur", scale: int = 1) -> Model:
    """A net that adds what a pixel stands out from its neighbours, a few times."""
    config = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=scale)
    from helpers import lively_model

    weights = {name: 0 * tensor for name, tensor in lively_model(config).tensors.items()}
    weights["intro.weight"][0, 0] = np.full((3, 3), -1 / 9, np.float32)
    weights["intro.weight"][0, 0, 1, 1] += 1
    ending = next(name for name in weights if name.endswith("ending.weight"))
    weights[ending][:, 0, 1, 1] = 3
    return Model("sharpener", config, {"task": task}, None, weights)


def spots(background: float = 0.0) -> NDArray[np.float64]:
    y, x = np.mgrid[:96, :130]
    return background + 50 * (np.sin(x / 4) * np.sin(y / 4) > 0.3)


@pytest.mark.parametrize(("task", "scale"), [("deblur", 1), ("upscale", 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_no_value_becomes_negative_where_none_was(task: str, scale: int, dtype: str) -> None:
    model = sharpener(task, scale)
    found = unetmm.restore(spots().astype(dtype), model)
    assert found.min() == 0 and found.max() > 60
    signed = unetmm.restore(spots(-20).astype(dtype), model)
    assert signed.min() < -25


def test_wider_types_of_unsigned_images_stay_positive_and_noise_around_0_stays() -> None:
    assert unetmm.restore(spots().astype(np.uint8), sharpener(), dtype="float32").min() == 0
    noisy = spots() + np.random.default_rng(0).normal(0, 1, (96, 130))
    assert unetmm.restore(noisy, sharpener()).min() < noisy.min() - 1
    rounded = spots() - 1e-9
    assert unetmm.restore(rounded, sharpener()).min() == rounded.min()


def test_holes_stay_where_values_may_not_be_negative() -> None:
    image = spots().astype(np.float32)
    image[:20, :20], image[60:, 60:] = -9999, np.nan
    found = unetmm.restore(image, sharpener(), nodata=-9999)
    np.testing.assert_array_equal(found[:20, :20], -9999)
    assert np.isnan(found[60:, 60:]).all()
    assert np.nanmin(found[20:]) == 0


def test_a_calibration_remembers_that_and_denoising_does_not_ask() -> None:
    from unetmm.io.array import ArraySource, array_info
    from unetmm.options import Options
    from unetmm.run.job import compile_and_calibrate

    image = spots().astype(np.float32)
    source = ArraySource(image, array_info(image.shape, image.dtype, None))
    for task in ("deblur", "denoise"):
        model = sharpener(task)
        _, found = compile_and_calibrate(source, model, Options(model))
        assert found.entry(0, 0).not_negative == (task == "deblur")
        again = Calibration.from_json(found.to_json())
        assert again.entry(0, 0).not_negative == found.entry(0, 0).not_negative
        assert ("not_negative" in found.to_json()) == (task == "deblur")
