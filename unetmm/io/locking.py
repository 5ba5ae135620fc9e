"""Locks on open files, wherever Python runs; they end with the process that has them."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path

log = logging.getLogger(__name__)

OPENING = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""Flags that a file is opened with to be locked: it is made if need be, a link is not followed."""
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""Errors that say that another process has the lock."""
_FAR_BYTES = 2**30
"""Place of the locked byte on Windows, beyond all that a journal holds, for others may read it."""


def lock_file(handle: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed; False if another process has it."""
    try:
        _lock(handle, wait)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        # A file system that knows no locks.
        log.warning("files cannot be locked here (%s); start no run twice", error.strerror)
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one of this name, rather than removed or replaced."""
    try:
        found, named = os.fstat(handle), path.lstat()
    except OSError:
        return False
    return (found.st_ino, found.st_dev) == (named.st_ino, named.st_dev)


if sys.platform == "win32":  # pragma: no cover

    def _lock(handle: int, wait: bool) -> None:
        import msvcrt

        os.lseek(handle, _FAR_BYTES, os.SEEK_SET)
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return
            except OSError as error:
                if not wait or error.errno not in _BUSY:  # LK_LOCK gives up after 10 s
                    raise

else:

    def _lock(handle: int, wait: bool) -> None:
        try:
            import fcntl
        except ImportError as error:  # a system with neither
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
