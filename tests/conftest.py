"""Shared by all tests: hypothesis without deadlines, no waiting for disks, kernels made once."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from unetmm import process
from unetmm.compiling.processor import multiplies_bf16
from unetmm.engine.cpu.prepare import compile_aside

# The first example of a module may compile kernels, which no deadline should judge.
settings.register_profile(
    "unetmm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unetmm")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the kernels before several processes begin, each of which would do so itself."""
    config = session.config
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        for precision in ("fp32", "bf16") if multiplies_bf16() else ("fp32",):
            compile_aside(precision)


@pytest.fixture(autouse=True, scope="session")
def fresh_process() -> Iterator[None]:
    """Plans made by tests do not pay for pytest and torch; test_budget runs fresh ones.

    For the whole session, because fixtures of modules make plans as well.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "FRESH_BYTES", 10**12)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_power_cuts() -> Iterator[None]:
    """Outputs of tests need not survive one; a shared disk takes a third of all time to be sure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield
