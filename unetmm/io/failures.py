"""Turns what codecs and the operating system throw into one-line ImageErrors."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from unetmm.errors import ImageError, UnetmmError

MAX_REASON_CHARS = 200
"""Longest reason in a message, in characters."""
_MISFITS = (ArithmeticError, LookupError, TypeError, AttributeError, struct.error)
"""Errors that decoders raise where parts of a file do not fit together."""


@contextmanager
def translated(path: object, task: str) -> Iterator[None]:
    """Make any failure inside an ImageError "<path>: cannot <task>: <reason>".

    Third-party decoders raise almost anything on a damaged file (struct.error, KeyError,
    MemoryError on absurd sizes, ...), so the net is as wide as `Exception` on purpose.
    """
    try:
        yield
    except UnetmmError:
        raise
    except Exception as exc:
        raise ImageError(f"{path}: cannot {task}: {reason(exc)}") from exc


def reason(exc: Exception) -> str:
    """One line that says what went wrong, with a hint where the cause is known."""
    if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
        return "the disk is full; free some space or write elsewhere"
    if isinstance(exc, MemoryError):
        return "it claims a size that does not fit in memory, the file is probably damaged"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    text = " ".join(str(exc).split()) or type(exc).__name__
    if isinstance(exc, _MISFITS):
        text = f"it is damaged ({text})"
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 3] + "..."
