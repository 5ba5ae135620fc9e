"""The threads of a stream: none is left behind, none waits for ever."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from helpers import SMALL_UNETMM, compiled, frozen_attention

from unetmm.engine.cpu.stream import RowStream
from unetmm.engine.cpu.sync import LINE
from unetmm.engine.cpu.team import Team, Work


def column_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("unetmm-columns")]


def small_stream(threads: int) -> RowStream:
    frozen = compiled(SMALL_UNETMM).freeze(frozen_attention(SMALL_UNETMM))
    return RowStream(compiled(SMALL_UNETMM), frozen, 64, 64, 8, threads)


def wait_for_no_threads() -> None:
    gc.collect()
    for thread in column_threads():
        thread.join(10)
    assert not column_threads()


def test_threads_end_with_their_stream() -> None:
    wait_for_no_threads()
    stream = small_stream(4)
    assert len(column_threads()) == 3
    list(stream.push(np.zeros((24, 64, 3), np.float32)))  # abandoned half-way
    memory = weakref.ref(stream.memory.base)
    del stream
    wait_for_no_threads()
    assert memory() is None


def test_a_stream_of_one_thread_starts_none() -> None:
    wait_for_no_threads()
    stream = small_stream(1)
    assert not column_threads() and stream.threads == 1


def test_every_thread_does_its_share_in_every_step() -> None:
    team, done = Team(3), []
    for _ in range(4):
        arrived = threading.Barrier(3)

        def share(number: int, arrived: threading.Barrier = arrived) -> bool:
            done.append(number)
            arrived.wait(10)
            return True

        team.run(share)
    assert sorted(done) == sorted([0, 1, 2] * 4)


def fail_on(stream: RowStream, failing: int) -> None:
    """Let one thread of a stream fail in every step."""
    run = stream.team.run

    def run_with_failure(work: Work) -> None:
        def share(number: int) -> bool:
            if number == failing:
                raise MemoryError("out of memory")
            return work(number)

        run(share)

    stream.team.run = run_with_failure  # type: ignore[method-assign]


def test_a_failure_of_the_caller_frees_the_others() -> None:
    """They wait for a neighbour that will never come, until the team gives up."""
    stream = small_stream(3)
    fail_on(stream, 0)
    with pytest.raises(MemoryError):
        stream.step()
    assert stream.team.progress[-LINE] == 1
    del stream
    wait_for_no_threads()


def test_a_failure_of_another_thread_frees_the_caller() -> None:
    stream = small_stream(3)
    fail_on(stream, 2)
    with pytest.raises(RuntimeError, match="a thread of this row stream has failed") as caught:
        stream.step()
    assert isinstance(caught.value.__cause__, MemoryError)
    with pytest.raises(RuntimeError):
        stream.step()  # such a stream stays unusable
    del stream, caught
    wait_for_no_threads()
