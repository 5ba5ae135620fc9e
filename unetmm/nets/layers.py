"""Nets that are a list of layers: what foreign nets become. No torch, so planning stays instant.

Each layer makes one map of others that came before; the first is called "image". Maps have a
scale, in image pixels per pixel. What a convolution reads side by side is named as several sources.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

from unetmm.errors import ShapeError

IMAGE = "image"
"""Name of the map that the first layers read."""
NAME = re.compile(r"[A-Za-z0-9_]{1,200}")
"""Pattern of a map's name."""
KINDS = ("conv", "pool", "add", "multiply")
"""Kinds of layers: convolution, largest of 2x2 pixels, weighted sum, product of two maps."""
ACTIVATIONS = ("", "relu", "leaky", "prelu", "sigmoid", "silu", "gelu", "tanh", "clip", "erf")
"""Functions of single values at the end of a layer."""
BORDERS = ("zeros", "edge", "reflect")
"""Ways in which a convolution sees what lies around a map: zeros, its edge repeated, or the map
mirrored at its edge pixels."""
MOST_LAYERS = 4096
"""Largest number of layers of a net."""
MOST_KERNEL_PX = 31
"""Largest side of a convolution's kernel."""
MOST_SCALE_PX = 256
"""Image pixels of a pixel of the coarsest map at most."""
MOST_CHANNELS = 16384
"""Largest number of channels of a map."""


@dataclass(frozen=True)
class NetLayer:
    """One layer and the map that it makes.

    Raises
    ------
    ShapeError
        If its numbers are out of range or do not fit its kind.
    """

    name: str
    """Name of the map; its tensors are NAME.weight, NAME.bias and NAME.slope."""
    kind: str
    """Kind, a name of KINDS."""
    sources: tuple[str, ...]
    """Maps that it reads; those of a convolution lie side by side, in this order."""
    channels: int
    """Channels of the map that it makes."""
    kernel: int = 1
    """Side of a convolution's kernel in pixels of its sources."""
    stride: int = 1
    """Step of a convolution in pixels of its sources."""
    pad: int = 0
    """Rows and columns above and to the left of the map that a convolution reads."""
    border: str = BORDERS[0]
    """Way in which a convolution sees what lies around the map, a name of BORDERS."""
    enlarge: int = 1
    """Factor by which a convolution enlarges; its outputs are in the order of pixel-shuffle."""
    factors: tuple[float, ...] = ()
    """Factors of the sources of a sum; empty: 1 for each."""
    shift: float = 0.0
    """Constant that a sum adds."""
    activation: str = ""
    """Function applied at the end, a name of ACTIVATIONS."""
    numbers: tuple[float, ...] = ()
    """Slope below zero of "leaky", lowest and highest value of "clip"."""

    def __post_init__(self) -> None:
        self._check_kinds()
        counts = (self.channels, self.kernel, self.stride, self.pad, self.enlarge)
        if any(type(n) is not int for n in counts):
            raise ShapeError(f"layer {self.name}: its counts must be whole numbers, found {self}")
        most = (MOST_CHANNELS, MOST_KERNEL_PX, MOST_SCALE_PX, MOST_KERNEL_PX, MOST_SCALE_PX)
        least = (1, 1, 1, 0, 1)
        if any(not low <= n <= high for n, low, high in zip(counts, least, most, strict=True)):
            raise ShapeError(f"layer {self.name}: a count is out of range, found {self}")
        if self.kind == "conv" and not 0 <= self.beyond <= self.kernel:
            raise ShapeError(
                f"layer {self.name}: a kernel of {self.kernel} with step {self.stride} needs as "
                f"many zeros around the map as give one output for each step, found {self.pad}"
            )
        values = (*self.factors, *self.numbers, self.shift)
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            raise ShapeError(f"layer {self.name}: its factors must be finite, found {values}")

    def _check_kinds(self) -> None:
        if self.kind not in KINDS or self.activation not in ACTIVATIONS:
            raise ShapeError(
                f"layer {self.name}: kind is one of {', '.join(KINDS)} and activation one of "
                f"{', '.join(filter(None, ACTIVATIONS))}, found {self.kind} and {self.activation}"
            )
        if self.border not in BORDERS or (self.kind != "conv" and self.border != BORDERS[0]):
            raise ShapeError(
                f"layer {self.name}: the border of a convolution is {' or '.join(BORDERS)}, found "
                f"{self.border}"
            )
        if not all(isinstance(n, str) and NAME.fullmatch(n) for n in (self.name, *self.sources)):
            raise ShapeError("a layer's name has 1 to 200 letters, digits and underscores")
        found = len(self.sources)
        wanted = {"pool": found == 1, "multiply": found == 2, "add": found in (1, 2)}
        if not wanted.get(self.kind, found > 0):
            raise ShapeError(f"layer {self.name}: a {self.kind} cannot have {found} sources")
        if self.kind == "add" and len(self.factors) not in (0, found):
            raise ShapeError(f"layer {self.name}: {found} sources, {len(self.factors)} factors")
        needed = {"leaky": 1, "clip": 2}.get(self.activation, 0)
        if len(self.numbers) != needed:
            raise ShapeError(
                f"layer {self.name}: {self.activation or 'no activation'} takes {needed} numbers, "
                f"found {len(self.numbers)}"
            )
        if self.kind == "pool" and self.activation:
            raise ShapeError(f"layer {self.name}: a pool has no activation")

    @property
    def beyond(self) -> int:
        """Rows that a convolution reads below the last of its step."""
        return self.kernel - self.pad - self.stride

    @property
    def reach(self) -> int:
        """Pixels of its sources that it reads beyond the cell of an output, at the wider side."""
        return max(self.pad, self.beyond) if self.kind == "conv" else 0

    @property
    def weighing(self) -> tuple[float, ...]:
        """Factors of the sources of a sum."""
        return self.factors or (1.0,) * len(self.sources)


