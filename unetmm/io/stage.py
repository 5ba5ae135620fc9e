"""Stages of an output: planned, begun, done; each is passed once, whichever thread comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from unetmm.errors import ImageError


class Stage:
    """Lets a sink be opened for planning without leaving a trace on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._begun = False
        self._done = False

    def begin(self, create: Callable[[], None]) -> None:
        """Call `create` if nobody has yet; refuse if the output is closed."""
        if self._begun and not self._done:
            return
        with self._lock:
            if self._done:
                raise ImageError(f"{self._path}: is closed and takes no more; open it again")
            if not self._begun:
                create()
                self._begun = True

    def finish(self) -> bool:
        """Whether the output was still open; it is no longer."""
        with self._lock:
            was_open, self._done = not self._done, True
        return was_open
