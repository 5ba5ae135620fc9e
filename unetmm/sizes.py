"""Sizes in bytes as people write them, and the memory that a run may use."""

from __future__ import annotations

import os
import re
from pathlib import Path

from unetmm import windows
from unetmm.cgroups import memory_left
from unetmm.errors import ShapeError

UNITS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip
LEAST_PLAIN = 10**6
"""Smallest number without a unit that is taken for bytes; smaller ones lack a GB."""
JOB_HEADROOM = 1.05
"""Memory to ask of a batch system, over the budget: what the kernel counts besides the process."""
DEFAULT_SHARE_PERCENT = 50
"""Share of the available memory that a run may use when no budget is given."""


def parse_size(text: str) -> int:
    """Bytes of "512MB", "4GB" (10^9), "4GiB" or "4G" (2^30), or "50%" of what is available now.

    Raises
    ------
    ShapeError
        If the text is not a size, or not positive.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*|%)\s*", text)
    if match:
        number, unit = float(match[1]), match[2].upper()
        if unit == "%" and 0 < number <= 100:
            return int(available_bytes() * number / 100)
        if not unit and 0 < number < LEAST_PLAIN:
            raise ShapeError(f'"{text}" has no unit; write {text.strip()}GB or {text.strip()}MB')
        if unit in UNITS and number * UNITS[unit] >= 1:
            return int(number * UNITS[unit])
    raise ShapeError(f'"{text}" is not a memory size; write 512MB, 4GB, 4GiB or 50%')


def format_size(nbytes: int) -> str:
    """Bytes in the unit that people read: 731 MB, 4.00 GB."""
    if nbytes < 10**6:
        return f"{nbytes / 10**3:.1f} kB"
    if nbytes < 10**9:
        return f"{nbytes / 10**6:.0f} MB"
    return f"{nbytes / 10**9:.2f} GB"


def default_budget_bytes() -> int:
    """Half of the memory that is available to this process."""
    return available_bytes() * DEFAULT_SHARE_PERCENT // 100


def available_bytes() -> int:
    """Memory that this process could still take: the machine's, or its control group's if less."""
    candidates = [_meminfo_available(), *memory_left()]
    known = [c for c in candidates if c is not None]
    return min(known) if known else 2 * 10**9


def _meminfo_available() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return windows.available_bytes() or _psutil_available() or _half_of_all()
    match = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(match[1]) * 1024 if match else None


def _psutil_available() -> int | None:
    """Where there is no /proc, if psutil happens to be installed."""
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def _half_of_all() -> int | None:
    """Half of the machine's memory, as macOS tells no more without another program."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return None