Layers = tuple[NetLayer, ...]


@dataclass(frozen=True)
class MapShape:
    """Channels and scale of a map."""

    channels: int
    scale: int
    """Image pixels per pixel."""


@lru_cache(maxsize=256)
def map_shapes(layers: Layers, in_channels: int) -> Mapping[str, MapShape]:
    """Channels and scale of every map, by name.

    Raises
    ------
    ShapeError
        If a layer reads what was not made before, or maps that do not fit together.
    """
    if not 0 < len(layers) <= MOST_LAYERS:
        raise ShapeError(f"a net has 1 to {MOST_LAYERS} layers, found {len(layers)}")
    shapes = {IMAGE: MapShape(in_channels, 1)}
    for layer in layers:
        if layer.name in shapes:
            raise ShapeError(f"two layers are called {layer.name}")
        if missing := [s for s in layer.sources if s not in shapes]:
            raise ShapeError(f"layer {layer.name} reads {missing[0]}, which no layer before makes")
        sources = [shapes[s] for s in layer.sources]
        if len({s.scale for s in sources}) > 1:
            raise ShapeError(f"layer {layer.name} reads maps of different sizes")
        shapes[layer.name] = MapShape(layer.channels, _scale(layer, sources[0].scale))
        if layer.kind != "conv" and {s.channels for s in sources} != {layer.channels}:
            raise ShapeError(
                f"layer {layer.name}: a {layer.kind} keeps the {layer.channels} channels, found "
                f"{[s.channels for s in sources]}"
            )
    return shapes


def _scale(layer: NetLayer, scale: int) -> int:
    """Scale of the map that a layer makes of maps of a scale."""
    if layer.kind == "pool":
        scale *= 2
    elif layer.kind == "conv":
        if scale % layer.enlarge:
            raise ShapeError(
                f"layer {layer.name} makes a map that is finer than the image; only the last "
                "layer's values may become several pixels"
            )
        scale = scale * layer.stride // layer.enlarge
    if scale > MOST_SCALE_PX:
        raise ShapeError(f"layer {layer.name}: a pixel of its map is {scale} of the image")
    return scale


@lru_cache(maxsize=256)
def stride_px(layers: Layers, in_channels: int) -> int:
    """Pixels of which an image's sides must be multiples, so that every map has whole ones."""
    return math.lcm(*(shape.scale for shape in map_shapes(layers, in_channels).values()))


def check_layers(layers: Layers, in_channels: int, answer_channels: int) -> None:
    """Refuse layers that are no net from an image to an answer of its size.

    Raises
    ------
    ShapeError
        If they do not fit one another, or the last one is not what the net should give.
    """
    shapes = map_shapes(layers, in_channels)
    last = shapes[layers[-1].name]
    if last != MapShape(answer_channels, 1):
        raise ShapeError(
            f"net config: the last layer gives {last.channels} channels at 1/{last.scale}, the "
            f"answer has {answer_channels} at the image's size"
        )
    for layer in layers[:-1]:
        if layer.kind != "conv" and IMAGE in layer.sources:
            raise ShapeError(f"layer {layer.name}: only convolutions and the last read the image")
    if layers[-1].kind != "conv" and IMAGE in layers[-1].sources and not _adds_image(layers[-1]):
        raise ShapeError(f"layer {layers[-1].name}: the last one can only add the image as it is")
    _check_borders(layers)


