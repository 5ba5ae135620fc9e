"""What the control groups of Linux leave to this process: memory and processor time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
"""Folder of the groups, of both versions."""
OWN = Path("/proc/self/cgroup")
"""File that names the groups of this process."""
_CACHE = ("inactive_file", "active_file")
"""Entries of `memory.stat` that the kernel gives back when memory is asked for: pages of files."""


def memory_left() -> list[int]:
    """Bytes that each group above this process leaves, of those with a limit."""
    found = []
    for version, folder in _groups("memory"):
        names = ("memory.max", "memory.current", "") if version == 2 else (
            "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        )  # fmt: skip
        limit, used = (_number(folder / name) for name in names[:2])
        if limit is not None and used is not None:
            used -= min(used, _cached_bytes(folder / "memory.stat", names[2]))
            found.append(max(0, limit - used))
    return found


def _cached_bytes(stat: Path, prefix: str) -> int:
    """Bytes of files that count as used, though they are kept only as long as there is room."""
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 0
    entries = (line.split() for line in lines)
    found = {entry[0]: entry[1] for entry in entries if len(entry) == 2}
    values = (found.get(prefix + name, found.get(name, "0")) for name in _CACHE)
    return sum(int(value) for value in values if value.isdecimal())


def quota_cores() -> int | None:
    """Cores' worth of time that the groups allow at most, rounded up; None without a limit."""
    shares = []
    for version, folder in _groups("cpu"):
        if version == 2:
            words = _text(folder / "cpu.max").split()
            quota, period = [*words, "", ""][:2]
        else:
            quota, period = (
                _text(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            )
        if quota.isdecimal() and period.isdecimal() and int(quota) > 0 and int(period) > 0:
            shares.append(int(quota) / int(period))
    return max(1, math.ceil(min(shares))) if shares else None


def _groups(controller: str) -> Iterator[tuple[int, Path]]:
    """Version and folder of every group with a controller that this process is in."""
    try:
        lines = OWN.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            version, root = 2, ROOT
        elif controller in controllers.split(","):
            version, root = 1, ROOT / controllers
            root = root if root.is_dir() else ROOT / controller
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            yield version, folder
            if folder == root:
                break


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> int | None:
    """A number in a file; None if there is none, as in "max"."""
    text = _text(file)
    return int(text) if text.isdecimal() else None
