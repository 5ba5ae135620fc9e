"""Hears the warnings that are said while a run goes on, for its report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

MOST_LINES = 100
"""Number of different lines that are kept."""


class _Ear(logging.Handler):
    """Keeps each line once; `logging` lets one thread in at a time."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < MOST_LINES:
            self.lines[record.getMessage()] = None
        # With a handler of ours, `logging` would say them nowhere where nobody has asked for them.
        handlers = (*logging.getLogger("unetmm").handlers, *logging.getLogger().handlers)
        ears = [h for h in handlers if isinstance(h, _Ear)]
        if len(ears) == len(handlers) and ears[0] is self and logging.lastResort is not None:
            logging.lastResort.handle(record)


@contextmanager
def hearing() -> Iterator[dict[str, None]]:
    """The warnings of this package, from whatever thread, as keys in their order.

    Runs beside this one in the same process are heard too.
    """
    ear, log = _Ear(), logging.getLogger("unetmm")
    log.addHandler(ear)
    try:
        yield ear.lines
    finally:
        log.removeHandler(ear)
