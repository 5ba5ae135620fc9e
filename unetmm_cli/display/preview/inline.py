"""A picture in the terminal itself, where it is certain that the terminal can show one."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

Way = Literal["kitty", "iterm"]
"""Way in which a terminal takes pictures."""
CHUNK_LETTERS = 4096
"""Most letters that kitty takes at once."""
ITERM = ("iTerm.app", "WezTerm")
"""Values of TERM_PROGRAM of terminals that take pictures as iTerm2 does."""


def way_of(environment: Mapping[str, str]) -> Way | None:
    """How the terminal takes pictures; None if it does not, or if that is not certain."""
    term = environment.get("TERM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux")):
        return None
    if "KITTY_WINDOW_ID" in environment and term == "xterm-kitty":
        return "kitty"
    return "iterm" if environment.get("TERM_PROGRAM") in ITERM else None


def show_inline(make: Callable[[], bytes]) -> None:
    """Make a picture, a PNG, and show it, if stdout is a terminal that can."""
    way = way_of(os.environ) if sys.stdout.isatty() else None
    if way is not None:
        png = make()
        sys.stdout.write("".join(_kitty(png) if way == "kitty" else _iterm(png)) + "\n")
        sys.stdout.flush()


def _kitty(png: bytes) -> Iterator[str]:
    """Source: kitty's documentation, "Terminal graphics protocol"."""
    text = base64.b64encode(png).decode()
    chunks = [text[i : i + CHUNK_LETTERS] for i in range(0, len(text), CHUNK_LETTERS)]
    for i, chunk in enumerate(chunks):
        first = "f=100,a=T," if i == 0 else ""
        yield f"\x1b_G{first}m={int(i < len(chunks) - 1)};{chunk}\x1b\\"


def _iterm(png: bytes) -> Iterator[str]:
    """Source: iTerm2's documentation, "Images"."""
    yield f"\x1b]1337;File=inline=1;size={len(png)}:{base64.b64encode(png).decode()}\a"
