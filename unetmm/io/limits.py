"""Room that reading what describes an image may take: checked by size, before it is parsed.

The plan counts what a reader holds once it is open. Text and tables that describe an image grow
while they are parsed, so that comes too late for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from unetmm.errors import ImageError
from unetmm.process import resident_bytes
from unetmm.sizes import default_budget_bytes, format_size

FREE_BYTES = 16 * 2**20
"""Bytes that nothing is asked for: they are part of the plan's runtime."""
_budget: ContextVar[int | None] = ContextVar("budget", default=None)


@contextmanager
def reading_within(budget_bytes: int | None) -> Iterator[None]:
    """Images that are opened in this block may take so much; None: what is the default of runs."""
    token = _budget.set(budget_bytes)
    try:
        yield
    finally:
        _budget.reset(token)


def room_bytes() -> int:
    """Bytes that opening an image may take at most."""
    given = _budget.get()
    return default_budget_bytes() if given is None else given


def check_room(path: object, what: str, needed_bytes: int) -> None:
    """Refuse to parse what does not fit the budget beside what the process holds.

    Raises
    ------
    ImageError
        It says what takes how much.
    """
    if needed_bytes <= FREE_BYTES:
        return
    least, room = needed_bytes + resident_bytes(), room_bytes()
    if least > room:
        raise ImageError(
            f"{path}: {what} takes {format_size(needed_bytes)} to read, of a budget of "
            f"{format_size(room)}; give at least {format_size(least)} (--mem-budget)"
        )
