"""The stages of a net that is a list of layers: each makes a map of its own."""

from __future__ import annotations

from unetmm.engine.layout import Layout, MaxPool, Pointwise, Ring
from unetmm.engine.walk import Walk
from unetmm.nets.layers import IMAGE, NetLayer, map_shapes, tail_of


class LayersWalk(Walk):
    """Walks a list of layers, whatever its shape: maps wait for their last reader."""

    def build(self) -> Layout:
        config = self.config
        self.shapes = map_shapes(config.layers, config.in_channels)
        self.pads = _pads(config.layers)
        self.image.pad_px = max(1, self.pads.get(IMAGE, 0))
        self.maps = {IMAGE: self.image}
        tail = tail_of(config.layers)
        for layer in config.layers[: tail.first]:
            self.maps[layer.name] = self.layer(layer)
        x = self.maps[tail.source]
        self.end(x, x.lag, tail.adds_image)
        return self.layout

    def layer(self, layer: NetLayer) -> Ring:
        """The ring of a layer's map, and the stages that fill it."""
        sources = [self.maps[s] for s in layer.sources]
        if layer.kind == "conv":
            target = self.convolution(layer, sources)
        else:
            lag = max(s.lag for s in sources)
            if layer.kind == "pool":
                lag = -(-lag // 2)
            target = self.map_of(layer, lag)
            for source in sources:
                source.reach = max(source.reach, lag * target.scale // source.scale)
            self.widen(target, *sources)
            if layer.kind == "pool":
                self.layout.stages.append(MaxPool(sources[0], target, lag))
                return target
            self.layout.stages.append(Pointwise(layer, tuple(sources), target, lag))
            return target
        if layer.activation not in ("", "relu"):
            self.layout.stages.append(Pointwise(layer, (target,), target, target.lag))
        return target

    def map_of(self, layer: NetLayer, lag: int) -> Ring:
        shape = self.shapes[layer.name]
        pad_px = max(1, self.pads.get(layer.name, 0))
        return self.ring(f"layer {layer.name}", shape.scale, shape.channels, pad_px, lag)

    def convolution(self, layer: NetLayer, sources: list[Ring]) -> Ring:
        """A product for each source; they add up in the same map."""
        stride = layer.stride
        # The last row that an output needs has to be there.
        lag = -(-(max(s.lag for s in sources) + layer.beyond) // stride)
        target = self.map_of(layer, lag * layer.enlarge)
        last = len(sources) - 1
        for i, source in enumerate(sources):
            self.product(
                f"{layer.name}#{i}", source, target, lag, step=stride, taps=layer.kernel,
                pad=layer.pad, repeat=layer.enlarge, accumulate=i > 0,
                rectify=layer.activation == "relu" and i == last, reach=layer.reach,
            )  # fmt: skip
        return target


def _pads(layers: tuple[NetLayer, ...]) -> dict[str, int]:
    """Zero columns that the readers of each map need at its sides."""
    pads: dict[str, int] = {}
    for layer in layers:
        for source in layer.sources:
            pads[source] = max(pads.get(source, 0), layer.reach)
    return pads
