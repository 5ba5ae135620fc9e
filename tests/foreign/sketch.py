"""Small ONNX graphs, drawn node by node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from unetmm.foreign.importing import Imported, import_model

REPEATED = {
    "mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric",
}  # fmt: skip
"""Attributes of an enlargement that repeats pixels, as exporters write them."""


class Sketch:
    """A graph of nodes one after another; `x` is the name of what the last of them gave."""

    def __init__(self, channels: int = 3, size: int | str = "n") -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.rng = np.random.default_rng(0)
        shape = [1, channels, size, size]
        self.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
        self.x = "image"
        self.opset = 18

    def constant(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        array = np.asarray(values)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        self.x = names[0]
        return self.x

    def conv(self, x: str, c: int, n: int, k: int = 3, kind: str = "Conv", **how: Any) -> str:
        groups = how.get("group", 1)
        shape = (n, c // groups, k, k) if kind == "Conv" else (c, n // groups, k, k)
        weight = self.rng.normal(0, (c * k * k / groups) ** -0.5, shape)
        how.setdefault("pads", [k // 2] * 4)
        names = self.constant(weight), self.constant(self.rng.normal(0, 0.1, n))
        return self.node(kind, x, *names, **how)

    def save(self, folder: Path) -> Path:
        output = helper.make_tensor_value_info(self.x, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "sketch", self.inputs, [output], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 9
        path = folder / "net.onnx"
        onnx.save(model, str(path))
        return path

    def read(self, folder: Path, **options: Any) -> Imported:
        return import_model(self.save(folder), **options)


def plain(s: Sketch) -> None:
    s.node("Sub", "image", s.conv(s.node("Relu", s.conv("image", 3, 8)), 8, 3))


def changed(path: Path, change: Callable[[Any], None]) -> Path:
    """A graph whose file was changed."""
    model = onnx.load(str(path))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path
