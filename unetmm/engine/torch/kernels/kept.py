"""Tiles that were measured on a card, kept on disk: `benchmarks/gpu_kernels.py --keep` writes them.

Sums are in another order in other tiles, so that pixels differ in the last bits: the name of the
tiles is part of what an output was made from, and a run that was begun with others is not gone on
with.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from unetmm.compiling.cache import roots
from unetmm.engine.torch.kernels.tiles import Kind, Measured, Tile

log = logging.getLogger(__name__)

MOST_BYTES = 2**16
"""Largest size of a file that is read."""
ALLOWED: dict[str, tuple[int, ...]] = {
    "item_bytes": (2, 4),
    "channels": (16, 32, 64, 128),
    "pixels": (16, 32, 64, 128, 256),
    "warps": (1, 2, 4, 8, 16),
    "rows": tuple(range(1, 65)),
    "resident": tuple(range(1, 33)),
}
"""Values that each number of an entry may have."""


@dataclass(frozen=True)
class CardOfTiles:
    """What measured tiles are good for: a card, and the compiler of the kernels."""

    name: str
    """Name of the card as its driver says it."""
    capability: tuple[int, int]
    """Compute capability."""
    triton: str
    """Version of Triton."""

    @property
    def path(self) -> Path | None:
        """File of its tiles; None where there is no place for any."""
        root = next(roots(), None)
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        major, minor = self.capability
        return None if root is None else root / f"tiles-{slug}-{major}.{minor}.json"


def keep(card: CardOfTiles, item_bytes: int, found: Sequence[Measured]) -> Path:
    """Write the tiles of a card, instead of those that are there for numbers of this size.

    Raises
    ------
    OSError
        If they cannot be kept.
    """
    path = card.path
    if path is None:
        raise OSError("there is no folder to keep tiles in; set UNETMM_CACHE_DIR")
    others = [m for m in find(card) if m.item_bytes != item_bytes]
    names = "pixels", "warps", "rows", "resident"
    tiles = [
        {"kind": m.kind, "item_bytes": m.item_bytes, "channels": m.channels}
        | {name: getattr(m.tile, name) for name in names}
        for m in (*others, *found)
    ]
    content = {"card": card.name, "triton": card.triton, "tiles": tiles}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, path)
    return path


def find(card: CardOfTiles) -> tuple[Measured, ...]:
    """The tiles that were measured on a card; none, with a word, where they cannot be used."""
    path = card.path
    try:
        if path is None or not path.is_file():
            return ()
        with path.open("rb") as file:
            content = json.loads(file.read(MOST_BYTES))
        found = tuple(map(_measured, content["tiles"]))
        measured_by = str(content["triton"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        log.warning("%s: these tiles are damaged and not used; remove them, or measure anew", path)
        return ()
    if measured_by != card.triton:
        log.warning(
            "%s: these tiles were measured with Triton %s and are not used with %s; remove them, "
            "or measure anew", path, measured_by[:20], card.triton,
        )  # fmt: skip
        return ()
    return found


def _measured(entry: Any) -> Measured:
    """An entry of a file.

    Raises
    ------
    ValueError
        If a number is none that a kernel may have.
    """
    for name, values in ALLOWED.items():
        if type(entry[name]) is not int or entry[name] not in values:
            raise ValueError(name)
    if entry["kind"] not in get_args(Kind):
        raise ValueError("kind")
    tile = Tile(entry["pixels"], entry["warps"], 0, entry["rows"], entry["resident"])
    return Measured(entry["kind"], entry["item_bytes"], entry["channels"], tile)