def _check_borders(layers: Layers) -> None:
    """What lies around a map is kept beside it, so all its readers have to see the same."""
    seen: dict[str, set[str]] = {}
    for layer in layers:
        for source in layer.sources if layer.reach else ():
            seen.setdefault(source, set()).add(layer.border)
    for name, borders in seen.items():
        if borders != {BORDERS[0]} and (len(borders) > 1 or name == IMAGE):
            raise ShapeError(
                f"map {name}: what sees another border than zeros needs a map of its own"
            )


@dataclass(frozen=True)
class Tail:
    """How a net of layers ends: with a 3x3 convolution of one map, to which the image is added."""

    first: int
    """Number of layers that come before."""
    source: str
    """Map that the convolution reads."""
    adds_image: bool
    """Whether the image is added."""
    convolution: NetLayer | None
    """Layer that is the convolution; None: the map stays as it is."""
    factor: float
    """Factor of what is added to the image."""


def tail_of(layers: Layers) -> Tail:
    """The end of a net of layers that `check_layers` accepts."""
    last, first = layers[-1], len(layers) - 1
    if _adds_image(last):
        other = int(last.sources[0] == IMAGE)
        source, factor = last.sources[other], last.weighing[other]
        before = layers[first - 1] if first else None
        if before is None or before.name != source or not _is_plain(before):
            return Tail(first, source, True, None, factor)
        return Tail(first - 1, before.sources[0], True, before, factor)
    if _is_plain(last):
        return Tail(first, last.sources[0], False, last, 1.0)
    return Tail(first + 1, last.name, False, None, 1.0)


def _adds_image(layer: NetLayer) -> bool:
    """Whether it adds the image, as it is, to another map."""
    if layer.kind != "add" or sorted(s == IMAGE for s in layer.sources) != [False, True]:
        return False
    is_own = layer.weighing[layer.sources.index(IMAGE)] == 1
    return is_own and not layer.shift and not layer.activation


def _is_plain(layer: NetLayer) -> bool:
    """Whether it is a 1x1 or 3x3 convolution of one map, and nothing else."""
    square = (layer.kernel, layer.pad) in ((1, 0), (3, 1))
    plain = layer.kind == "conv" and square and layer.stride == layer.enlarge == 1
    plain = plain and layer.border == BORDERS[0]
    return plain and not layer.activation and len(layer.sources) == 1 and IMAGE not in layer.sources


def layer_tensors(layers: Layers, in_channels: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of the layers, name -> shape."""
    maps = map_shapes(layers, in_channels)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        if layer.kind == "conv":
            n = layer.channels * layer.enlarge**2
            depth = sum(maps[s].channels for s in layer.sources)
            shapes[f"{layer.name}.weight"] = (n, depth, layer.kernel, layer.kernel)
            shapes[f"{layer.name}.bias"] = (n,)
        if layer.activation == "prelu":
            shapes[f"{layer.name}.slope"] = (layer.channels,)
    return shapes


def layers_macs_per_px(layers: Layers, in_channels: int) -> int:
    """Multiply-adds of the convolutions per pixel of the image."""
    maps, tensors = map_shapes(layers, in_channels), layer_tensors(layers, in_channels)
    total = 0.0
    for layer in layers:
        if layer.kind == "conv":
            scale = maps[layer.sources[0]].scale * layer.stride
            total += math.prod(tensors[f"{layer.name}.weight"]) / scale**2
    return round(total)


def layers_to_json(layers: Layers) -> list[dict[str, Any]]:
    """Tables of what differs from a layer's defaults."""
    defaults = {f.name: f.default for f in fields(NetLayer)}
    return [{k: v for k, v in asdict(layer).items() if v != defaults[k]} for layer in layers]


def layers_from_json(tables: Any) -> Layers:
    """The layers written by `layers_to_json`; raises TypeError or ValueError where they are not."""
    if not isinstance(tables, list) or len(tables) > MOST_LAYERS:
        raise ValueError(f"layers are a list of at most {MOST_LAYERS}")
    return tuple(NetLayer(**_with_tuples(table)) for table in tables)


def _with_tuples(table: Any) -> dict[str, Any]:
    listed = ("sources", "factors", "numbers")
    return {k: tuple(v) if k in listed else v for k, v in dict(table).items()}
