"""Which samples of an image go through a net together."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import SMALL_UNETMM

from unetmm.errors import ShapeError
from unetmm.io.array import array_info
from unetmm.models.groups import sample_groups
from unetmm.nets.config import NetConfig

MONO = NetConfig(1, 1, 8, (1, 1), 1, (1, 1))


def test_colour_nets_refuse_images_without_colour() -> None:
    info = array_info((10, 10), np.dtype("u1"), None)
    with pytest.raises(ShapeError, match="restores 3 interleaved samples .* the image has 1"):
        sample_groups(SMALL_UNETMM, info)


@pytest.mark.parametrize(
    ("shape", "axes", "remedy"),
    [((3, 10, 10), "CYX", "--rgb-bands 1,2,3"), ((3, 10, 10), "ZYX", "the axis of colours S")],
)
def test_the_way_to_colours_is_named(shape: tuple[int, ...], axes: str, remedy: str) -> None:
    with pytest.raises(ShapeError, match=remedy):
        sample_groups(SMALL_UNETMM, array_info(shape, np.dtype("u2"), axes))


def test_alpha_is_not_restored() -> None:
    rgba = array_info((10, 10, 4), np.dtype("u1"), None)
    assert sample_groups(SMALL_UNETMM, rgba) == [(0, 1, 2)]
    assert sample_groups(MONO, rgba) == [(0,), (1,), (2,)]
