"""The stages of a net that is a list of layers: each makes a map of its own."""

from __future__ import annotations

from collections import Counter

from unetmm.engine.layout import Layout, MaxPool, Pointwise, Ring
from unetmm.engine.walk import Walk
from unetmm.nets.layers import IMAGE, NetLayer, map_shapes, tail_of


class LayersWalk(Walk):
    """Walks a list of layers, whatever its shape: maps wait for their last reader."""

    def build(self) -> Layout:
        config = self.config
        self.shapes = map_shapes(config.layers, config.in_channels)
        self.pads, self.readers = _pads(config.layers), _readers(config.layers)
        self.image.pad_px = max(1, self.pads.get(IMAGE, 0))
        self.maps, self.lags = {IMAGE: self.image}, {IMAGE: 0}
        tail = tail_of(config.layers)
        for layer in config.layers[: tail.first]:
            self.maps[layer.name], self.lags[layer.name] = self.layer(layer)
        self.end(self.maps[tail.source], self.lags[tail.source], tail.adds_image)
        return self.layout

    def layer(self, layer: NetLayer) -> tuple[Ring, int]:
        """The ring of a layer's map and its lag; the stages that fill it are added."""
        sources = [self.maps[s] for s in layer.sources]
        lag = max(self.lags[s] for s in layer.sources)
        if layer.kind == "conv":
            return self.convolution(layer, sources, lag)
        if layer.kind == "pool":
            lag = -(-lag // 2)
            target = self.map_of(layer, lag)
            self.layout.stages.append(MaxPool(sources[0], target, lag))
        else:
            target = self.in_place(layer) or self.map_of(layer, lag)
            self.layout.stages.append(Pointwise(layer, tuple(sources), target, lag))
        for source in (*sources, target):
            source.reach = max(source.reach, lag * target.scale // source.scale)
        self.widen(target, *sources)
        return target, lag

    def in_place(self, layer: NetLayer) -> Ring | None:
        """The ring of a source that nobody else reads, which the layer's map can replace."""
        for name in layer.sources:
            if self.readers[name] == 1 and name != IMAGE:
                ring = self.maps[name]
                ring.pad_px = max(ring.pad_px, self.pads.get(layer.name, 0))
                return ring
        return None

    def map_of(self, layer: NetLayer, lag: int) -> Ring:
        shape = self.shapes[layer.name]
        pad_px = max(1, self.pads.get(layer.name, 0))
        return self.ring(f"layer {layer.name}", shape.scale, shape.channels, pad_px, lag)

    def convolution(self, layer: NetLayer, sources: list[Ring], ready: int) -> tuple[Ring, int]:
        """A product for each source; they add up in the same map.

        ready : lag at which all sources are there.
        """
        stride = layer.stride
        # The last row that an output needs has to be there.
        lag = -(-(ready + layer.beyond) // stride)
        target, last = self.map_of(layer, lag * layer.enlarge), len(sources) - 1
        for i, source in enumerate(sources):
            self.product(
                f"{layer.name}#{i}", source, target, lag, step=stride, taps=layer.kernel,
                pad=layer.pad, repeat=layer.enlarge, accumulate=i > 0,
                rectify=layer.activation == "relu" and i == last, reach=layer.reach,
                border=layer.border,
            )  # fmt: skip
        lag = target.lag
        if layer.activation not in ("", "relu"):
            self.layout.stages.append(Pointwise(layer, (target,), target, lag))
        return target, lag


def _readers(layers: tuple[NetLayer, ...]) -> Counter[str]:
    """Number of layers that read each map."""
    return Counter(source for layer in layers for source in layer.sources)


def _pads(layers: tuple[NetLayer, ...]) -> dict[str, int]:
    """Zero columns that the readers of each map need at its sides."""
    pads: dict[str, int] = {}
    for layer in layers:
        for source in layer.sources:
            pads[source] = max(pads.get(source, 0), layer.reach)
    return pads
