"""Files of an output on a disk: made safe, named once whole, removed.

An output grows under a name of its own beside its final one and is renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from unetmm.io.failures import translated


def part_path(path: Path) -> Path:
    """Hidden name beside `path`, so that the final rename stays within one file system."""
    return path.with_name(f".{path.name}.part")


def publish(part: Path, path: Path) -> None:
    """Give the finished output its final name; an old one disappears only now."""
    with translated(path, "give the output its name"):
        if part.is_dir() and path.is_dir():
            # A folder cannot be replaced in one step: the old one waits aside meanwhile.
            old = path.with_name(f".{path.name}.old")
            discard(old)
            os.rename(path, old)
            try:
                os.rename(part, path)
            except OSError:
                os.rename(old, path)
                raise
            discard(old)
        else:
            os.replace(part, path)
        sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard(path: Path) -> None:
    """Remove a file or folder of ours if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
