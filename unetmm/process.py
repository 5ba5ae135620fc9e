"""This process: its measured peak, whether glibc keeps what is freed, its environment."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unetmm import windows
from unetmm.cgroups import quota_cores
from unetmm.geometry import round_up

M_MMAP_THRESHOLD = -3
M_TRIM_THRESHOLD = -1
M_ARENA_MAX = -8
MADV_DONTNEED = 4
MMAP_THRESHOLD_BYTES = 256 * 1024
"""Larger blocks are mapped one by one, so freeing them returns them at once and in full."""
USUAL_THRESHOLD_BYTES = 128 * 1024
"""The thresholds that glibc begins with."""
KEPT_BLOCK_BYTES = 32 * 1024**2
"""The largest that glibc takes as a threshold for mapping."""
FRESH_BYTES = 105 * 10**6
"""Resident memory of the command line when it makes its plan; a part of the runtime term."""
LIBRARY_BYTES = {"zarr": 14 * 10**6}
"""Library that a run loads where it needs it -> its resident memory, measured; a part of the
runtime term too, whether it is there before a plan is made or not."""
COMPILER = "libllvmlite"
"""Part of the name of the library that holds the compiler."""
HELD_STEP_BYTES = 32 * 10**6
"""Bytes that the same run may differ by from one time to the next."""


def limit_allocator() -> None:
    """Keep glibc from hoarding freed memory: its thresholds otherwise grow with what is freed.

    Elsewhere nothing happens.
    """
    _mallopt(
        (M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
        (M_TRIM_THRESHOLD, 2 * MMAP_THRESHOLD_BYTES),
        (M_ARENA_MAX, 2),
    )


@contextmanager
def limited_allocator() -> Iterator[None]:
    """As `limit_allocator`, until the last of these blocks is left: then as glibc begins."""
    with _limiting:
        _limits.append(None)
        limit_allocator()
    try:
        yield
    finally:
        with _limiting:
            _limits.pop()
            if not _limits and not _kept_limited:
                _mallopt(
                    (M_MMAP_THRESHOLD, USUAL_THRESHOLD_BYTES),
                    (M_TRIM_THRESHOLD, USUAL_THRESHOLD_BYTES),
                    (M_ARENA_MAX, 0),
                )


_limiting = threading.Lock()
_limits: list[None] = []
"""One entry for every block of `limited_allocator` that is under way."""
_kept_limited: list[None] = []
"""One entry if this process is ours, so that its allocator stays limited."""


def limit_for_good() -> None:
    """As `limit_allocator`, for a process that is ours from its start to its end."""
    _kept_limited.append(None)
    limit_allocator()


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, for a loop that takes the same blocks again at every step.

    Elsewhere nothing happens. Mapping and clearing pages is 5 % of a training step otherwise.
    """
    _mallopt((M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES), (M_TRIM_THRESHOLD, 2**31 - 1))


def _mallopt(*settings: tuple[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl
        return
    for name, value in settings:
        mallopt(name, value)


def let_go_of_compiler() -> None:
    """Give back the pages of the compiler's code; those that are needed are mapped again.

    The system maps more of a file than is asked for: of LLVM 36 MB or 66 MB, by the way in which
    the file came to its cache. Nothing happens where that is not to be seen.
    """
    try:
        lines = Path("/proc/self/maps").read_text(encoding="ascii").splitlines()
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError, UnicodeDecodeError):
        return
    for line in lines:
        span, access, *_, path = line.split(maxsplit=5)
        # Code is what no process changes. All else may hold addresses that were filled in.
        if access == "r-xp" and COMPILER in path:
            start, stop = (int(end, 16) for end in span.split("-"))
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), MADV_DONTNEED)


def reset_peak() -> None:
    """Let `peak_bytes` count from now, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


def peak_bytes() -> int:
    """Peak resident memory of this process: VmHWM, or what getrusage says elsewhere."""
    found = _status("VmHWM") or windows.peak_bytes()
    if found is not None:
        return found
    try:
        import resource
    except ImportError:  # nothing is known of it
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Resident memory now, or the peak where there is no /proc."""
    found = _status("VmRSS") or windows.resident_bytes()
    return peak_bytes() if found is None else found


def held_bytes() -> int:
    """What this process holds beyond a fresh command line that has just opened an image.

    Rounded up, and 0 where the difference is small, so that equal runs get equal plans.
    """
    let_go_of_compiler()
    loaded_bytes = sum(size for name, size in LIBRARY_BYTES.items() if name in sys.modules)
    excess = resident_bytes() - FRESH_BYTES - loaded_bytes
    return 0 if excess < HELD_STEP_BYTES else round_up(excess, HELD_STEP_BYTES)


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def is_alive(process: int) -> bool:
    """Whether a process of this machine is at work."""
    known = windows.is_alive(process)
    if known is not None:
        return known
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return not _is_ended(process)


def _is_ended(process: int) -> bool:
    """Whether a process was killed, and only its number is left: in a container, where nobody asks
    how it ended, that stays for ever.
    """
    try:
        state = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in (b"Z", b"X")


def child_environment() -> dict[str, str]:
    """The environment of this process, with the package's folder first in PYTHONPATH.

    With it another Python finds this very package, installed or not.
    """
    root, more = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")
    # An empty part is the working folder, whose files are the images' and not ours.
    parts = [part for part in more.split(os.pathsep) if part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *parts])}


def available_cores() -> int:
    """Cores that this process may use: those it may run on, or whose time it is given if fewer."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, quota_cores() or cores))
