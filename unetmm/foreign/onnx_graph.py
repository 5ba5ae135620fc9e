"""ONNX graphs of layers that can be streamed.

Nodes are read in order; what is constant is computed, each of the others becomes layers. Anything
else is refused by its name, with the reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError, WeightsError
from unetmm.extras import need
from unetmm.foreign.builder import Builder, Value
from unetmm.foreign.found import ForeignNet
from unetmm.foreign.onnx_ends import EndOperators
from unetmm.foreign.onnx_folding import folded
from unetmm.foreign.onnx_maps import PLAIN_AXES
from unetmm.foreign.onnx_operators import FLOATS
from unetmm.foreign.reasons import REASONS, UNKNOWN
from unetmm.nets.config import MOST_PARAMETERS, NetConfig

INSTALL_ONNX = 'pip install "unetmm[onnx]"'
"""Command that adds what ONNX needs."""

FOLDING = ("Reshape", "Transpose")
"""Operators that may read a map whose axes were divided."""
OWN_ORDER = ("Transpose", "Gather", "GatherND", "Softmax", "ArgMax", "Squeeze")
"""Operators that know in which order a map's axes are."""
ANY_ORDER = (
    "Add",
    "Sub",
    "Mul",
    "Relu",
    "LeakyRelu",
    "Sigmoid",
    "Tanh",
    "Clip",
    "Identity",
    "Cast",
)
"""Operators for which the order does not matter where it is the same for all they read."""
CHANNELS_LAST = (0, 2, 3, 1)
"""Order of axes in which Keras and TensorFlow have images."""
SIZES_PX = ((384, 576), (960, 768))
"""Rows and columns that sizes are computed for where a graph is for any; both give the same net."""
MISREAD = (
    KeyError, IndexError, ValueError, TypeError, ArithmeticError, AttributeError, AssertionError,
    MemoryError, StopIteration, RuntimeError,
)  # fmt: skip
"""Errors of a graph whose numbers make no sense."""
Net = tuple[NetConfig, dict[str, NDArray[np.float32]]]


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
    model = _loaded(path)
    try:
        graph = Graph(model, str(path))
        config, tensors = graph.read(model.graph, SIZES_PX[0])
        if graph.asks_sizes and not all(graph.made_for_px):
            other = Graph(model, str(path)).read(model.graph, SIZES_PX[1])
            if not _are_same((config, tensors), other):
                raise WeightsError(
                    f"{path}: the net depends on the image's size; export it for a fixed one"
                )
    except ShapeError as error:
        raise WeightsError(f"{path}: {error}") from error
    lines = tuple(graph.lines(config))
    return ForeignNet(
        "ONNX", config, tensors, lines, graph.made_for_px, _is_half(model.graph), graph.axes,
        end=graph.end,
    )  # fmt: skip


def _has_channels_last(shape: list[int]) -> bool:
    """Whether the last of four axes has the channels: 1 or 3, or the only number, or the smaller.

    shape : lengths; 0 of those that may be any.
    """
    first, last = shape[1], shape[3]
    if first in (1, 3) or last in (1, 3):
        return first not in (1, 3)
    return last > 0 and not 0 < first <= last


def _is_half(graph: Any) -> bool:
    """Whether some of it is computed with 16 bits."""
    kinds = [tensor.data_type for tensor in graph.initializer]
    kinds += [each.type.tensor_type.elem_type for each in graph.input]
    kinds += [a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute]
    return any(kind in (10, 16) for kind in kinds)


