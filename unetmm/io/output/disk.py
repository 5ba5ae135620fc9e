"""Files of an output on a disk: made safe, named once whole, removed.

An output grows under a name of its own beside its final one and is renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from unetmm.io.failures import translated
from unetmm.io.files import READING, UPDATING


def part_path(path: Path) -> Path:
    """Hidden name beside `path`, so that the final rename stays within one file system."""
    return path.with_name(f".{path.name}.part")


def spent_path(path: Path) -> Path:
    """Hidden name of a workspace beside `path` whose output is whole, until it is removed."""
    return path.with_name(f".{path.name}.spent")


def publish(part: Path, path: Path, aside: Path) -> None:
    """Give the finished output its final name; an old one disappears only now.

    aside : name on the same file system for the old one.
    """
    with translated(path, "give the output its name"):
        if part.is_dir() and path.is_dir():
            # A folder cannot be replaced in one step: the old one waits aside meanwhile.
            discard(aside)
            os.rename(path, aside)
            try:
                os.rename(part, path)
            except OSError:
                os.rename(aside, path)
                raise
            discard(aside)
        else:
            os.replace(part, path)
        sync(path.parent)


def is_own(folder: Path) -> bool:
    """Whether a name is a folder of this user, and no link: what is in it may be removed."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    return not hasattr(os, "geteuid") or found.st_uid in (os.geteuid(), _uid_in(folder))


def _uid_in(folder: Path) -> int:
    """The owner of what this user makes in a folder: file systems may show another than ours."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_uid
    except OSError:
        return -1


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, reach the disk.

    Windows does so for files that may be written only, and has nothing for folders.
    """
    if sys.platform == "win32" and path.is_dir():
        return
    handle = os.open(path, READING if sys.platform != "win32" else UPDATING)
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
