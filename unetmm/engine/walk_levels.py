"""What walks through encoders and decoders have in common: the way, MSIAM and IEM."""

from __future__ import annotations

from abc import abstractmethod

from unetmm.engine.layout import Guide, Layout, Ring
from unetmm.engine.walk import Walk


class LevelsWalk(Walk):
    """Walks an encoder and its decoder.

    Bodies differ in what their blocks are, and in how maps shrink and grow.
    """

    def build(self) -> Layout:
        config = self.config
        levels: list[tuple[Ring, int]] = []
        x, lag = self.begin()
        for level, count in enumerate(config.encoder_blocks):
            if level:
                x, lag = self.down(level, x, lag)
            x, lag = self.body(f"encoders.{level}", x, lag, count, config.width << level)
            levels.append((x, lag))
        x, lag = self.down(config.levels, x, lag)
        widest = config.width << config.levels
        x, lag = self.body("middle_blks", x, lag, config.middle_blocks, widest)
        aggregate = self.collect(levels)
        for level_x, _ in levels:
            level_x.encoder_reach = level_x.reach
        for i, count in enumerate(config.decoder_blocks):
            level = config.levels - 1 - i
            if aggregate is None:
                skip, fine = levels[level][0], 2 * lag
            else:
                skip, fine = self.expand(level, *aggregate, lag)
            x, lag = self.merge(i, x, skip, fine, count)
        self.end(x, lag, config.adds_image)
        return self.layout

    @abstractmethod
    def begin(self) -> tuple[Ring, int]:
        """What the first blocks read, and its lag."""

    @abstractmethod
    def down(self, level: int, above: Ring, lag_above: int) -> tuple[Ring, int]:
        """The map of the next level, of half the size, and its lag."""

    @abstractmethod
    def body(self, name: str, x: Ring, lag: int, count: int, channels: int) -> tuple[Ring, int]:
        """`count` blocks in a row: the map that they give and its lag.

        channels : of that map.
        """

    @abstractmethod
    def pad_px(self, level: int) -> int:
        """Zero columns at each side of a level's maps."""

    @abstractmethod
    def rows_of(self, count: int) -> int:
        """Rows of lag that so many blocks add."""

    @abstractmethod
    def merge(self, index: int, x: Ring, skip: Ring, fine: int, count: int) -> tuple[Ring, int]:
        """A decoder level: the coarser map and its skip become one, and go through blocks.

        fine : lag of the clock that reads the skip.
        """

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
        rows = guided + self.rows_of(count)
        fine = max(2 * lag_coarse, self._complete(done, aggregate.scale, scale) + rows)
        fine += fine % 2
        start = (fine - rows) // ratio * ratio
        target = self.ring(
            f"decoder{level}", scale, self.config.width << level, self.pad_px(level), start + guided
        )
        if guided:
            self.guided_expansion(aggregate, target, start)
        elif aggregate.scale >= scale:
            self.product(f"iems.{level}", aggregate, target, start // ratio, repeat=ratio)
        else:
            step = scale // aggregate.scale
            self.product(f"iems.{level}", aggregate, target, start, step=step, taps=step)
        name, channels = f"iems.{level}.enhance", self.config.width << level
        return self.body(name, target, start + guided, count, channels)[0], fine

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
