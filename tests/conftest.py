"""Shared by all tests: one thread for torch, and hypothesis without deadlines."""

from hypothesis import HealthCheck, settings

# The first example of a module may compile kernels, which no deadline should judge.
settings.register_profile(
    "unetmm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unetmm")
