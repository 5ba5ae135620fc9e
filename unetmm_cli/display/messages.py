"""How a command ends, and what the library logs meanwhile: one line each on stderr."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unetmm_cli.display.lines import say, say_json

_REMEMBERED = 50
"""Number of lines that are not said again."""


def error(problem: Exception, as_json: bool = False) -> None:
    """One line that says what went wrong and what would work."""
    text = str(problem)
    if isinstance(problem, OSError) and problem.strerror:
        text = f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
    if hasattr(problem, "needed_bytes"):
        option = "--device-budget" if getattr(problem, "of_device", False) else "--mem-budget"
        text += f" ({option} {math.ceil(problem.needed_bytes / 10**6)}MB)"
    _say_end("error", " ".join(text.split()), as_json)


def usage_error(text: str, context: Any, as_json: bool = False) -> None:
    """One line on what is wrong with the command line, and where to read how it is right."""
    command = context.command_path if context is not None else "unetmm"
    text = " ".join(text.split()).rstrip(".")
    _say_end("error", f"{text}; see {command} --help", as_json)


def interrupted(outcome: str = "", as_json: bool = False) -> None:
    """One line after Ctrl-C."""
    _say_end("interrupted", outcome, as_json)


def _say_end(event: str, message: str, as_json: bool) -> None:
    if as_json:
        say_json({"event": event, "message": message})
    else:
        say(f"{event}{': ' if message else ''}{message}")


class LogLines(logging.Handler):
    """Shows the library's log and Python's warnings, one line each; other loggers stay silent."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(logging.INFO)
        self.as_json = as_json
        self.names: tuple[str, ...] = ()
        """Names of the image of a batch whose turn it is, and of its output."""
        self._said: deque[tuple[str, ...]] = deque(maxlen=_REMEMBERED)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record if it is the library's or a warning."""
        ours = record.name.split(".")[0] == "unetmm"
        if not ours and record.name != "py.warnings":
            return
        message = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING and not any(n in message for n in self.names):
            message = ": ".join([*self.names[:1], message])
        if (*self.names, message) in self._said:  # of an image that is opened once more
            return
        self._said.append((*self.names, message))
        if self.as_json:
            say_json({"event": "log", "level": record.levelname.lower(), "message": message})
        else:
            say(message if record.levelno < logging.WARNING else f"warning: {message}")


@contextmanager
def about(*names: str) -> Iterator[None]:
    """Warnings are of this image of a batch, which they name, and are said for each of them."""
    lines = [one for one in logging.getLogger().handlers if isinstance(one, LogLines)]
    for one in lines:
        one.names = names
    try:
        yield
    finally:
        for one in lines:
            one.names = ()


def show_logs(quiet: bool = False, as_json: bool = False) -> None:
    """Send log records and warnings to stderr, or nowhere if quiet."""
    logging.captureWarnings(True)
    handler = logging.NullHandler() if quiet else LogLines(as_json)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
