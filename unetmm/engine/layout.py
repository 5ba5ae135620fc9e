"""The geometry of a row stream: which rows every stage makes when, and what must be kept.

Integers only. `make_layout` walks a net once and lists its stages and its ring buffers; the plan
adds up their bytes, and the stream allocates exactly them, so the two cannot disagree.

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
from functools import lru_cache

from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig

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


Stage = Product | Block | Guide | Ending


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
        ending = self.stages[-1]
        assert isinstance(ending, Ending)
        return ending.lag

    @property
    def blocks(self) -> list[Block]:
        return [s for s in self.stages if isinstance(s, Block)]


@lru_cache(maxsize=256)
def make_layout(config: NetConfig, band_rows: int) -> Layout:
    """Stages and rings of `config` for bands of `band_rows` rows, a multiple of its stride.

    Made once and shared by all who ask for it.

    Raises
    ------
    ShapeError
        If there is no row stream for this net.
    """
    config.check_streams()
    return _Builder(config, band_rows).build()


@lru_cache(maxsize=64)
def observing_layout(config: NetConfig, height_px: int) -> Layout:
    """A layout whose band holds a whole patch and all its lag: one step does every row of it.

    Made once and shared by all who ask for it.
    """
    stride = config.stride_px
    band = round_up(height_px + 2 * make_layout(config, stride).lag_rows, stride)
    layout = _Builder(config, band).build()
    for ring in layout.rings:
        ring.map_rows = height_px // ring.scale
    return layout


class _Builder:
    """Walks a net in the order of its forward pass and keeps the clock of every map."""

    def __init__(self, config: NetConfig, band_rows: int) -> None:
        stride = config.stride_px
        assert band_rows > 0 and band_rows % stride == 0, "a band must fit the net's stride"
        self.config = config
        self.layout = Layout(config, band_rows)
        self.halo: dict[str, int] = {}
        self.above: tuple[Ring, int]
        self.image = self.ring("image", 1, config.in_channels, 1, lag=0)
        self.halo["image"] = 0

    def build(self) -> Layout:
        config = self.config
        levels = [self.encoder_level(n) for n in range(config.levels)]
        x, lag = self.down(config.levels, *levels[-1])
        lag = self.body("middle_blks", x, lag, config.middle_blocks)
        aggregate = self.collect(levels)
        for x_level, _ in levels:
            x_level.encoder_reach = x_level.reach
        for i, count in enumerate(config.decoder_blocks):
            level = config.levels - 1 - i
            if aggregate is None:
                target = levels[level][0]
                lag = self.up(i, x, target, lag)
            else:
                target, lag = self.expand(level, *aggregate, lag)
                lag = self.up(i, x, target, lag // 2)
            x = target
            lag = self.body(f"decoders.{i}", x, lag, count)
        self.ending(x, lag)
        return self.layout

    def ring(self, name: str, scale: int, channels: int, pad_px: int, lag: int) -> Ring:
        ring = Ring(name, scale, channels, pad_px, lag, self.layout.band_rows // scale)
        self.layout.rings.append(ring)
        return ring

    def widen(self, target: Ring, *sources: Ring, conv: bool = False) -> None:
        """Columns of `target` that a cut spoils, from those of its sources."""
        spoiled = max(self.halo.get(r.name, 0) for r in (*sources, target))
        cells = -(-spoiled // target.scale) + conv
        self.halo[target.name] = cells * target.scale

    def product(
        self,
        name: str,
        source: Ring,
        target: Ring,
        lag: int,
        *,
        step: int = 1,
        taps: int = 1,
        pad: int = 0,
        repeat: int = 1,
        accumulate: bool = False,
    ) -> None:
        source.reach = max(source.reach, step * lag + pad)
        self.layout.stages.append(
            Product(name, source, target, step, taps, pad, repeat, lag, accumulate)
        )
        target.reach = max(target.reach, lag * repeat)
        self.widen(target, source, conv=pad > 0)

    def body(self, name: str, ring: Ring, lag: int, count: int) -> int:
        """`count` blocks in place; each adds a row of lag."""
        for i in range(count):
            self.layout.stages.append(Block(f"{name}.{i}", ring, ring.channels, lag))
            lag += 1
            ring.reach = max(ring.reach, lag)
            self.widen(ring, conv=True)
        return lag

    def encoder_level(self, level: int) -> tuple[Ring, int]:
        # Level 0 may be read by the ending (NAFNet), which needs its zero columns.
        if level == 0:
            x = self.ring("encoder0", 1, self.config.width, 1, lag=1)
            self.product("intro", self.image, x, 1, taps=3, pad=1)
            lag = 1
        else:
            x, lag = self.down(level, *self.above)
        lag = self.body(f"encoders.{level}", x, lag, self.config.encoder_blocks[level])
        self.above = (x, lag)
        return x, lag

    def down(self, level: int, above: Ring, lag_above: int) -> tuple[Ring, int]:
        lag = -(-lag_above // 2)
        name = "middle" if level == self.config.levels else f"encoder{level}"
        x = self.ring(name, 1 << level, self.config.width << level, 0, lag)
        self.product(f"downs.{level - 1}", above, x, lag, step=2, taps=2)
        return x, lag

    def up(self, index: int, source: Ring, target: Ring, lag: int) -> int:
        """Add the upsampled rows of the coarser level; `lag` is the coarse reading clock."""
        self.product(f"ups.{index}", source, target, lag, repeat=2, accumulate=True)
        return 2 * lag

    def collect(self, levels: list[tuple[Ring, int]]) -> tuple[Ring, int] | None:
        """MSIAM: every encoder output is added into E' as soon as it exists.

        RC, RS and fusion are linear, so one product per level does all three. The stages are
        sorted in beside their encoder level: what is reduced need not be kept.
        """
        config = self.config.aggregate
        if config is None:
            return None
        done = 0
        aggregate: Ring | None = None
        for level, (x, x_lag) in enumerate(levels):
            ratio = config.scale // x.scale
            lag = -(-x_lag // ratio) if ratio else (x.scale // config.scale) * x_lag
            done = max(done, lag)
            if aggregate is None:
                aggregate = self.ring("aggregate", config.scale, config.channels, 0, lag)
            self.collect_level(level, x, aggregate, x_lag, ratio)
        assert aggregate is not None
        return aggregate, done

    def collect_level(self, level: int, x: Ring, aggregate: Ring, x_lag: int, ratio: int) -> None:
        stages, before = self.layout.stages, len(self.layout.stages)
        if ratio:
            self.product(
                f"msiam.{level}", x, aggregate, -(-x_lag // ratio),
                step=ratio, taps=ratio, accumulate=level > 0,
            )  # fmt: skip
        else:
            repeat = x.scale // aggregate.scale
            self.product(f"msiam.{level}", x, aggregate, x_lag, repeat=repeat, accumulate=level > 0)
        stage = stages.pop()
        assert len(stages) == before
        last = max(
            i
            for i, s in enumerate(stages)
            if getattr(s, "target", None) is x or getattr(s, "ring", None) is x
        )
        stages.insert(last + 1, stage)

    def expand(self, level: int, aggregate: Ring, done: int, lag_coarse: int) -> tuple[Ring, int]:
        """IEM, just in time for the decoder: the ring it fills, and the decoder's lag there."""
        assert self.config.aggregate is not None
        config, scale = self.config.aggregate, 1 << level
        count = config.enhance_blocks[level]
        guided = level == 0 and config.reads_image
        ratio = max(1, aggregate.scale // scale)
        # Lag of the E' rows this level reads: late enough to be complete, early enough to be used.
        fine = max(2 * lag_coarse, self._complete(done, aggregate.scale, scale) + guided + count)
        fine += fine % 2
        start = (fine - count - guided) // ratio * ratio
        target = self.ring(
            f"decoder{level}", scale, self.config.width << level, int(level == 0), start + guided
        )
        if guided:
            self.guided_expansion(aggregate, target, start)
        elif aggregate.scale >= scale:
            self.product(f"iems.{level}", aggregate, target, start // ratio, repeat=ratio)
        else:
            step = scale // aggregate.scale
            self.product(f"iems.{level}", aggregate, target, start, step=step, taps=step)
        self.body(f"iems.{level}.enhance", target, start + guided, count)
        return target, fine

    @staticmethod
    def _complete(done: int, aggregate_scale: int, scale: int) -> int:
        """Smallest lag at `scale` at which the E' rows underneath are complete."""
        if aggregate_scale >= scale:
            return done * (aggregate_scale // scale)
        return -(-done // (scale // aggregate_scale))

    def guided_expansion(self, aggregate: Ring, target: Ring, start: int) -> None:
        config = self.config
        assert config.aggregate is not None
        channels = config.aggregate.channels // config.aggregate.scale**2 + config.in_channels
        guide = self.ring("guide", 1, channels, 1, start)
        lag = start // aggregate.scale
        self.layout.stages.append(Guide(aggregate, self.image, guide, lag))
        aggregate.reach = max(aggregate.reach, lag)
        self.image.reach = max(self.image.reach, start)
        self.widen(guide, aggregate, self.image)
        self.product("iems.0", guide, target, start + 1, taps=3, pad=1)

    def ending(self, x: Ring, lag: int) -> None:
        lag += 1
        x.reach = max(x.reach, lag + 1)
        residual = self.config.in_channels == self.config.out_channels
        if residual:
            self.image.reach = max(self.image.reach, lag)
        self.layout.stages.append(Ending(x, self.image if residual else None, lag))
        stride = self.config.stride_px
        self.layout.halo_px = round_up(self.halo[x.name] + 1, stride)
