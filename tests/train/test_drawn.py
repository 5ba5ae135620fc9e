"""Pictures drawn for a training are in range, reproducible, and what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.train import drawn
from unetmm.train.data import PatchSampler


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_reproducible_and_in_range(channels: int) -> None:
    for seed in range(12):
        a, b = (drawn.draw_picture(channels, 24, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(a, b)
        assert a.shape == (channels, 24, 24) and a.dtype == np.float32
        assert a.min() >= 0 and a.max() <= 1


def test_smooth_pictures_have_no_edges_and_letters_have() -> None:
    def steepest(kind: str) -> float:
        pictures = [getattr(drawn, kind)(1, 48, np.random.default_rng(s)) for s in range(12)]
        return float(np.max([np.abs(np.diff(p, axis=2)).max() for p in pictures]))

    assert steepest("smooth") < 0.15
    assert steepest("text") > 0.5


def test_stars_and_cells_stand_on_a_dark_ground() -> None:
    for kind in (drawn.stars, drawn.cells):
        found = [kind(1, 48, np.random.default_rng(s)) for s in range(12)]
        assert np.median([np.percentile(p, 20) for p in found]) < 0.2


def test_a_share_of_the_patches_is_drawn() -> None:
    white = [np.full((40, 40, 1), 255, np.uint8)]

    def drawn_of(share: float) -> float:
        sampler = PatchSampler(white, 0.0, drawn_share=share)
        batch = sampler.batch(np.random.default_rng(0), 200, 16)
        return float((batch < 1).any((1, 2, 3)).mean())

    assert drawn_of(0.0) == 0
    assert 0.3 < drawn_of(0.5) < 0.6
