"""One line or one JSON object on stdout or stderr; nothing else in the command line prints."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from unetmm_cli.display.text import plain


def print_any_text() -> None:
    """Let stdout take text that its encoding lacks: names of files as they are, the rest as ?."""
    codecs.register_error("unetmm", _lacking)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="unetmm")


def _lacking(error: UnicodeError) -> tuple[bytes, int]:
    """What is printed instead of characters that cannot be encoded, and where they end."""
    assert isinstance(error, UnicodeEncodeError)
    # A byte of a name that is no text in the locale's encoding has become such a character.
    known = (
        ord(c) - 0xDC00 if "\udc80" <= c <= "\udcff" else ord("?")
        for c in error.object[error.start : error.end]
    )
    return bytes(known), error.end


def can_print(text: str) -> bool:
    """Whether stdout's encoding has every character of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def result(text: str) -> None:
    """One line of result on stdout."""
    print(text)


def result_json(content: Any) -> None:
    """One JSON object on stdout; NaN and infinities become text, so any parser reads it."""
    print(json.dumps(plain(content), indent=2))


def give_up_stdout() -> None:
    """Let what is left for stdout go nowhere, after its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_failed: list[str] = []
"""Lines that stderr could not take."""


def give_up_stderr() -> None:
    """Let what is left for stderr go nowhere if it could not take a line.

    Python would end with an error for what it could not write, and libraries write at the end.
    """
    if _failed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def say(text: str) -> None:
    """One line for the reader on stderr; where that cannot be written, the run goes on."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _failed[:] = [text]


def say_json(content: dict[str, Any]) -> None:
    """One JSON object on a line of stderr."""
    say(json.dumps(content))


def progress_line(text: str) -> None:
    """A line on a terminal's stderr that takes the place of the one before; empty removes it."""
    with suppress(OSError):
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def looked_at() -> Callable[[int, int], None] | None:
    """Shows on a terminal how much of a pair was looked at; None where there is no terminal."""
    if not sys.stderr.isatty():
        return None

    def on_progress(done: int, total: int) -> None:
        text = f"looked at {done / 1e6:.0f} of {total / 1e6:.0f} Mpx" if done < total else ""
        progress_line(text)

    return on_progress
