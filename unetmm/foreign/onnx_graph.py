"""ONNX graphs of layers that can be streamed.

Nodes are read in order; what is constant is computed, each of the others becomes layers. Anything
else is refused by its name, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError, WeightsError
from unetmm.extras import need
from unetmm.foreign.builder import Builder, ForeignNet, Value
from unetmm.foreign.onnx_operators import Operators
from unetmm.foreign.reasons import REASONS
from unetmm.nets.config import MOST_PARAMETERS, NetConfig

INSTALL_ONNX = 'pip install "unetmm[onnx]"'
"""Command that adds what ONNX needs."""

FOLDING = ("Reshape", "Transpose")
"""Operators that may read a map whose axes were divided."""


def read_onnx(path: Path) -> ForeignNet:
    """A graph, all of whose nodes became layers.

    Raises
    ------
    WeightsError
        If the file is damaged or a node cannot be streamed.
    MissingPackageError
        If onnx is not installed.
    """
    need("onnx", f"{path}: reading an ONNX file", INSTALL_ONNX)
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf and its checks raise what they like
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: not an ONNX file ({first_line[:200]})") from error
    graph = Graph(model.graph, str(path))
    try:
        for node in model.graph.node:
            graph.take(node)
        config, tensors = graph.finish()
    except ShapeError as error:
        raise WeightsError(f"{path}: {error}") from error
    return ForeignNet("ONNX", config, tensors, tuple(graph.lines()), graph.size_px)


class Graph(Operators):
    """A graph that is being read: constants, and values that depend on the image."""

    def __init__(self, proto: Any, where: str) -> None:
        from onnx import numpy_helper

        super().__init__()
        self.where = where
        self.counts: Counter[str] = Counter()
        total = sum(int(np.prod(t.dims)) for t in proto.initializer)
        if total > MOST_PARAMETERS:
            raise WeightsError(f"{where}: {total} weights, {MOST_PARAMETERS} are the most")
        for tensor in proto.initializer:
            self.constants[tensor.name] = numpy_helper.to_array(tensor)
        inputs = [i for i in proto.input if i.name not in self.constants]
        if len(inputs) != 1 or len(proto.output) != 1:
            names = [i.name for i in inputs], [o.name for o in proto.output]
            raise WeightsError(f"{where}: one image in and one out are read, found {names}")
        shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise WeightsError(
                f"{where}: the input should be (1, channels, rows, columns) with 1 or 3 channels, "
                f"found {shape}"
            )
        self.builder = Builder(shape[1])
        self.size_px = shape[2], shape[3]
        self.values[inputs[0].name] = self.builder.image
        self.output = proto.output[0].name

    def take(self, node: Any) -> None:
        """Make layers of a node, or a constant."""
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [name for name in node.input if name]
        if not any(name in self.values for name in inputs):
            self._fold(node, attributes)
            return
        if node.op_type == "Shape" and all(self.size_px):
            self.constants[node.output[0]] = self.shape_of(self._x(node), attributes)
            return
        self.counts[node.op_type] += 1
        make: Callable[[Any, dict[str, Any]], Value] | None = getattr(
            self, f"_{node.op_type.lower()}", None
        )
        if make is None or node.domain not in ("", "ai.onnx"):
            reason = REASONS.get(node.op_type, "it is not among the layers that can be streamed")
            raise WeightsError(f"{self._called(node)}: {reason}")
        if any(name in self.pads for name in inputs) and node.op_type != "Conv":
            raise WeightsError(f"{self._called(node)}: zeros around a map without a convolution")
        if any(name in self.folds for name in inputs) and node.op_type not in FOLDING:
            raise WeightsError(f"{self._called(node)}: {REASONS['Reshape']}")
        try:
            self.values[node.output[0]] = make(node, attributes)
        except (WeightsError, ShapeError) as error:
            raise WeightsError(f"{self._called(node)}: {error}") from error
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise WeightsError(f"{self._called(node)}: it cannot be read ({error})") from error

    def finish(self) -> tuple[NetConfig, dict[str, NDArray[np.float32]]]:
        """The net and its tensors."""
        if self.output not in self.values:
            raise WeightsError(f"{self.where}: what it gives does not depend on the image")
        return self.builder.finish(self.values[self.output])

    def lines(self) -> list[str]:
        """What was found, in words."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.counts.most_common())
        lines = [f"recognised: {kinds}"]
        if self.counts["BatchNormalization"]:
            lines.append(f"folded: {self.counts['BatchNormalization']} batch normalisations")
        return lines

    def _called(self, node: Any) -> str:
        return f"{self.where}: {node.op_type} ({node.name or node.output[0]})"

    def _fold(self, node: Any, attributes: dict[str, Any]) -> None:
        """Compute what does not depend on the image."""
        from onnx import numpy_helper
        from onnx.reference import ReferenceEvaluator

        if node.op_type == "Constant" and "value" in attributes:
            self.constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
            return
        try:
            feeds = {name: self.constants[name] for name in node.input if name}
            results = ReferenceEvaluator(node).run(None, feeds)
        except Exception as error:  # whatever the evaluator meets
            raise WeightsError(f"{self._called(node)}: cannot be computed ({error})") from error
        self.constants.update(zip(node.output, map(np.asarray, results), strict=False))
