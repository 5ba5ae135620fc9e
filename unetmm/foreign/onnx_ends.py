"""What an ONNX graph may have at its very end: a function that tells what the net gives.

Softmax over the channels of a pixel, and the number of the largest channel, look at one pixel at a
time, but are no layers of ours: they are noted here, and done when an answer is written.
"""

from __future__ import annotations

from typing import Any

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Value
from unetmm.foreign.onnx_maps import PLAIN_AXES
from unetmm.foreign.onnx_operators import Operators
from unetmm.foreign.reasons import ATTENTION

PASSING = ("Identity", "Cast", "Transpose", "Squeeze", "ArgMax", "Dropout")
"""Operators that may follow such a function."""
SINGLE_AXIS_OPSET = 13
"""Opset from which on a softmax is over one axis, and not over all from that on."""


class EndOperators(Operators):
    """Notes functions at the end. Every method takes a node and its attributes.

    Raises
    ------
    WeightsError
        If the function is used in another way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.opset = 1
        self.ends: dict[str, str] = {}
        """Name of a value -> the function at the end that it went through."""

    def op_sigmoid(self, node: Any, a: dict[str, Any]) -> Value:
        self.ends[node.output[0]] = "sigmoid"
        return super().op_sigmoid(node, a)

    def op_softmax(self, node: Any, a: dict[str, Any]) -> Value:
        is_single = self.opset >= SINGLE_AXIS_OPSET
        axis = a.get("axis", -1 if is_single else 1) % len(PLAIN_AXES)
        if axis != self._channel_axis(node) or not (is_single or axis == len(PLAIN_AXES) - 1):
            raise WeightsError(ATTENTION)
        return self._ended(node, "softmax")

    def op_argmax(self, node: Any, a: dict[str, Any]) -> Value:
        if a.get("axis", 0) % len(PLAIN_AXES) != self._channel_axis(node):
            raise WeightsError("the place of the largest value, but for that among channels")
        if a.get("select_last_index"):
            raise WeightsError("the last of several largest channels; the first is taken")
        return self._ended(node, "argmax")

    def op_squeeze(self, node: Any, a: dict[str, Any]) -> Value:
        if self.ends.get(node.input[0]) != "argmax":
            raise WeightsError("an axis is taken away")
        return self.value(node)

    def op_cast(self, node: Any, a: dict[str, Any]) -> Value:
        if self.ends.get(node.input[0]) == "argmax":
            return self.value(node)
        return super().op_cast(node, a)

    def _channel_axis(self, node: Any) -> int:
        return self.turned.get(node.input[0], PLAIN_AXES).index(1)

    def _ended(self, node: Any, kind: str) -> Value:
        axes = self.turned.get(node.input[0], PLAIN_AXES)
        if axes != PLAIN_AXES:
            self.turned[node.output[0]] = axes
        self.ends[node.output[0]] = kind
        return self.value(node)

    def pass_on(self, node: Any) -> None:
        """What a node gives went through the same function as what it reads.

        Raises
        ------
        WeightsError
            If it is no end, for something is computed of it.
        """
        found = [self.ends[name] for name in node.input if name in self.ends]
        if not found or (node.op_type not in PASSING and found == ["sigmoid"]):
            return
        if node.op_type not in PASSING and any(kind != "sigmoid" for kind in found):
            raise WeightsError(f"it reads a {found[0]}, which is only read at the end of a net")
        self.ends.setdefault(node.output[0], found[0])
