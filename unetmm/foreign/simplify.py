"""Fewer layers for the same net: what follows a convolution alone is taken into it.

Only steps that change no number but by one rounding: activations, orders of channels, factors.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unetmm.nets.layers import NetLayer

Array = NDArray[np.float32]


def simplify(
    layers: list[NetLayer], tensors: dict[str, Array]
) -> tuple[list[NetLayer], dict[str, Array]]:
    """Take layers into those before them as long as there are any that can be."""
    layers = _needed(layers)
    made: dict[str, NetLayer] = {}
    uses = Counter(source for layer in layers for source in layer.sources)
    renamed: dict[str, str] = {}
    for original in layers:
        layer = replace(original, sources=tuple(renamed.get(s, s) for s in original.sources))
        before = made.get(layer.sources[0]) if len(layer.sources) == 1 else None
        joined = None
        if before is not None and uses[before.name] == 1 and before.kind == "conv":
            joined = _joined(before, layer, tensors)
        if joined is None or before is None:
            made[layer.name] = layer
        else:
            made[before.name] = joined
            renamed[layer.name] = before.name
            uses[before.name] = uses[layer.name]
    kept = list(made.values())
    named = {f"{layer.name}.{kind}" for layer in kept for kind in ("weight", "bias", "slope")}
    return kept, {name: tensor for name, tensor in tensors.items() if name in named}


def _needed(layers: list[NetLayer]) -> list[NetLayer]:
    """Those that the last one depends on."""
    wanted = {layers[-1].name}
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(layer.sources)
    return [layer for layer in layers if layer.name in wanted]


def _joined(before: NetLayer, layer: NetLayer, tensors: dict[str, Array]) -> NetLayer | None:
    """Both as one layer, with its tensors changed; None where they stay two."""
    if layer.kind == "add":
        if before.activation or layer.weighing != (1.0,) or layer.shift:
            return None
        if layer.activation == "prelu":
            tensors[f"{before.name}.slope"] = tensors.pop(f"{layer.name}.slope")
        return replace(before, activation=layer.activation, numbers=layer.numbers)
    if layer.kind != "conv" or layer.kernel != 1 or layer.stride != 1 or before.enlarge != 1:
        return None
    picked = _picked(tensors[f"{layer.name}.weight"][:, :, 0, 0])
    bias = tensors[f"{layer.name}.bias"]
    if picked is None:
        return None
    source, factor = picked
    if layer.enlarge > 1 and before.stride > 1:
        return None
    is_order = bool((factor == 1).all() and not bias.any())
    if before.activation and (before.activation == "prelu" or not is_order or layer.activation):
        return None
    weight = tensors[f"{before.name}.weight"][source]
    tensors[f"{before.name}.weight"] = weight * factor[:, None, None, None]
    tensors[f"{before.name}.bias"] = tensors[f"{before.name}.bias"][source] * factor + bias
    if layer.activation == "prelu":
        tensors[f"{before.name}.slope"] = tensors.pop(f"{layer.name}.slope")
    return replace(
        before,
        channels=layer.channels,
        enlarge=layer.enlarge,
        activation=layer.activation or before.activation,
        numbers=layer.numbers or before.numbers,
    )


def _picked(matrix: Array) -> tuple[NDArray[np.intp], Array] | None:
    """The only input of each output and its factor; None where an output has several, or none."""
    if (np.count_nonzero(matrix, axis=1) != 1).any():
        return None
    source = np.argmax(matrix != 0, axis=1)
    return source, matrix[np.arange(len(matrix)), source]
