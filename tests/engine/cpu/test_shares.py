"""Which columns each thread of a stream takes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from helpers import SMALL_UNETMM, compiled, frozen_attention

from unetmm.engine.cpu.shares import Shares
from unetmm.engine.cpu.stream import RowStream
from unetmm.engine.cpu.sync import begin_work, end_work, meet
from unetmm.engine.cpu.team import Team


def shares_after(cells: int, speeds: list[float], noise: float, steps: int = 100) -> np.ndarray:
    """Cells of each thread, step by step, where threads have these speeds on average."""
    rng, shares, found = np.random.default_rng(0), Shares(cells, len(speeds)), []
    for _ in range(steps):
        now = np.array(speeds) * np.exp(rng.normal(0, noise, len(speeds)))
        shares.learn([int(t) for t in 1e6 * np.diff(shares.cuts) / now])
        found.append(np.diff(shares.cuts))
    return np.array(found)


def test_shares_begin_equal() -> None:
    assert list(Shares(128, 3).cuts) == [0, 42, 85, 128]


def test_a_fast_thread_takes_more() -> None:
    found = shares_after(120, [2, 1, 1], noise=0)
    assert list(found[0]) == [60, 30, 30]  # after one step
    assert (found == found[0]).all()


def test_four_fast_and_eight_slow_cores_end_near_their_speeds() -> None:
    cells = shares_after(256, [2.0] * 4 + [1.0] * 8, noise=0.05)[10:]
    assert np.abs(cells - np.array([32] * 4 + [16] * 8)).max() <= 4


def test_equal_cores_keep_equal_shares() -> None:
    assert (np.abs(shares_after(128, [1, 1], noise=0.01) - 64) <= 1).all()


def test_cells_that_are_too_coarse_do_not_move() -> None:
    """Of 128 cells for 64 threads, three instead of two would take half as long again."""
    assert (shares_after(128, [1.0] * 64, noise=0.1) == 2).all()


@pytest.mark.parametrize("cells", [5, 6, 9])
def test_everybody_keeps_a_cell(cells: int) -> None:
    for speeds in ([1e6, 1, 1, 1, 1], [1, 1, 1, 1, 1e6], [1, 1e6, 1, 1e6, 1]):
        found = shares_after(cells, speeds, noise=0)
        assert found.min() >= 1 and (found.sum(1) == cells).all()


def test_what_is_over_is_forgotten() -> None:
    shares = Shares(100, 2)
    shares.learn([1000, 4000])
    assert list(shares.cuts) == [0, 80, 100]
    for _ in range(8):
        shares.learn([int(n) for n in 10 * np.diff(shares.cuts)])
    assert abs(shares.cuts[1] - 50) <= 2


@pytest.mark.parametrize("busy", [[0, 5], [5, 0], [0, 0]])
def test_a_step_without_work_tells_nothing(busy: list[int]) -> None:
    shares = Shares(10, 2)
    shares.learn(busy)
    assert list(shares.cuts) == [0, 5, 10]


def test_a_stream_times_the_work_of_each_thread() -> None:
    frozen = compiled(SMALL_UNETMM).freeze(frozen_attention(SMALL_UNETMM))
    stream = RowStream(compiled(SMALL_UNETMM), frozen, 256, 16, 16, threads=3)
    seen: list[list[int]] = []
    stream.shares.learn = seen.append  # type: ignore[assignment]
    for _ in stream.push(np.zeros((16, 256, 3), np.float32)):
        pass
    assert len(seen) == 1 and len(seen[0]) == 3 and min(seen[0]) > 0
    assert stream.team.take_busy() == [0, 0, 0]


def test_waiting_for_a_neighbour_is_no_work() -> None:
    team, waited_s = Team(2), 1.0

    def share(number: int) -> bool:
        begin_work(team.progress, number)
        if number == 1:
            time.sleep(waited_s)
        going_on = bool(meet(team.progress, number, 2))
        end_work(team.progress, number)
        return going_on

    for _ in range(3):  # on a busy machine the quick one may get its core back late
        team.run(share)
        quick, slow = team.take_busy()
        if quick < slow / 2:
            break
    assert quick < slow / 2
