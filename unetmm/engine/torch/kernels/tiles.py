"""How the fused kernels are cut: integers only, so that a plan can count their scratch memory.

The tables come of compiling for compute capability 9: in each, as many pixels as need no more than
the registers of a program. `benchmarks/gpu_kernels.py` measures others on a GPU, which are kept by
card (`kept.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod
from typing import Literal

LEAST_CHANNELS = 16
"""Fewest channels of a tile: a product of the hardware takes no less."""
LEAST_ROWS = 4
"""Fewest rows of a tile of the depthwise half, beside two of the rim, unless a map has no more."""


@dataclass(frozen=True)
class Tile:
    """Size of a program of a kernel."""

    pixels: int
    """Pixels of a tile, a power of two."""
    warps: int
    """Groups of 32 threads."""
    shared_bytes: int
    """Shared memory that the compiled kernel takes."""
    rows: int = 8
    """Most rows of a tile of the depthwise half."""
    resident: int = 4
    """Programs for each processor, of those that go through tiles one after the other."""


DEPTHWISE: dict[tuple[int, int], Tile] = {
    (2, 16): Tile(64, 4, 3584, resident=4),
    (2, 32): Tile(64, 4, 10240, resident=3),
    (2, 64): Tile(64, 8, 32768, resident=2),
    (2, 128): Tile(32, 8, 106496, resident=2),
    (4, 16): Tile(64, 4, 14336, resident=4),
    (4, 32): Tile(64, 4, 40960, resident=2),
    (4, 64): Tile(32, 8, 81920, resident=1),
}
"""Tiles of the depthwise half, by the bytes of a number and the channels of a tile. The scratch
memory of all programs is to fit the caches of an H100 (50 MB)."""
POINTWISE: dict[tuple[int, int], Tile] = {
    (2, 16): Tile(64, 4, 3584, resident=8),
    (2, 32): Tile(64, 4, 10240, resident=6),
    (2, 64): Tile(64, 8, 32768, resident=2),
    (2, 128): Tile(32, 8, 106496, resident=2),
    (4, 16): Tile(64, 4, 14336, resident=6),
    (4, 32): Tile(64, 4, 40960, resident=3),
    (4, 64): Tile(32, 8, 114688, resident=1),
}
"""Tiles of the pointwise half, by the same."""
GRADIENT: dict[tuple[int, int], Tile] = {
    (2, 16): Tile(32, 4, 6144, resident=3),
    (2, 32): Tile(32, 4, 12288, resident=2),
    (2, 64): Tile(32, 8, 32768, resident=1),
    (4, 16): Tile(32, 4, 8192, resident=2),
    (4, 32): Tile(32, 4, 16384, resident=2),
    (4, 64): Tile(32, 8, 32768, resident=1),
}
"""Tiles of the gradients, which hold those of the weights: there are none for wider maps."""


@dataclass(frozen=True)
class WideTile:
    """Size of a program of a matrix product."""

    pixels: int
    """Pixels of a tile."""
    outputs: int
    """Outputs of a tile."""
    depth: int
    """Inputs that are multiplied at once."""
    warps: int
    """Groups of 32 threads."""


PRODUCT = {2: WideTile(128, 64, 64, 8), 4: WideTile(64, 64, 32, 8)}
"""Tiles of the products of wide maps, by the bytes of a number."""
CONVOLUTION = {2: WideTile(128, 64, 32, 8), 4: WideTile(64, 64, 32, 4)}
"""Tiles of the convolutions between blocks, by the same."""
MOST_CHANNELS = 128
"""Most channels of a map between blocks that is made or read by such a convolution: of wider ones
the library's products are quicker than what they move."""
GATE_PIXELS, GATE_CHANNELS = 64, 16
"""Tile of the depthwise convolution of wide maps."""


Kind = Literal["depthwise", "pointwise", "gradient"]
"""Kind of a kernel that has a table of tiles."""


@dataclass(frozen=True)
class Measured:
    """Tile that was the quickest on a card, instead of that of the table."""

    kind: Kind
    """Kind of the kernel."""
    item_bytes: int
    """Bytes of a number of a map."""
    channels: int
    """Channels of the tile, a power of two."""
    tile: Tile
    """Tile that was found; it fits the card, whatever shared memory it takes."""


@dataclass(frozen=True)
class Fusing:
    """What of a GPU decides which kernels a block has."""

    item_bytes: int
    """Bytes of a number of a map."""
    processors: int
    """Multiprocessors of the GPU."""
    shared_bytes: int
    """Shared memory that a program may take."""
    measured: tuple[Measured, ...] = ()
    """Tiles that were measured on this very card."""

    @property
    def name(self) -> str:
        """Name of the measured tiles that pixels depend on; empty where all are of the tables."""
        halves = [
            m for m in self.measured if m.kind != "gradient" and m.item_bytes == self.item_bytes
        ]
        text = repr(sorted(halves, key=lambda m: (m.kind, m.channels)))
        return hashlib.sha256(text.encode()).hexdigest()[:8] if halves else ""

    def tile(self, kind: Kind, channels: int) -> Tile | None:
        """Tile of a kernel for maps of so many channels; None: there is no such kernel."""
        key = self.item_bytes, padded_channels(channels)
        for found in self.measured:
            if (found.kind, found.item_bytes, found.channels) == (kind, *key):
                return found.tile
        tables = {"depthwise": DEPTHWISE, "pointwise": POINTWISE, "gradient": GRADIENT}
        return tables[kind].get(key)

    def programs(self, tile: Tile) -> int:
        """Programs that go through tiles one after the other."""
        return tile.resident * self.processors

    def halves(self, channels: int) -> tuple[Tile, Tile] | None:
        """Tiles of both halves of a block; None: one kernel an operation instead."""
        found = self.tile("depthwise", channels), self.tile("pointwise", channels)
        if found[0] is None or found[1] is None:
            return None
        both = found[0], found[1]
        return both if max(t.shared_bytes for t in both) <= self.shared_bytes else None

    def gradient(self, channels: int) -> Tile | None:
        """Tile of a block's gradients; None: torch's operations do them."""
        found = self.tile("gradient", channels)
        return found if found is not None and found.shared_bytes <= self.shared_bytes else None

    def cut(self, tile: Tile, channels: int, rows: int, width: int, images: int = 1) -> Tiling:
        """How the depthwise half cuts maps of `rows` by `width`."""
        across = -(-width // (tile.pixels - 2))
        most = max(1, self.programs(tile) // images)
        walk = tile.rows
        while walk > LEAST_ROWS and across * -(-rows // walk) < most:
            walk //= 2
        walk = min(walk, rows)
        tiles = across * -(-rows // walk)
        row = tile.pixels * 2 * padded_channels(channels)
        return Tiling(walk, across, tiles, min(tiles, most), (walk + 2) * row, images)


@dataclass(frozen=True)
class Tiling:
    """Tiles of the depthwise half."""

    walk: int
    """Rows of a tile."""
    across: int
    """Tiles side by side."""
    tiles: int
    """Tiles of an image."""
    programs: int
    """Programs that do them, one tile after the other."""
    part: int
    """Numbers of a program's scratch memory."""
    images: int
    """Images of a batch, each of which has programs of its own."""

    @property
    def scratch(self) -> int:
        """Numbers of all programs' scratch memory."""
        return prod((self.programs, self.images, self.part))


def padded_channels(channels: int) -> int:
    """Channels of a tile: the next power of two."""
    return max(LEAST_CHANNELS, 1 << (channels - 1).bit_length())
