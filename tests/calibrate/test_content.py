"""The statistics of an image are measured where it has content."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import unetmm
from unetmm.calibrate.choice import Choice, choose_patches
from unetmm.calibrate.content import Content, content_window, measure_cells
from unetmm.calibrate.patches import observed_patches, patch_boxes
from unetmm.calibrate.places import READ_PX, Patch, look_places, read_places
from unetmm.intensities.doubts import FLAT_SHARE
from unetmm.intensities.validity import NOTHING
from unetmm.io.array import ArraySource, array_info
from unetmm.io.image import Box

Image = NDArray[Any]


def noisy(shape: tuple[int, ...], sigma: float = 30.0) -> Image:
    """Noise on a slope."""
    slope = np.linspace(60, 180, shape[-1])
    return np.random.default_rng(7).normal(0, sigma, shape) + slope


def chosen(image: Image, axes: str | None = None) -> Choice:
    info = array_info(image.shape, image.dtype, axes)
    group = tuple(range(info.samples - info.alpha))
    return next(iter(choose_patches(ArraySource(image, info), 0, [group])))


def observed(image: Image, axes: str | None = None) -> list[Image]:
    return [one.patch.pixels for one in chosen(image, axes).observed]


def of_the_grid(image: Image) -> list[Image]:
    info = array_info(image.shape, image.dtype, None)
    return [image[b.y0 : b.y1, b.x0 : b.x1, None] for _, _, b in patch_boxes(info)]


@pytest.mark.parametrize(
    ("image", "note"),
    [
        (noisy((700, 900)), "noise everywhere"),
        (np.clip(noisy((700, 900)), 0, 255).astype(np.uint8), "as bytes"),
        (np.zeros((700, 900), np.uint16), "all is empty"),
        (np.full((300, 300), np.nan), "nothing is measured"),
        (np.linspace(0, 1, 900) + np.zeros((700, 1)), "no noise at all"),
        (noisy((5, 7)), "smaller than a cell"),
        (noisy((1, 900)), "one row"),
    ],
)
def test_patches_stay_where_all_or_nothing_is_content(image: Image, note: str) -> None:
    info = array_info(image.shape, image.dtype, None)
    grid, found = of_the_grid(image), chosen(image)
    for patch, expected in zip(found.patches, grid, strict=True):
        np.testing.assert_array_equal(patch.pixels, expected, note)
    for one, i in zip(found.observed, observed_patches(info), strict=True):
        assert one.weight == 1
        np.testing.assert_array_equal(one.patch.pixels, grid[i], note)


def test_texture_without_noise_is_no_reason_to_leave_out_the_rest() -> None:
    """Photos without noise have calm and busy places, and all of them are content."""
    coarse = np.random.default_rng(0).normal(0, 20, (100, 225)).repeat(4, 0).repeat(4, 1)
    image = np.pad(coarse, ((0, 0), (0, 900)))[:, :900]
    image[:, 500:] *= 0.01
    grid = of_the_grid(image)
    for i, patch in enumerate(chosen(image).patches):
        np.testing.assert_array_equal(patch.pixels, grid[i])


def black(image: Image, where: Any) -> Image:
    image[where] = 0
    return image


def missing(image: Image, where: Any) -> Image:
    image[where] = np.nan
    return image


def calm(image: Image, where: Any) -> Image:
    image[where] = 100 + 0.1 * (image[where] - 100)
    return image


@pytest.mark.parametrize("empty", [black, missing, calm])
@pytest.mark.parametrize("share", [0.75, 0.5, 0.25, 0.12])
def test_only_content_is_observed(empty: Callable[[Image, Any], Image], share: float) -> None:
    image = empty(noisy((1000, 1200)), np.s_[:, int(1200 * share) :])
    windows = observed(image)
    assert len(windows) >= 4
    for window in windows:
        assert np.nanstd(np.diff(window, axis=1)) > 25 * np.sqrt(2)
    values = np.concatenate([p.pixels.ravel() for p in chosen(image).patches])
    assert np.nanmin(values) < 20  # a few empty patches, or the noise, still tell the range


@pytest.mark.parametrize("side", [500, 250])
def test_content_that_no_patch_hits_is_found(side: int) -> None:
    image = 100 + np.random.default_rng(1).normal(0, 3, (1200, 1200))
    taken = np.zeros(image.shape, bool)
    for _, _, box in patch_boxes(array_info(image.shape, image.dtype, None)):
        taken[box.y0 : box.y1, box.x0 : box.x1] = True
    content = np.zeros(image.shape, bool)
    content[400 : 400 + side, 500 : 500 + side] = True
    image[content & ~taken] += np.random.default_rng(2).normal(100, 40, image.shape)[
        content & ~taken
    ]
    assert all(window.mean() > 140 for window in observed(image))


def test_blank_planes_and_dim_planes_do_not_decide() -> None:
    stack = noisy((12, 400, 400))
    stack[3:8], stack[8:] = 0, 100 + 0.02 * (stack[8:] - 100)
    assert all(window.std() > 25 for window in observed(stack, "ZYX"))


def test_the_hidden_part_of_a_transparent_image_does_not_decide() -> None:
    image = np.dstack([np.clip(noisy((600, 600)), 1, 255)] * 4).astype(np.uint8)
    image[..., 3], image[:, 150:, 3], image[:, 150:, :3] = 255, 0, 7
    assert all(window.std() > 20 for window in observed(image))


def test_a_blank_colour_hides_no_content() -> None:
    image = np.dstack([noisy((600, 600)), noisy((600, 600)), np.zeros((600, 600))])
    image[:, 200:] = 0
    assert all(window[..., 0].std() > 25 for window in observed(image, "YXS"))


def test_a_small_image_is_observed_where_it_is_full() -> None:
    image = noisy((200, 240))
    image[:, 100:] = 0
    (window,) = observed(image)
    assert window.shape[0] == 200 and 80 <= window.shape[1] <= 112


def test_noise_is_measured_and_hot_pixels_are_not() -> None:
    image = np.random.default_rng(3).normal(0, 10, (64, 64, 1))
    image[5::16, 5::16] = 1e6
    cells = measure_cells(Patch(image, None), 1, NOTHING)
    assert cells.noise.shape == (4, 4, 1)
    assert 5 < cells.noise.min() <= cells.noise.max() < 14
    assert Content.of([cells], 1).noise[0] < 14


def test_a_window_is_the_largest_that_is_full() -> None:
    cells = np.zeros((8, 8), bool)
    cells[1:6, 3:8] = True
    window = content_window(cells, np.ones_like(cells), 130, 128)
    assert window is not None and not window.is_whole
    assert window.box.x1 == 128 and window.weight >= 25
    assert content_window(np.zeros((8, 8), bool), np.ones((8, 8), bool), 128, 128) is None
    whole = content_window(np.ones((8, 8), bool), np.ones((8, 8), bool), 130, 128)
    assert whole is not None and whole.is_whole and whole.box == Box(0, 0, 130, 128)


def test_places_are_spread_and_do_not_depend_on_chunks() -> None:
    image = noisy((1500, 2000))
    info = array_info(image.shape, image.dtype, None)
    places = look_places(info)
    assert len({(b.y0 * 4 // 1500, b.x0 * 4 // 2000) for _, _, b in places}) == 16
    assert all(b.y1 <= 1500 and b.x1 <= 2000 for _, _, b in places)
    for chunk in ((256, 256), (1, 2000), (512, 300)):
        source = ArraySource(image, replace(info, chunk=chunk))
        read = [pair for part in read_places(source, 0, places) for pair in part]
        assert sorted(place[2].y0 for place, _ in read) == [place[2].y0 for place in places]
        for (_, _, box), (pixels, _) in read:
            np.testing.assert_array_equal(pixels[..., 0], image[box.y0 : box.y1, box.x0 : box.x1])


def test_patches_do_not_depend_on_chunks() -> None:
    """Places with content were taken for others where an image is stored in tiles."""
    image = np.zeros((1500, 2000))
    image[900:1400, 1300:1900] = noisy((500, 600))
    info = array_info(image.shape, image.dtype, None)
    found = []
    for chunk in ((1500, 2000), (256, 256), (1, 2000)):
        source = ArraySource(image, replace(info, chunk=chunk))
        (choice,) = choose_patches(source, 0, [(0,)])
        found.append([patch.pixels for patch in choice.patches])
    assert sum(bool(pixels.any()) for pixels in found[0]) > 4
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_film_of_many_planes_is_looked_at_in_few() -> None:
    info = array_info((20_000, 64, 64), np.dtype("u1"), "TYX")
    assert len({t for t, _, _ in look_places(info)}) == 32
    assert READ_PX >= 64 * 64


def test_uneven_noise_is_said(caplog: pytest.LogCaptureFixture) -> None:
    image = noisy((600, 600))
    with caplog.at_level(logging.WARNING):
        chosen(image)
        assert not caplog.text
        image[:, 300:] = 100 + 0.02 * (image[:, 300:] - 100)
        chosen(image)
    assert "less than a tenth of that in others" in caplog.text


def test_cells_that_are_measured_in_part_are_left_out_of_windows() -> None:
    cells = np.ones((8, 8), bool)
    measured = cells.copy()
    measured[:, 6] = False
    window = content_window(cells, measured, 128, 128)
    assert window is not None
    assert window.box == Box(0, 0, 128, 96)


def test_holes_in_an_almost_even_image_do_not_change_what_is_beside_them() -> None:
    """A few constant columns were seen in the means over all of it: ten times the error."""
    clean = np.full((200, 200), 40.0)
    clean[60:90, 20:70] = 60
    noisy = clean + np.random.default_rng(0).normal(0, 15, clean.shape)
    holes = noisy.astype(np.float32)
    holes[:, 150:] = np.nan
    errors = [
        np.nanmean((unetmm.restore(image.astype(np.float32), model="tiny-mono") - clean) ** 2)
        for image in (noisy, holes)
    ]
    assert errors[1] < 2 * errors[0]


def test_an_empty_corner_that_no_patch_hits_is_still_told() -> None:
    """Patches go where there is content, so cells all over the image tell of what is empty."""
    y, x = np.mgrid[:613, :751]
    scene = np.random.default_rng(0).normal(1000 + 200 * np.sin(x / 17) * np.cos(y / 23), 20)
    scene[y / 613 + x / 751 < 0.32] = 0
    shares = []
    for pixels in (scene, np.maximum(scene, 1)):
        found = chosen(np.rint(pixels).astype(np.uint16))
        shares.append(found.even.get(0.0, 0.0))
    assert FLAT_SHARE < shares[0] < 0.06 and shares[1] == 0
