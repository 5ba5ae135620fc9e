"""The values at both ends of an image, which tell whether others were cut off there."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PILE = 2.5
"""Number of times that a value at an end is more frequent than the next, from which on values were
cut off there."""


class EndValue(NamedTuple):
    """A value of an image, and the pixels that have it."""

    value: float = -np.inf
    """The value."""
    pixels: int = 0
    """Number of pixels."""
    sum_other: float = 0.0
    """Sum of what the other image has there."""

    def beside(self, other: EndValue) -> EndValue:
        """The same value in another part."""
        return EndValue(self.value, self.pixels + other.pixels, self.sum_other + other.sum_other)

    @property
    def mean_other(self) -> float:
        """Mean of what the other image has there."""
        return self.sum_other / max(1, self.pixels)


class Edge(NamedTuple):
    """The last value at one end of an image, and the one before it."""

    last: EndValue = EndValue()
    second: EndValue = EndValue()

    def beside(self, other: Edge) -> Edge:
        """The edge of both images; of the bright end."""
        steps: dict[float, EndValue] = {}
        for step in (*self, *other):
            known = steps.get(step.value)
            steps[step.value] = step if known is None else known.beside(step)
        last, second, *_ = [*sorted(steps.values(), reverse=True), EndValue(), EndValue()]
        return Edge(last, second)

    @property
    def piled(self) -> int:
        """Number of pixels that may have been cut off there, 0 where there is no pile of them."""
        return self.last.pixels if self.last.pixels > PILE * self.second.pixels else 0


class Extremes(NamedTuple):
    """Both ends of the values of an image."""

    high: Edge = Edge()
    """Bright end."""
    low: Edge = Edge()
    """Dark end, all values with their sign turned."""

    @classmethod
    def of(cls, values: NDArray[Any], other: NDArray[Any]) -> Extremes:
        """Those of measured values, beside what the other image has at the same pixels."""
        if not values.size:
            return cls()
        high, low = values.max(), values.min()
        inner = values[(values < high) & (values > low)]
        ends = [(high, inner.max(initial=low)), (low, inner.min(initial=high))]
        found = []
        for sign, end in zip((1, -1), ends, strict=True):
            end = end[: 1 + (high > low)]  # a single value has none before it
            there = [other[values == value] for value in end]
            sums = [sign * float(part.sum(dtype=np.float64)) for part in there]
            three = zip(end, there, sums, strict=True)
            found.append(Edge(*(EndValue(sign * float(v), p.size, s) for v, p, s in three)))
        return cls(*found)

    @property
    def is_even(self) -> bool:
        """Whether all values are the same."""
        return self.high.last.value == -self.low.last.value

    def beside(self, other: Extremes) -> Extremes:
        """Those of both."""
        return Extremes(self.high.beside(other.high), self.low.beside(other.low))
