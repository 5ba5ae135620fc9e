"""The stages of a NAFNet: blocks in place, strided convolutions down, pixel-shuffle up."""

from __future__ import annotations

from unetmm.engine.layout import Block, Ring
from unetmm.engine.walk_levels import LevelsWalk


class NAFNetWalk(LevelsWalk):
    """Walks a NAFNet, plain or as UNet--."""

    def begin(self) -> tuple[Ring, int]:
        # It may be read by the ending, which needs its zero columns.
        x = self.ring("encoder0", 1, self.config.width, 1, lag=1)
        self.product("intro", self.image, x, 1, taps=3, pad=1)
        return x, 1

    def down(self, level: int, above: Ring, lag_above: int) -> tuple[Ring, int]:
        lag = -(-lag_above // 2)
        name = "middle" if level == self.config.levels else f"encoder{level}"
        x = self.ring(name, 1 << level, self.config.width << level, 0, lag)
        self.product(f"downs.{level - 1}", above, x, lag, step=2, taps=2)
        return x, lag

    def body(self, name: str, x: Ring, lag: int, count: int, channels: int) -> tuple[Ring, int]:
        """Blocks in place; each adds a row of lag."""
        for i in range(count):
            self.layout.stages.append(Block(f"{name}.{i}", x, channels, lag))
            lag += 1
            x.reach = max(x.reach, lag)
            self.widen(x, reach=1)
        return x, lag

    def rows_of(self, count: int) -> int:
        return count

    def pad_px(self, level: int) -> int:
        return int(level == 0)

    def merge(self, index: int, x: Ring, skip: Ring, fine: int, count: int) -> tuple[Ring, int]:
        """The coarser map is added to the skip, in its place."""
        self.product(f"ups.{index}", x, skip, fine // 2, repeat=2, accumulate=True)
        return self.body(f"decoders.{index}", skip, fine, count, skip.channels)
