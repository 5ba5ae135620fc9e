"""Signals ask a run to stop in order; a second Ctrl-C stops it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED_EXIT = 128 + signal.SIGINT
"""Exit code that shells expect of a command that Ctrl-C ended."""

_WARNING = getattr(signal, "SIGUSR1", None)
"""Signal of a batch system before the time is up; None where there is none."""


class Interrupted(Exception):
    """The user stopped a run; the message says what became of the output."""


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that is set by SIGINT, SIGTERM or SIGUSR1, a batch system's warning of its limit.

    A second SIGINT or SIGTERM raises KeyboardInterrupt.
    """
    stop = threading.Event()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.is_set() and signum != _WARNING:
            raise KeyboardInterrupt
        stop.set()

    signals = [s for s in (signal.SIGINT, signal.SIGTERM, _WARNING) if s is not None]
    before = {s: signal.signal(s, handle) for s in signals}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
