"""The threads that share a stream's columns: started with it, ended with it.

Thread 0 is the caller. In a step every thread runs the same stages on its own columns; they wait
for their neighbours inside the compiled loop and come back to Python once a step.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.cpu.sync import BUSY, LINE

Work = Callable[[int], bool]
"""Function that does one thread's share, given its number; False if the team gave up."""


class Team:
    """`threads` - 1 waiting threads and the caller.

    progress : int64, a line of each thread (`sync`), the phases that it has done first; the line
        behind them begins with 1 when the team gives up.
    """

    def __init__(self, threads: int) -> None:
        self.progress = np.zeros((threads + 1) * LINE, np.int64)
        self._inboxes: list[SimpleQueue[Work | None]] = [SimpleQueue() for _ in range(threads - 1)]
        self._errors: list[BaseException] = []
        weakref.finalize(self, _dismiss, self._inboxes)
        for i, inbox in enumerate(self._inboxes):
            threading.Thread(
                target=_serve,
                args=(inbox, i + 1, self.progress, self._errors),
                name=f"unetmm-columns-{i + 1}",
                daemon=True,
            ).start()

    def run(self, work: Work) -> None:
        """Let every thread do its share; returns when all have, or raises RuntimeError."""
        try:
            for inbox in self._inboxes:
                inbox.put(work)
            done = work(0)
        except BaseException:
            self.progress[-LINE] = 1  # nobody must wait for a thread that never came
            raise
        if not done:
            error = self._errors[0] if self._errors else None
            raise RuntimeError("a thread of this row stream has failed") from error

    def take_busy(self) -> list[int]:
        """How long each thread has worked since this was asked last, waiting apart."""
        busy = self.progress[BUSY:-LINE:LINE]
        taken = [int(time) for time in busy]
        busy[:] = 0
        return taken


def _serve(
    inbox: SimpleQueue[Work | None],
    number: int,
    progress: NDArray[np.int64],
    errors: list[BaseException],
) -> None:
    while True:
        work = inbox.get()
        if work is None:
            return
        try:
            work(number)
        except BaseException as error:
            errors.append(error)
            progress[-LINE] = 1
        del work  # it holds the stream's memory


def _dismiss(inboxes: list[SimpleQueue[Work | None]]) -> None:
    for inbox in inboxes:
        inbox.put(None)
