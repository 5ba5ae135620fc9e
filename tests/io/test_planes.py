"""Films of many thousand planes: none of them, nor of their tasks, is kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import lively_model

from unetmm.api import make_plan
from unetmm.io.image import ImageInfo, Planes
from unetmm.nets.config import NetConfig
from unetmm.run.task import tasks_of


@pytest.mark.parametrize("lengths", [(1, 1, 1), (5, 1, 1), (2, 3, 5), (1, 4, 3)])
def test_planes_are_numbered_t_slowest_z_fastest(lengths: tuple[int, int, int]) -> None:
    planes, wanted = Planes(*lengths), list(itertools.product(*map(range, lengths)))
    assert list(planes) == wanted and len(planes) == len(wanted)
    assert [planes[i] for i in range(-len(planes), len(planes))] == 2 * wanted
    assert list(reversed(planes)) == wanted[::-1] and planes[1:4] == wanted[1:4]
    assert [planes.number(plane) for plane in planes] == list(range(len(planes)))
    with pytest.raises(IndexError):
        planes[len(planes)]


def test_a_film_of_a_billion_planes_begins_at_once() -> None:
    info = ImageInfo("npy", "TYX", (10**9, 64, 48), np.dtype("u2"), (64, 48))
    plan = make_plan((64, 48), "uint16", lively_model(NetConfig(1, 1, 8, (1, 1), 0, (1, 1))), 10**9)
    first = list(itertools.islice(tasks_of(plan, info.planes), 3))
    assert [task.plane for task in first] == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    assert info.megapixels == 64 * 48 * 1000
