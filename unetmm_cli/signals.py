"""Signals ask a run to stop in order; a second Ctrl-C stops it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED_EXIT = 128 + signal.SIGINT
"""Exit code that shells expect of a command that Ctrl-C ended."""


class Interrupted(Exception):
    """The user stopped a run; the message says what became of the output."""


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that is set by SIGINT, SIGTERM or SIGUSR1, a batch system's warning of its limit.

    A second SIGINT or SIGTERM raises KeyboardInterrupt.
    """
    stop = threading.Event()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.is_set() and signum != signal.SIGUSR1:
            raise KeyboardInterrupt
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {s: signal.signal(s, handle) for s in signals}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
