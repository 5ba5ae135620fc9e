"""What a walk through any net has in common: rings, and the matrix products that fill them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from unetmm.engine.layout import Ending, Layout, Product, Ring
from unetmm.geometry import round_up
from unetmm.nets.config import NetConfig
from unetmm.nets.layers import BORDERS


class Walk(ABC):
    """Walks a net in the order of its forward pass and keeps the clock of every map."""

    def __init__(self, config: NetConfig, band_rows: int) -> None:
        stride = config.stride_px
        assert band_rows > 0 and band_rows % stride == 0, "a band must fit the net's stride"
        self.config = config
        self.layout = Layout(config, band_rows)
        self.halo: dict[str, int] = {}
        self.image = self.ring("image", 1, config.in_channels, 1, lag=0)
        self.halo["image"] = 0

    @abstractmethod
    def build(self) -> Layout:
        """All stages and rings."""

    def ring(self, name: str, scale: int, channels: int, pad_px: int, lag: int) -> Ring:
        ring = Ring(name, scale, channels, pad_px, lag, self.layout.band_rows // scale)
        self.layout.rings.append(ring)
        return ring

    def widen(self, target: Ring, *sources: Ring, reach: int = 0) -> None:
        """Columns of `target` that a cut spoils, from those of its sources.

        reach : pixels of the sources (of the target, without any) beyond its own that it reads.
        """
        read = reach * (sources[0] if sources else target).scale
        spoiled = max(self.halo.get(r.name, 0) + read for r in (sources or (target,)))
        spoiled = max(spoiled, self.halo.get(target.name, 0))
        self.halo[target.name] = round_up(spoiled, target.scale)

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
        rectify: bool = False,
        reach: int | None = None,
        border: str = BORDERS[0],
    ) -> None:
        source.reach = max(source.reach, step * lag + pad)
        self.layout.stages.append(
            Product(name, source, target, step, taps, pad, repeat, lag, accumulate, rectify, border)
        )
        target.reach = max(target.reach, lag * repeat)
        self.widen(target, source, reach=pad if reach is None else reach)

    def end(self, x: Ring, lag: int, adds_image: bool) -> None:
        """The last convolution, of the map `x`."""
        lag += 1
        x.reach = max(x.reach, lag + 1)
        if adds_image:
            self.image.reach = max(self.image.reach, lag)
        self.layout.stages.append(Ending(x, self.image if adds_image else None, lag))
        self.layout.halo_px = round_up(self.halo[x.name] + 1, self.config.stride_px)
