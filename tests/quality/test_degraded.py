"""Clean images made small and blurred, and models of these tasks measured on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import lively_model
from PIL import Image

from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig
from unetmm.quality.bicubic import enlarge_bicubic, reduce_bicubic
from unetmm.quality.degraded import brightness, degraded, kinds_of
from unetmm.quality.evaluate import evaluate
from unetmm.quality.kernels import TEST_KERNELS, convolve, disk, line


def idle(task: str, scale: int) -> Model:
    """A net that repeats pixels."""
    config = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=scale)
    zeros = {k: 0 * v for k, v in lively_model(config).tensors.items()}
    return Model("idle", config, {"task": task}, None, zeros)


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = 128 + 100 * np.sin(x / 5) * np.cos(y / 6)
    return np.stack([waves, 255 - waves, 0.5 * waves], -1).astype(np.uint8)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_interpolation_is_torchs_inside(factor: int) -> None:
    image = np.random.default_rng(0).random((1, 1, 48, 60)).astype(np.float32)
    for ours, scale in ((reduce_bicubic, 1 / factor), (enlarge_bicubic, factor)):
        theirs = torch.nn.functional.interpolate(
            torch.from_numpy(image),
            size=(round(48 * scale), round(60 * scale)),
            mode="bicubic",
            antialias=True,
        ).numpy()
        inner = np.s_[..., 3 * factor : -3 * factor, 3 * factor : -3 * factor]
        if scale < 1:
            inner = np.s_[..., 3:-3, 3:-3]
        np.testing.assert_allclose(ours(image, factor)[inner], theirs[inner], atol=1e-5)


def test_bicubic_interpolation_keeps_flat_images_flat() -> None:
    flat = np.full((12, 16), 7.0)
    np.testing.assert_allclose(reduce_bicubic(flat, 4), 7)
    np.testing.assert_allclose(enlarge_bicubic(flat, 3), 7)


def test_kernels_blur_and_do_not_move() -> None:
    for kernel in TEST_KERNELS.values():
        reach = len(kernel) // 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        assert kernel.sum() == pytest.approx(1)
        assert abs((kernel * y).sum()) < 1e-9 and abs((kernel * x).sum()) < 1e-9
    assert disk(2.0, 5).max() == pytest.approx(1 / (np.pi * 4), rel=0.05)
    across = line(9.0, 0.0, 8).sum(0)
    assert np.count_nonzero(across > 0.05) == 9
    point = np.zeros((1, 31, 31), np.float32)
    point[0, 15, 15] = 1
    np.testing.assert_allclose(
        convolve(point, disk(2.0, 5))[0, 10:21, 10:21], disk(2.0, 5), atol=1e-7
    )


def test_small_images_are_as_the_field_has_them() -> None:
    clean = picture(67, 90).astype(float)
    found = degraded(clean, idle("upscale", 4), "", (0,))
    assert found.given.shape == (16, 22, 3) and found.clean.shape == (64, 88, 3)
    assert (found.given == np.rint(found.given)).all()
    assert found.compared(found.plain).shape == (56, 80, 1)
    white = np.full((1, 1, 3), 255.0)
    assert brightness(white)[0, 0, 0] == pytest.approx(235)


def test_models_of_other_tasks_are_measured(tmp_path: Path) -> None:
    Image.fromarray(picture(80, 96)).save(tmp_path / "a.png")
    larger = evaluate(idle("upscale", 2), tmp_path)
    (mean,) = larger.means
    assert larger.seed is None and mean.images == 1
    assert 20 < mean.psnr_db < mean.psnr_before_db  # repeating pixels is worse than bicubic
    sharper = evaluate(idle("deblur", 1), tmp_path)
    assert len(sharper.scores) == len(TEST_KERNELS) == len(kinds_of(idle("deblur", 1)))
    for score in sharper.scores:
        assert score.psnr_db == pytest.approx(score.psnr_before_db, abs=0.01)
        assert score.image.removeprefix("a.png, ") in TEST_KERNELS
