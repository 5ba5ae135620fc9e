"""glibc gives freed memory back, or keeps it, as it is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unetmm import process

FAULTS = """
import resource
import numpy as np
from unetmm import process
process.{name}()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(8 * 2**20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
before = process.resident_bytes()
print(faults(), process.resident_bytes() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are settings of glibc")
@pytest.mark.parametrize("name", ["limit_allocator", "keep_freed_memory"])
def test_blocks_are_mapped_anew_or_kept(name: str) -> None:
    command = [sys.executable, "-c", FAULTS.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    faults, grown = (int(n) for n in done.stdout.split())
    assert grown < 2**20
    # A block of 8 MiB takes four faults at least, of a huge page each.
    assert faults >= 40 if name == "limit_allocator" else faults < 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are settings of glibc")
def test_the_allocator_of_a_host_is_as_before_after_the_last_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[int, int]] = []
    monkeypatch.setattr(process, "_mallopt", lambda *settings: calls.append(dict(settings)))
    monkeypatch.setattr(process, "_kept_limited", [])
    with process.limited_allocator():
        with process.limited_allocator():
            pass
        assert len(calls) == 2 and calls[-1][process.M_ARENA_MAX] == 2
    usual = process.USUAL_THRESHOLD_BYTES
    assert calls[-1] == {
        process.M_MMAP_THRESHOLD: usual, process.M_TRIM_THRESHOLD: usual, process.M_ARENA_MAX: 0,
    }  # fmt: skip
    process.limit_for_good()
    with process.limited_allocator():
        pass
    assert calls[-1][process.M_ARENA_MAX] == 2


COMPILER = """
import numba
from unetmm import process
before = process.resident_bytes()
process.let_go_of_compiler()
after = process.resident_bytes()
print(before - after, numba.njit(lambda x: x + 1)(1))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are seen in /proc")
def test_the_compiler_gives_its_pages_back_and_compiles_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPILER], capture_output=True, text=True, check=True
    )
    given_back, answer = (int(n) for n in done.stdout.split())
    assert given_back > 5 * 2**20
    assert answer == 2


def test_peak_is_at_least_what_is_resident() -> None:
    resident_bytes = process.resident_bytes()
    assert process.peak_bytes() >= resident_bytes > 10**7


def test_libraries_of_a_run_do_not_count_as_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that is made before they are loaded, and one after, are the same."""
    monkeypatch.setattr(process, "FRESH_BYTES", 105 * 10**6)
    found = []
    for held_bytes in (0, 50 * 10**6):
        monkeypatch.setattr(process, "resident_bytes", lambda held=held_bytes: 105 * 10**6 + held)
        for name in process.LIBRARY_BYTES:
            monkeypatch.delitem(sys.modules, name, raising=False)
        found.append(process.held_bytes())
        libraries_bytes = sum(process.LIBRARY_BYTES.values())
        for name in process.LIBRARY_BYTES:
            monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.setattr(
            process,
            "resident_bytes",
            lambda held=held_bytes: 105 * 10**6 + held + libraries_bytes,  # noqa: B023
        )
        assert process.held_bytes() == found[-1]
    assert found == [0, 64 * 10**6]
