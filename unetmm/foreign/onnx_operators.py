"""What each ONNX operator of single pixels becomes: one method for each, by its name."""

from __future__ import annotations

from typing import Any

import numpy as np

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Value
from unetmm.foreign.onnx_maps import MapOperators
from unetmm.foreign.onnx_patterns import gelu_of, silu_of
from unetmm.foreign.onnx_values import Array, by_channel

FLOATS = (1, 10, 11, 16)
"""Types of ONNX that a value may be cast to: of 32, 16 and 64 bits, and bfloat16."""
HIGHEST = 3e38
"""Bound of a clip that has none."""


class Operators(MapOperators):
    """Makes layers of nodes. Every method takes a node and its attributes.

    Raises
    ------
    WeightsError
        If the operator cannot be streamed as it is used.
    """

    def op_relu(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self.value(node), "relu")

    def op_sigmoid(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self.value(node), "sigmoid")

    def op_tanh(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self.value(node), "tanh")

    def op_erf(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self.value(node), "erf")

    def op_gelu(self, node: Any, a: dict[str, Any]) -> Value:
        x, b = self.value(node), self.builder
        if a.get("approximate", b"none") == b"none":
            return b.activation(x, "gelu")
        cube = b.multiply(b.multiply(x, x), x)
        inner = b.scaled(b.add(x, cube, (1.0, 0.044715)), (2 / np.pi) ** 0.5)
        return b.multiply(b.scaled(x, 0.5), b.scaled(b.activation(inner, "tanh"), 1.0, 1.0))

    def op_leakyrelu(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self.value(node), "leaky", (a.get("alpha", 0.01),))

    def op_abs(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self.value(node), "leaky", (-1.0,))

    def op_hardsigmoid(self, node: Any, a: dict[str, Any]) -> Value:
        return self._hard(self.value(node), a.get("alpha", 0.2), a.get("beta", 0.5))

    def op_hardswish(self, node: Any, a: dict[str, Any]) -> Value:
        x = self.value(node)
        return self.builder.multiply(x, self._hard(x, 1 / 6, 0.5))

    def _hard(self, x: Value, factor: float, shift: float) -> Value:
        return self.builder.activation(self.builder.scaled(x, factor, shift), "clip", (0.0, 1.0))

    def op_prelu(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(
            self.value(node), "prelu", slopes=by_channel(self.needed(node, 1), self._channels(node))
        )

    def _channels(self, node: Any) -> int:
        return self.value(node).channels

    def op_clip(self, node: Any, a: dict[str, Any]) -> Value:
        low, high = self.given(node, 1, a, "min"), self.given(node, 2, a, "max")
        ends = (
            -HIGHEST if low is None else max(-HIGHEST, float(low)),
            HIGHEST if high is None else min(HIGHEST, float(high)),
        )
        if np.isnan([each for each in (low, high) if each is not None]).any():
            raise WeightsError("a bound that is NaN")
        return self.builder.activation(self.value(node), "clip", ends)

    def op_max(self, node: Any, a: dict[str, Any]) -> Value:
        return self._extreme(node, 1.0)

    def op_min(self, node: Any, a: dict[str, Any]) -> Value:
        return self._extreme(node, -1.0)

    def _extreme(self, node: Any, sign: float) -> Value:
        """The larger of two, or, with -1, the smaller."""
        if len(node.input) != 2:
            raise WeightsError("only two are compared")
        first, second = (self.values.get(name) for name in node.input)
        if first is not None and second is not None:
            more = self.builder.activation(self.builder.add(first, second, (sign, -sign)), "relu")
            return self.builder.add(second, more, (1.0, sign))
        x = first if first is not None else self.value(node, 1)
        bound = float(self.needed(node, 1 if first is not None else 0).item())
        ends = (bound, HIGHEST) if sign > 0 else (-HIGHEST, bound)
        return self.builder.activation(x, "clip", ends)

    def op_pow(self, node: Any, a: dict[str, Any]) -> Value:
        x, power = self.value(node), float(self.needed(node, 1).item())
        if power not in (1.0, 2.0, 3.0, 4.0):
            raise WeightsError(f"the power of {power:g}; 2, 3 and 4 are read")
        made = x
        for _ in range(int(power) - 1):
            made = self.builder.multiply(made, x)
        return made

    def op_add(self, node: Any, a: dict[str, Any]) -> Value:
        return self._total(node, 1.0)

    def op_sub(self, node: Any, a: dict[str, Any]) -> Value:
        return self._total(node, -1.0)

    def op_sum(self, node: Any, a: dict[str, Any]) -> Value:
        values = [self.values[name] for name in node.input if name in self.values]
        constants = [self.constants[name] for name in node.input if name in self.constants]
        total = values[0]
        for each in values[1:]:
            total = self.builder.add(total, each)
        for constant in constants:
            total = self._affine(total, None, constant)
        return total

    def _total(self, node: Any, sign: float) -> Value:
        first, second = (self.values.get(name) for name in node.input)
        if first is not None and second is not None:
            is_last = node.output[0] == self.output
            return self.builder.add(first, second, (1.0, sign), last=is_last)
        if first is not None:
            return self._affine(first, None, sign * self.needed(node, 1))
        factor = None if sign == 1 else np.array(-1.0)
        return self._affine(self.value(node, 1), factor, self.needed(node, 0))

    def op_mul(self, node: Any, a: dict[str, Any]) -> Value:
        if (x := silu_of(node, self.nodes)) is not None:
            return self.builder.activation(self.values[x], "silu")
        if (x := gelu_of(node, self.nodes, self.constants)) is not None:
            return self.builder.activation(self.values[x], "gelu")
        first, second = (self.values.get(name) for name in node.input)
        if first is not None and second is not None:
            return self.builder.multiply(first, second)
        value, place = (first, 1) if first is not None else (self.value(node, 1), 0)
        return self._affine(value, self.needed(node, place), None)

    def op_div(self, node: Any, a: dict[str, Any]) -> Value:
        if any(name not in self.constants for name in node.input[1:]):
            raise WeightsError("a map that is divided by another; only by constants is read")
        divisor = self.needed(node, 1).astype(np.float64)
        if not divisor.all():
            raise WeightsError("a map is divided by 0")
        return self._affine(self.value(node), 1 / divisor, None)

    def op_neg(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.scaled(self.value(node), -1.0)

    def _affine(self, x: Value, factor: Array | None, shift: Array | None) -> Value:
        """A factor and a constant, for all channels or for each."""
        factors = np.ones(1) if factor is None else factor
        shifts = np.zeros(1) if shift is None else shift
        if factors.size == shifts.size == 1:
            return self.builder.scaled(x, float(factors.item()), float(shifts.item()))
        wanted = max(each.shape[-3] if each.ndim >= 3 else 1 for each in (factors, shifts))
        if x.channels == 1 and wanted > 1:
            x = self.builder.repeat(x, wanted)
        numbers = [by_channel(each, x.channels) for each in (factors, shifts)]
        return self.builder.affine(x, *(each.astype(np.float32) for each in numbers))

    def op_batchnormalization(self, node: Any, a: dict[str, Any]) -> Value:
        if a.get("training_mode"):
            raise WeightsError("it averages the image itself: export the net after net.eval()")
        scale, bias, mean, variance = (self.needed(node, i) for i in (1, 2, 3, 4))
        if not (variance >= 0).all():
            raise WeightsError("variances below 0")
        factors = scale / np.sqrt(variance.astype(np.float64) + a.get("epsilon", 1e-5))
        shifts = bias - mean * factors
        return self.builder.affine(
            self.value(node), factors.astype(np.float32), shifts.astype(np.float32)
        )

    def op_identity(self, node: Any, a: dict[str, Any]) -> Value:
        return self.value(node)

    op_dropout = op_identity

    def op_cast(self, node: Any, a: dict[str, Any]) -> Value:
        if a.get("to") not in FLOATS:
            raise WeightsError("values become whole numbers; only floats are read")
        return self.value(node)

    def op_castlike(self, node: Any, a: dict[str, Any]) -> Value:
        like = self.constants.get(node.input[1])
        if like is not None and like.dtype.kind != "f":
            raise WeightsError("values become whole numbers; only floats are read")
        return self.value(node)
