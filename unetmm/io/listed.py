"""Lists of names in messages: the first of many, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMES = 4
"""Most names that a message has of many that say little each."""


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """ "a, b, c" or "a, b, c, d and 5 more"."""
    more = len(names) - most
    if more <= 1:  # one more is as short as its name
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {more} more"
