"""Shared by all tests: hypothesis without deadlines, and no waiting for disks."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from unetmm import process

# The first example of a module may compile kernels, which no deadline should judge.
settings.register_profile(
    "unetmm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unetmm")


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
