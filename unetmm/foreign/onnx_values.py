"""What every operator of a graph needs: its inputs, as constants or as values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Builder, Value

Array = NDArray[Any]


class GraphValues:
    """Constants of a graph, and its values that depend on the image.

    Raises
    ------
    WeightsError
        By every method, if an input is not what it should be.
    """

    def __init__(self) -> None:
        self.builder = Builder(1)
        self.constants: dict[str, Array] = {}
        self.values: dict[str, Value] = {}
        """What depends on the image, by name."""
        self.nodes: dict[str, Any] = {}
        """Nodes that were read, by the names of what they give."""
        self.pads: dict[str, tuple[int, int, str]] = {}
        """Pixels around a value, which the next convolution reads: before, behind, and the border
        that they are."""
        self.folds: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        """Shape and order of axes of values of which pixels become channels, or the reverse."""
        self.turned: dict[str, tuple[int, ...]] = {}
        """Order of a value's axes of (1, channels, rows, columns), where it is another."""
        self.size_px = 0, 0
        """Rows and columns of the image that sizes are computed for."""
        self.output = ""

    def value(self, node: Any, i: int = 0) -> Value:
        """An input that depends on the image."""
        if i >= len(node.input) or node.input[i] not in self.values:
            raise WeightsError("a constant stands where only what depends on the image is read")
        return self.values[node.input[i]]

    def number(self, node: Any, i: int) -> Array | None:
        """A constant input; None where there is none."""
        if i >= len(node.input) or not node.input[i]:
            return None
        if node.input[i] not in self.constants:
            raise WeightsError("an input that should be constant depends on the image")
        return self.constants[node.input[i]]

    def needed(self, node: Any, i: int) -> Array:
        """A constant input that has to be there."""
        found = self.number(node, i)
        if found is None:
            raise WeightsError("an input is missing")
        return found

    def given(self, node: Any, i: int, a: dict[str, Any], name: str) -> Array | None:
        """A constant that is an input, or an attribute in older graphs."""
        found = self.number(node, i)
        return np.asarray(a[name]) if found is None and name in a else found

    def shape_of(self, x: Value) -> Array:
        """The shape of a value, of an image of `size_px`."""
        rows, columns = (n * x.fine // x.scale for n in self.size_px)
        return np.array([1, x.channels, rows, columns])

    def beside(self, name: str, x: Value) -> Value:
        """A value; a constant that is the same everywhere becomes a map like x."""
        if name in self.values:
            return self.values[name]
        constant = self.constants[name]
        if constant.ndim != 4 or np.ptp(constant, (2, 3)).any():
            raise WeightsError("a constant that is not the same everywhere")
        return self.builder.constant(x, constant[0, :, 0, 0])


def same(numbers: list[Any]) -> Any:
    """The number that all of them are."""
    if len(set(numbers)) != 1:
        raise WeightsError(f"other numbers for rows than for columns: {numbers}")
    return numbers[0]


def by_channel(values: Array, channels: int) -> Array:
    """One number a channel, from a scalar, from (channels, 1, 1), or from a map that is uniform."""
    if values.size == 1:
        return np.full(channels, values.item())
    if values.ndim == 4 and not np.ptp(values, (2, 3)).any():
        values = values[:, :, :1, :1]
    shape = values.shape[1:] if values.ndim == 4 and values.shape[0] == 1 else values.shape
    if shape == (1, 1, 1):
        return np.full(channels, values.item())
    if shape != (channels, 1, 1):
        raise WeightsError(f"a constant of shape {values.shape}, which is not one number a channel")
    return values.ravel()
