"""The stages of a plain U-Net: double 3x3 convolutions, max-pooling down, transposed ones up."""

from __future__ import annotations

from collections.abc import Iterable

from unetmm.engine.layout import MaxPool, Ring
from unetmm.engine.walk_levels import LevelsWalk


class UNetWalk(LevelsWalk):
    """Walks a U-Net, plain or as UNet--. Every convolution makes a map of its own."""

    def begin(self) -> tuple[Ring, int]:
        return self.image, 0

    def down(self, level: int, above: Ring, lag_above: int) -> tuple[Ring, int]:
        lag = -(-lag_above // 2)
        x = self.ring(f"pooled{level}", 1 << level, above.channels, 1, lag)
        above.reach = max(above.reach, 2 * lag)
        self.layout.stages.append(MaxPool(above, x, lag))
        self.widen(x, above)
        return x, lag

    def body(self, name: str, x: Ring, lag: int, count: int, channels: int) -> tuple[Ring, int]:
        """Two convolutions a block; each adds a row of lag."""
        return self.convolutions(_names(name, count), x, lag, channels)

    def convolutions(
        self, names: Iterable[str], x: Ring, lag: int, channels: int
    ) -> tuple[Ring, int]:
        for name in names:
            x, lag = self.convolution(name, x, lag, channels)
        return x, lag

    def convolution(self, name: str, x: Ring, lag: int, channels: int) -> tuple[Ring, int]:
        """A 3x3 convolution with ReLU."""
        target = self.ring(name, x.scale, channels, 1, lag + 1)
        self.product(name, x, target, lag + 1, taps=3, pad=1, rectify=True)
        return target, lag + 1

    def rows_of(self, count: int) -> int:
        return 2 * count

    def pad_px(self, level: int) -> int:
        return 1

    def merge(self, index: int, x: Ring, skip: Ring, fine: int, count: int) -> tuple[Ring, int]:
        """Skip and enlarged map stay two: a convolution over both is the sum of one over each."""
        up = self.ring(f"up{index}", skip.scale, skip.channels, 1, fine)
        self.product(f"ups.{index}", x, up, fine // 2, repeat=2)
        first, *others = _names(f"decoders.{index}", count)
        both, lag = self.ring(first, skip.scale, skip.channels, 1, fine + 1), fine + 1
        self.product(f"{first}.skip", skip, both, lag, taps=3, pad=1)
        self.product(f"{first}.up", up, both, lag, taps=3, pad=1, accumulate=True, rectify=True)
        return self.convolutions(others, both, lag, skip.channels)


def _names(body: str, count: int) -> list[str]:
    """The convolutions of a row of blocks, in order."""
    return [f"{body}.{i}.conv{k}" for i in range(count) for k in (1, 2)]
