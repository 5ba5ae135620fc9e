"""A picture that comes row by row, as tiles at every level of zoom, each half as large as the next.

Levels are numbered as in Deep Zoom: level 0 is one pixel, the last one the whole picture.
"""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from unetmm_cli.display.preview.pictures import Picture

TILE_PX = 512
"""Height and width of a tile in pixels."""
QUALITY = 88
"""Quality of tiles that are stored as JPEG."""
MOST_WAITING = 48
"""Most tiles that wait for being encoded."""


def last_level(height: int, width: int) -> int:
    """Number of the level that is the whole picture."""
    return math.ceil(math.log2(max(height, width, 1)))


def first_level(height: int, width: int) -> int:
    """Number of the largest level that is a single tile."""
    return min(last_level(height, width), int(math.log2(TILE_PX)))


class TileStore(Protocol):
    """Takes encoded tiles."""

    suffix: str
    """Suffix of the files: png or jpg."""

    def put(self, name: str, content: bytes) -> None:
        """Keep a tile; called from several threads."""


class EmbeddedTiles:
    """Tiles within the page, without loss."""

    suffix = "png"

    def __init__(self) -> None:
        self.tiles: dict[str, str] = {}
        self._lock = threading.Lock()

    def put(self, name: str, content: bytes) -> None:
        address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        with self._lock:
            self.tiles[name] = address


class FolderTiles:
    """Tiles in a folder beside the page."""

    suffix = "jpg"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes = 0
        self._lock = threading.Lock()

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / f"{name}.{self.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with self._lock:
            self.bytes += len(content)


class Encoder:
    """Encodes tiles in other threads; what goes wrong there is raised in the end."""

    def __init__(self, store: TileStore, threads: int) -> None:
        self.store = store
        self._pool = ThreadPoolExecutor(threads)
        self._room = threading.BoundedSemaphore(MOST_WAITING)
        self._errors: list[BaseException] = []

    def encode(self, name: str, tile: Picture) -> None:
        """Take a tile, which is not to be changed afterwards."""
        self._room.acquire()
        self._pool.submit(self._encode, name, tile).add_done_callback(self._done)

    def close(self) -> None:
        """Wait for all tiles."""
        self._pool.shutdown()
        if self._errors:
            raise self._errors[0]

    def _encode(self, name: str, tile: Picture) -> None:
        file = BytesIO()
        if self.store.suffix == "png":
            Image.fromarray(tile).save(file, "PNG", compress_level=6)
        else:
            Image.fromarray(tile).save(file, "JPEG", quality=QUALITY, subsampling=0)
        self.store.put(name, file.getvalue())

    def _done(self, work: Future[None]) -> None:
        self._room.release()
        if (error := work.exception()) is not None:
            self._errors.append(error)


class Pyramid:
    """One picture of known size, which is given from top to bottom."""

    def __init__(
        self, name: str, height: int, width: int, put: Callable[[str, Picture], None]
    ) -> None:
        self.name = name
        self._put = put
        last, first = last_level(height, width), first_level(height, width)
        self._levels = list(range(last, first - 1, -1))
        self._waiting: list[list[Picture]] = [[] for _ in self._levels]
        self._rows = [0] * len(self._levels)

    def add(self, rows: Picture) -> None:
        """Take the next rows; their number may be any, and even but for the last ones."""
        self._add(0, rows, is_last=False)

    def close(self) -> None:
        """Write what is left."""
        for depth in range(len(self._levels)):
            self._flush(depth, is_last=True)

    def _add(self, depth: int, rows: Picture, is_last: bool) -> None:
        self._waiting[depth].append(rows)
        self._flush(depth, is_last)

    def _flush(self, depth: int, is_last: bool) -> None:
        """Write whole rows of tiles, and in the end what is left."""
        waiting = self._waiting[depth]
        count = sum(len(rows) for rows in waiting)
        if count < TILE_PX and not (is_last and count):
            return
        rows = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
        ready = len(rows) if is_last else len(rows) // TILE_PX * TILE_PX
        self._waiting[depth] = [rows[ready:].copy()] if ready < len(rows) else []
        for y in range(0, ready, TILE_PX):
            strip = rows[y : min(y + TILE_PX, ready)]
            self._write(depth, strip)
            if depth + 1 < len(self._levels):
                self._waiting[depth + 1].append(_halved(strip))
        if depth + 1 < len(self._levels):
            self._flush(depth + 1, is_last=False)

    def _write(self, depth: int, strip: Picture) -> None:
        row = self._rows[depth]
        self._rows[depth] += 1
        for column, x in enumerate(range(0, strip.shape[1], TILE_PX)):
            tile = np.ascontiguousarray(strip[:, x : x + TILE_PX])
            self._put(f"{self.name}/{self._levels[depth]}/{column}_{row}", tile)


def _halved(rows: Picture) -> Picture:
    """Means of 2 x 2 pixels; an odd last row or column is its own mean."""
    return np.asarray(Image.fromarray(rows).reduce(2))


def tile_names(name: str, height: int, width: int) -> Iterator[str]:
    """Names of all tiles of a picture."""
    last = last_level(height, width)
    for level in range(first_level(height, width), last + 1):
        h, w = (-(-n // 2 ** (last - level)) for n in (height, width))
        for row in range(-(-h // TILE_PX)):
            for column in range(-(-w // TILE_PX)):
                yield f"{name}/{level}/{column}_{row}"
