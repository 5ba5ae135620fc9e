"""Packages that only some of unetmm needs, and what to say where they are missing."""

from __future__ import annotations

from importlib.util import find_spec

from unetmm.errors import MissingPackageError

INSTALL_TORCH = 'pip install "unetmm[torch]"'
"""Command that adds torch."""


def has(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except ValueError:  # of a module that was put in its place
        return False


def need(package: str, what: str, remedy: str) -> None:
    """Refuse what a package is missing for; `what` begins the message, as in "training".

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    if not has(package):
        raise MissingPackageError(f"{what} needs {package}, which is not installed: {remedy}")


def need_torch(what: str) -> None:
    """Refuse what torch is missing for.

    Raises
    ------
    MissingPackageError
        If torch is not installed.
    """
    need("torch", what, INSTALL_TORCH)
