"""The process in which one contender is measured; events go to the parent as lines of JSON.

Every run waits for a line on stdin, so that the parent can let contenders take turns.

python -m unetmm.benchmark.child KEY SETTING_JSON FOLDER DESCRIPTOR
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unetmm import process
from unetmm.benchmark.contenders import (
    OWN,
    PREPARE,
    REFERENCE,
    Contender,
    NotPossibleError,
    Subject,
    prepare,
)
from unetmm.benchmark.peers import PEERS
from unetmm.benchmark.setting import Files, Setting
from unetmm.errors import UnetmmError
from unetmm.sizes import available_bytes, format_size

SLOW_S = 20.0
"""Time of a first run above which a contender gets `Setting.slow_repeats`."""

PR_SET_PDEATHSIG = 1

Send = Callable[[dict[str, Any]], None]
AwaitTurn = Callable[[], object]


def main() -> int:
    """Measure one contender; 0 if there are figures."""
    warnings.simplefilter("ignore")
    key, setting, folder, descriptor = sys.argv[1:5]
    channel = os.fdopen(int(descriptor), "w", encoding="utf-8", buffering=1)

    def send(event: dict[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    _end_with_parent()
    limit_bytes = _stay_within_memory()
    subject = Subject(Setting.from_json(setting), Files(Path(folder)))
    try:
        if key == PREPARE:
            prepare(subject)
        else:
            measure(key, subject, send, sys.stdin.readline)
    except (NotPossibleError, UnetmmError) as error:
        send({"failure": str(error)})
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        send({"failure": f"needs more than the {format_size(limit_bytes)} that are available"})
    else:
        return 0
    return 1


def measure(key: str, subject: Subject, send: Send, await_turn: AwaitTurn) -> None:
    """Make a contender ready, run it once for its result, then time it turn by turn."""
    started = time.perf_counter()
    contender = make(key, subject)
    send({"setup_s": time.perf_counter() - started, "note": contender.note})
    first = time.perf_counter()
    answer = None
    if contender.seconds is None:
        answer = contender.run()
    else:
        contender.seconds()
    warm_s = time.perf_counter() - first
    difference = None
    if isinstance(answer, np.ndarray):
        if not subject.files.reference.exists() and key in (REFERENCE, "channels-last"):
            np.save(subject.files.reference, answer)
        difference = subject.difference(answer)
    del answer
    send({"warm_s": warm_s})
    process.reset_peak()
    setting = subject.setting
    repeats = setting.slow_repeats if warm_s > SLOW_S and setting.slow_repeats else setting.repeats
    for _ in range(repeats):
        await_turn()
        send({"seconds": seconds_of(contender), "repeats": repeats})
    peak = contender.peak_bytes()
    if contender.answer is not None:
        difference = subject.difference(contender.answer())
    send({"peak_bytes": peak, "difference": difference, "per_px": contender.per_px})


def make(key: str, subject: Subject) -> Contender:
    """The contender of a key, ready to run."""
    return OWN[key][1](subject) if key in OWN else PEERS[key].prepare(subject)


def seconds_of(contender: Contender) -> float:
    """Time of one run of a contender."""
    if contender.seconds is not None:
        return contender.seconds()
    start = time.perf_counter()
    contender.run()
    return time.perf_counter() - start


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, where it can do that."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        pass


def _stay_within_memory() -> int:
    """Limit the memory of this process; returns the bytes that it may allocate.

    Beyond them it fails by itself. If the kernel has to end a process, it ends this one.
    """
    import resource

    limit = available_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        pass
    return limit


if __name__ == "__main__":
    sys.exit(main())
