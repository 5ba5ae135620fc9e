"""Functions of single values that exporters write as several nodes: one layer does for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Nodes = Mapping[str, Any]
"""Nodes by the name of what they give."""
Constants = Mapping[str, NDArray[Any]]


def silu_of(node: Any, nodes: Nodes) -> str | None:
    """Name of x where a product is x * sigmoid(x)."""
    for x, other in _orders(node):
        made = nodes.get(other)
        if made is not None and made.op_type == "Sigmoid" and made.input[0] == x:
            return x
    return None


def gelu_of(node: Any, nodes: Nodes, constants: Constants) -> str | None:
    """Name of x where a product is x * (1 + erf(x / sqrt(2))) / 2, in any order."""
    for one, two in _orders(node):
        inner = nodes.get(one)
        if inner is None or inner.op_type != "Mul":
            continue
        for x, other in _orders(inner):
            halved = _is(two, 0.5, constants) and _one_plus_erf(other, nodes, constants) == x
            after = _is(other, 0.5, constants) and _one_plus_erf(two, nodes, constants) == x
            if halved or after:
                return x
            if _is(x, 0.5, constants) and _one_plus_erf(other, nodes, constants) == two:
                return two
    return None


def _one_plus_erf(name: str, nodes: Nodes, constants: Constants) -> str | None:
    """Name of x where a value is 1 + erf(x / sqrt(2))."""
    total = nodes.get(name)
    if total is None or total.op_type != "Add":
        return None
    for made, one in _orders(total):
        erf = nodes.get(made)
        if erf is None or erf.op_type != "Erf" or not _is(one, 1.0, constants):
            continue
        scaled = nodes.get(erf.input[0])
        if scaled is None or scaled.op_type not in ("Div", "Mul"):
            continue
        factor = 2**0.5 if scaled.op_type == "Div" else 0.5**0.5
        if _is(scaled.input[1], factor, constants):
            return str(scaled.input[0])
    return None


def _orders(node: Any) -> list[tuple[str, str]]:
    """The two inputs of a node, in both orders."""
    if len(node.input) != 2:
        return []
    return [(node.input[0], node.input[1]), (node.input[1], node.input[0])]


def _is(name: str, number: float, constants: Constants) -> bool:
    found = constants.get(name)
    return found is not None and found.size == 1 and abs(float(np.ravel(found)[0]) - number) < 1e-6
