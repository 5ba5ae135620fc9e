"""Every level of a pyramid is the mean of the finer one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from interrupted import make_finished

from unetmm.intensities.validity import NoData
from unetmm.io.output.levels import halve


def test_pyramid_levels_are_means_of_the_finer_ones(tmp_path: Path) -> None:
    folder = make_finished(tmp_path)
    group = zarr.open_group(str(folder / "out.ome.zarr"), mode="r")
    fine = [group[str(n)][...].astype(np.int64) for n in range(3)]
    assert [f.shape for f in fine] == [(1300, 700), (650, 350), (325, 175)]
    for above, below in zip(fine[1:], fine, strict=False):
        h, w = below.shape[0] // 2 * 2, below.shape[1] // 2 * 2
        mean = below[:h, :w].reshape(h // 2, 2, w // 2, 2).sum((1, 3))
        assert np.array_equal(above[: h // 2, : w // 2], (mean + 2) // 4)


def test_halving_leaves_out_what_is_not_measured() -> None:
    pixels = np.array([[1, np.nan, 5], [3, np.nan, 7]], np.float32)[..., None]
    assert halve(pixels)[..., 0].tolist() == [[2.0, 6.0]]
    counts = np.array([[9, 9, 10], [9, 9, 13]], np.int16)[..., None]
    assert halve(counts, NoData.of(9))[..., 0].tolist() == [[9, 12]]
    assert halve(np.array([[-3, -4], [-3, -3]], np.int8)[..., None]).ravel().tolist() == [-3]
    top = np.full((2, 2, 1), 2**32 - 1, np.uint32)
    assert halve(top).ravel().tolist() == [2**32 - 1]
