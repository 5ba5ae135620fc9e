"""The geometry of a row stream: which rows every stage makes when, and what must be kept.

Integers only. `walk.make_layout` walks a net once and lists its stages and its ring buffers; the
plan adds up their bytes, and the stream allocates exactly them, so the two cannot disagree.

Time runs in steps; a step pushes one band. At full resolution a band is `band_rows` rows, at
scale s it is band_rows / s. Every map is produced with a constant lag: after step t its rows below

    (t + 1) * band - lag

are done. A 3x3 convolution adds one row of lag, a stride-s layer divides it, an upsampling layer
multiplies it. Depth becomes lag, not recomputed halo. A ring keeps the rows between its first
writer and its slowest reader:

       t * band - reach                          (t + 1) * band - lag
    ---------|---------------- ring ----------------------|---------> rows
         last needed                                  just written
"""

from __future__ import annotations

from dataclasses import dataclass, field

from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig
from unetmm.nets.layers import BORDERS, NetLayer

FLOAT_BYTES = 4


@dataclass(eq=False)
class Ring:
    """A map at one scale, of which the last `rows` rows are kept."""

    name: str
    scale: int
    """Image pixels per pixel of this map."""
    channels: int
    pad_px: int
    """Zero columns at each side, for 3x3 convolutions that read the map."""
    lag: int
    """Lag of the first writer, in rows of this map."""
    band: int
    """Rows of this map per step."""
    reach: int = 0
    """Largest lag of the first row that any reader needs."""
    encoder_reach: int = 0
    """Largest lag of the first row that a reader in the encoder needs; what lies beyond is a
    skip-connection."""
    map_rows: int | None = None
    """Rows of the whole map, where that is known; a ring needs no more."""

    @property
    def rows(self) -> int:
        """Rows that are alive at once."""
        rows = self.band + max(self.reach, self.lag) - self.lag
        return rows if self.map_rows is None else min(rows, self.map_rows)

    @property
    def skip_rows(self) -> int:
        """Rows that are alive only because the decoder has not come to them yet."""
        if self.name == "aggregate":
            return self.rows
        return max(0, self.reach - max(self.encoder_reach, self.lag)) if self.encoder_reach else 0

    def row_floats(self, width_px: int, lanes: int) -> int:
        """Floats of one row for a strip `width_px` image pixels wide."""
        return (width_px // self.scale + 2 * self.pad_px) * padded(self.channels, lanes, self)

    def size_floats(self, width_px: int, lanes: int) -> int:
        """Floats of the ring: its rows and one row of zeros for what lies outside the image."""
        return (self.rows + 1) * self.row_floats(width_px, lanes)


def padded(channels: int, lanes: int, ring: Ring | None = None) -> int:
    """Channels rounded up to whole vectors; maps of raw pixels are not padded."""
    if ring is not None and ring.name in ("image", "guide"):
        return channels
    return round_up(channels, lanes)


@dataclass(frozen=True)
class Product:
    """A strided matrix product: 1x1, 3x3, 2x2 stride 2, pixel-shuffle and -unshuffle alike.

    Output row j reads `taps` rows from step * j - pad on; with repeat r it makes r rows.
    """

    name: str
    """Name of its weights, see `folding.ProductFolder`."""
    source: Ring
    target: Ring
    step: int
    taps: int
    pad: int
    repeat: int
    lag: int
    """Lag of the reading clock, in rows of the smaller of the two maps' bands."""
    accumulate: bool
    rectify: bool = False
    """Whether what is below 0 becomes 0 at the end (ReLU)."""
    border: str = BORDERS[0]
    """Way in which it sees what lies around its source, a name of BORDERS."""


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each 2x2 pixels, channel by channel."""

    source: Ring
    target: Ring
    lag: int
    """Lag of the reading clock, in rows of the target."""


@dataclass(frozen=True)
class Pointwise:
    """Values of one or two maps, each by itself: sum or product, then the layer's activation."""

    layer: NetLayer
    """NetLayer it carries out; of a convolution only the activation, in place."""
    sources: tuple[Ring, ...]
    target: Ring
    lag: int
    """Lag of the reading clock, in rows of all of them."""

    @property
    def multiplies(self) -> bool:
        """Whether it is a product of its two sources."""
        return self.layer.kind == "multiply"

    @property
    def factors(self) -> tuple[float, ...]:
        """Factors of the sources of a sum."""
        return self.layer.weighing if self.layer.kind == "add" else (1.0,) * len(self.sources)


@dataclass(frozen=True)
class Block:
    """A NAFNet block in place on a ring: input with `lag`, output with lag + 1."""

    name: str
    ring: Ring
    channels: int
    lag: int


@dataclass(frozen=True)
class Guide:
    """Rows of E' at full resolution next to the image's: what the finest IEM reads."""

    aggregate: Ring
    image: Ring
    target: Ring
    lag: int
    """Lag of the reading clock, in rows of E'."""


@dataclass(frozen=True)
class Ending:
    """The last 3x3 convolution and the global residual."""

    source: Ring
    image: Ring | None
    """The image to add to each of its channels' values, or None where channels differ."""
    lag: int


Stage = Product | MaxPool | Pointwise | Block | Guide | Ending


@dataclass(eq=False)
class Layout:
    """All stages in order, all rings, and the numbers the plan needs."""

    config: NetConfig
    band_rows: int
    stages: list[Stage] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)
    halo_px: int = 0
    """Columns or rows next to a cut that come out wrong: the receptive field, aligned."""

    @property
    def lag_rows(self) -> int:
        """Rows that the output is behind the input."""
        return self.ending.lag

    @property
    def blocks(self) -> list[Block]:
        return [s for s in self.stages if isinstance(s, Block)]

    @property
    def ending(self) -> Ending:
        last = self.stages[-1]
        assert isinstance(last, Ending)
        return last
