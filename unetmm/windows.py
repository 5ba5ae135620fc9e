"""What Windows says of processes and memory; None where it does not, as on every other system."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

QUERY_PROCESS = 0x1000
"""Right to ask a process how it is."""
STILL_ACTIVE = 259
"""Exit code of a process that has not ended."""
NO_ACCESS = 5
"""Error of a process that is there, and another user's."""


class _Memory(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in (
            "total", "available", "total_paged", "available_paged", "total_virtual",
            "available_virtual", "available_extended",
        )),
    ]  # fmt: skip


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("faults", ctypes.c_uint32),
        *((name, ctypes.c_size_t) for name in (
            "peak", "resident", "peak_pool", "pool", "peak_other_pool", "other_pool", "pages",
            "peak_pages",
        )),
    ]  # fmt: skip


def _kernel32() -> Any:
    if sys.platform != "win32":
        return None
    return ctypes.WinDLL("kernel32", use_last_error=True)


def available_bytes() -> int | None:
    """Memory of the machine that no process uses."""
    kernel, found = _kernel32(), _Memory()
    found.length = ctypes.sizeof(found)
    if kernel is None or not kernel.GlobalMemoryStatusEx(ctypes.byref(found)):
        return None
    return int(found.available)


def peak_bytes() -> int | None:
    """Peak resident memory of this process."""
    found = _counters()
    return None if found is None else int(found.peak)


def resident_bytes() -> int | None:
    """Resident memory of this process."""
    found = _counters()
    return None if found is None else int(found.resident)


def _counters() -> _Counters | None:
    kernel, found = _kernel32(), _Counters()
    if kernel is None:
        return None
    found.length = ctypes.sizeof(found)
    ask = kernel.K32GetProcessMemoryInfo
    ask.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    asked = ask(kernel.GetCurrentProcess(), ctypes.byref(found), found.length)
    return found if asked else None


def is_alive(process: int) -> bool | None:
    """Whether a process of this machine runs; `os.kill` would end it there."""
    if sys.platform != "win32":
        return None
    kernel = _kernel32()
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(QUERY_PROCESS, False, process)
    if not handle:
        return bool(ctypes.get_last_error() == NO_ACCESS)
    code = ctypes.c_uint32()
    handle = ctypes.c_void_p(handle)
    asked = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not asked or code.value == STILL_ACTIVE