def _loaded(path: Path) -> Any:
    """The content of a file, its functions written out and its weights read."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model
    from onnx.inliner import inline_local_functions

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf and its checks raise what they like
        raise WeightsError(f"{path}: not an ONNX file ({_first_line(error)})") from error
    if not model.graph.node or not model.graph.output:
        raise WeightsError(f"{path}: not an ONNX file with a graph")
    dims = [tensor.dims for tensor in model.graph.initializer]
    if any(n < 0 for shape in dims for n in shape):
        raise WeightsError(f"{path}: damaged, weights have sizes below 0")
    total = sum(math.prod(shape) for shape in dims)
    if total > MOST_PARAMETERS:
        raise WeightsError(f"{path}: {total} weights, {MOST_PARAMETERS} are the most")
    try:
        load_external_data_for_model(model, str(path.parent))
        return inline_local_functions(model) if model.functions else model
    except Exception as error:  # the same
        raise WeightsError(
            f"{path}: its weights cannot be read, which may be in a file beside it "
            f"({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _are_same(first: Net, second: Net) -> bool:
    """Whether two nets have the same layers and tensors."""
    if first[0] != second[0] or first[1].keys() != second[1].keys():
        return False
    return all(np.array_equal(tensor, second[1][name]) for name, tensor in first[1].items())


class Graph(EndOperators):
    """A graph that is being read: constants, and values that depend on the image."""

    def __init__(self, model: Any, where: str) -> None:
        from onnx import numpy_helper

        super().__init__()
        self.where = where
        self.counts: Counter[str] = Counter()
        self.axes = PLAIN_AXES
        """Order of the axes of the image that goes in, and of what comes out."""
        self.end = ""
        """Function at the very end that tells what the net gives, if there is one."""
        self.asks_sizes = False
        """Whether something was computed of the image's size."""
        versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
        self.opset = max(versions, default=1)
        for tensor in model.graph.initializer:
            try:
                self.constants[tensor.name] = numpy_helper.to_array(tensor)
            except MISREAD as error:
                raise WeightsError(
                    f"{where}: damaged, {tensor.name or 'a tensor'} cannot be read ({error})"
                ) from error
        self._begin(model.graph)

    def _begin(self, graph: Any) -> None:
        """The image that goes in, and what comes out."""
        inputs = [i for i in graph.input if i.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            names = [i.name for i in inputs], [o.name for o in graph.output]
            raise WeightsError(f"{self.where}: one image in and one out are read, found {names}")
        kind = inputs[0].type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        if len(shape) == 4 and _has_channels_last(shape):
            self.axes = CHANNELS_LAST
            self.turned[inputs[0].name] = CHANNELS_LAST
            shape = [shape[0], shape[3], *shape[1:3]]
        if len(shape) != 4 or shape[1] < 1:
            named = [d.dim_value or d.dim_param or "?" for d in kind.shape.dim]
            raise WeightsError(
                f"{self.where}: the input should be (1, channels, rows, columns) with a number of "
                f"channels, found {named}"
            )
        if kind.elem_type not in FLOATS:
            raise WeightsError(
                f"{self.where}: it takes whole numbers; export a net that takes floats, black 0 "
                "and white 1"
            )
        self.builder = Builder(shape[1])
        self.made_for_px = max(0, shape[2]), max(0, shape[3])
        self.values[inputs[0].name] = self.builder.image
        self.output = graph.output[0].name

    def read(self, graph: Any, size_px: tuple[int, int]) -> Net:
        """The net and its tensors; sizes are computed for an image of `size_px`."""
        rows, columns = self.made_for_px
        self.size_px = rows or size_px[0], columns or size_px[1]
        for node in graph.node:
            self.take(node)
        if self.output not in self.values:
            raise WeightsError(f"{self.where}: what it gives does not depend on the image")
        self.end = self.ends.get(self.output, "")
        if self.end == "argmax":  # its channels are gone, in whichever order the axes were
            self.turned[self.output] = self.axes
        wrong_order = self.turned.get(self.output, PLAIN_AXES) != self.axes
        if self.output in self.pads or self.output in self.folds or wrong_order:
            raise WeightsError(f"{self.where}: it gives something else than an image")
        config, tensors = self.builder.finish(self.values[self.output])
        if self.end == "softmax":
            config = replace(config, gives="classes", final="softmax")
        return config, tensors

    def take(self, node: Any) -> None:
        """Make layers of a node, or a constant."""
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [name for name in node.input if name]
        if unknown := [n for n in inputs if n not in self.values and n not in self.constants]:
            raise WeightsError(f"{self._called(node)}: nothing before gives its input {unknown[0]}")
        if not any(name in self.values for name in inputs):
            self._fold(node, attributes)
            return
        make: Callable[[Any, dict[str, Any]], Value] | None = getattr(
            self, f"op_{node.op_type.lower()}", None
        )
        is_size = node.op_type in ("Shape", "Size")
        if (make is None and not is_size) or node.domain not in ("", "ai.onnx"):
            raise WeightsError(f"{self._called(node)}: {REASONS.get(node.op_type, UNKNOWN)}")
        if any(name in self.pads for name in inputs) and node.op_type != "Conv":
            raise WeightsError(f"{self._called(node)}: zeros around a map without a convolution")
        if any(name in self.folds for name in inputs) and node.op_type not in FOLDING:
            raise WeightsError(f"{self._called(node)}: {REASONS['Reshape']}")
        self._check_order(node, inputs)
        try:
            self.pass_on(node)
            if make is None:
                self._measure(node, attributes)
                return
            self.counts[node.op_type] += 1
            with np.errstate(all="ignore"):  # weights that are not finite are refused at the end
                self.values[node.output[0]] = make(node, attributes)
            self.nodes[node.output[0]] = node
        except (WeightsError, ShapeError) as error:
            raise WeightsError(f"{self._called(node)}: {error}") from error
        except MISREAD as error:
            raise WeightsError(f"{self._called(node)}: it cannot be read ({error})") from error

    def _check_order(self, node: Any, inputs: list[str]) -> None:
        """Refuse a node that would take a map's axes for others; what it gives has the same."""
        orders = {self.turned.get(name, PLAIN_AXES) for name in inputs if name in self.values}
        if orders == {PLAIN_AXES} or node.op_type in OWN_ORDER:
            return
        constants = [self.constants[name] for name in inputs if name in self.constants]
        is_plain = len(orders) == 1 and all(each.size == 1 for each in constants)
        if node.op_type not in ANY_ORDER or not is_plain:
            raise WeightsError(f"{self._called(node)}: it reads a map whose axes are turned")
        self.turned[node.output[0]] = orders.pop()

    def _measure(self, node: Any, a: Mapping[str, Any]) -> None:
        """A map's shape, which becomes a constant."""
        self.asks_sizes = True
        shape = self.shape_of(self.value(node))
        if node.op_type == "Size":
            self.constants[node.output[0]] = np.asarray(np.prod(shape))
        else:
            self.constants[node.output[0]] = shape[a.get("start", 0) : a.get("end")]

    def lines(self, config: NetConfig) -> list[str]:
        """What was found, in words."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.counts.most_common())
        lines = [f"recognised: {kinds}"]
        if self.counts["BatchNormalization"]:
            lines.append(f"folded: {self.counts['BatchNormalization']} batch normalisations")
        if config.takes_bands:
            lines.append(
                f"recognised: it takes {config.in_channels} bands together, in the image's order "
                "or that of --bands"
            )
        gives = "and gives " if config.in_channels == config.out_channels else ""
        lines.append(f"assumed: it takes {gives}floats, black 0 and white 1")
        if config.stride_px > 1:
            lines.append(
                f"assumed: sides that are no multiples of {config.stride_px} px are continued by "
                "mirroring"
            )
        return lines

    def _called(self, node: Any) -> str:
        return f"{self.where}: {node.op_type} ({node.name or next(iter(node.output), '')})"

    def _fold(self, node: Any, attributes: dict[str, Any]) -> None:
        """Compute what does not depend on the image."""
        try:
            inputs = [self.constants[name] for name in node.input if name]
            results = folded(node, inputs, attributes, self.opset)
        except WeightsError as error:
            raise WeightsError(f"{self._called(node)}: {error}") from error
        self.constants.update(zip(node.output, results, strict=False))
