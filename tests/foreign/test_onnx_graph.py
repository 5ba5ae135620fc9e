"""ONNX graphs become layers, or are refused by name. Each import is compared with onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unetmm.errors import WeightsError
from unetmm.foreign.importing import Imported, import_model

SMALL = 1e-6
"""Largest difference from onnxruntime, as a share of the answer's range."""


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

    def save(self, folder: Path, opset: int = 18) -> Path:
        output = helper.make_tensor_value_info(self.x, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "sketch", self.inputs, [output], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 9
        path = folder / "net.onnx"
        onnx.save(model, str(path))
        return path

    def read(self, folder: Path, **options: Any) -> Imported:
        return import_model(self.save(folder), **options)


def plain(s: Sketch) -> None:
    s.node("Sub", "image", s.conv(s.node("Relu", s.conv("image", 3, 8)), 8, 3))


def activations(s: Sketch) -> None:
    x = s.conv("image", 3, 6)
    for kind, how in (
        ("LeakyRelu", {"alpha": 0.05}), ("Tanh", {}), ("Sigmoid", {}), ("Erf", {}),
    ):  # fmt: skip
        x = s.conv(s.node(kind, x, **how), 6, 6)
    x = s.node("PRelu", x, s.constant(s.rng.random((6, 1, 1))))
    x = s.node("Clip", x, s.constant(np.float32(-0.2)), s.constant(np.float32(0.3)))
    s.conv(x, 6, 3)


def arithmetic(s: Sketch) -> None:
    x = s.conv("image", 3, 4)
    by_channel = s.constant(s.rng.random((1, 4, 1, 1)))
    x = s.node("Mul", s.node("Add", x, by_channel), s.constant(np.float32(0.5)))
    x = s.node("Div", s.node("Sub", s.constant(np.float32(1)), x), s.constant(np.float32(3)))
    x = s.node("Mul", x, s.node("Sigmoid", x))
    s.conv(s.node("Neg", s.node("Mul", by_channel, x)), 4, 3)


def normalised(s: Sketch) -> None:
    numbers = [s.constant(s.rng.random(5) + 0.5) for _ in range(4)]
    x = s.node("BatchNormalization", s.conv("image", 3, 5), *numbers, epsilon=1e-3)
    s.conv(s.node("Relu", x), 5, 3)


def side_by_side(s: Sketch) -> None:
    x = s.conv("image", 3, 6)
    s.node("Split", x, s.constant(np.array([2, 4])), outputs=2, axis=1)
    first, second = s.nodes[-1].output
    ends = [s.constant(np.array([n])) for n in (1, 3, 1)]
    picked = s.node("Slice", x, *ends)
    s.conv(s.node("Concat", second, "image", picked, first, axis=1), 11, 3, 1)


def levels(s: Sketch) -> None:
    a = s.conv("image", 3, 4, 2, strides=[2, 2], pads=[0] * 4)
    b = s.conv(a, 4, 6, 3, strides=[2, 2], pads=[1] * 4)
    pooled = s.node("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    mean = s.node("AveragePool", a, kernel_shape=[2, 2], strides=[2, 2])
    single = s.conv(a, 4, 4, 1, strides=[2, 2], pads=[0] * 4)
    x = s.node("Concat", b, pooled, mean, single, axis=1)
    x = s.conv(x, 18, 4, 4, "ConvTranspose", strides=[2, 2], pads=[1] * 4)
    scales = s.constant(np.array([1, 1, 2, 2], np.float32))
    x = s.node("Resize", x, "", scales, **REPEATED)
    s.conv(x, 4, 3)


def transposed(s: Sketch) -> None:
    x = s.conv("image", 3, 8, 3, strides=[2, 2], pads=[1] * 4)
    x = s.conv(
        x, 8, 6, 3, "ConvTranspose", strides=[2, 2], pads=[1] * 4, output_padding=[1, 1], group=2
    )
    s.conv(x, 6, 3)


def spread(s: Sketch) -> None:
    x = s.conv("image", 3, 6, 3, dilations=[2, 2], pads=[2] * 4)
    x = s.conv(x, 6, 6, 3, group=6)
    x = s.conv(x, 6, 6, 5, group=2)
    pads = s.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    x = s.conv(s.node("Pad", x, pads), 6, 6, 3, pads=[0] * 4)
    s.conv(x, 6, 3, 3)


def shuffled(s: Sketch) -> None:
    x = s.node("SpaceToDepth", "image", blocksize=2)
    x = s.node("Relu", s.conv(x, 12, 12))
    x = s.node("DepthToSpace", x, blocksize=2, mode="DCR")
    s.node("DepthToSpace", s.conv(s.conv(x, 3, 12), 12, 12, 1), blocksize=2, mode="CRD")


def enlarged(s: Sketch) -> None:
    """Convolutions at twice and four times the image's size."""
    x = s.node("DepthToSpace", s.conv("image", 3, 16), blocksize=2, mode="CRD")
    x = s.node("Relu", s.conv(x, 4, 16))
    x = s.node("DepthToSpace", x, blocksize=2, mode="CRD")
    x = s.conv(s.node("PRelu", x, s.constant(np.full((4, 1, 1), 0.3))), 4, 3, 5)
    scales = s.constant(np.array([1, 1, 4, 4], np.float32))
    s.node("Add", x, s.node("Resize", "image", "", scales, **REPEATED))


GRAPHS: list[Callable[[Sketch], None]] = [
    plain, activations, arithmetic, normalised, side_by_side, levels, transposed, spread,
    shuffled, enlarged,
]  # fmt: skip


@pytest.mark.parametrize("draw", GRAPHS, ids=lambda draw: draw.__name__)
def test_a_graph_is_streamed_as_onnxruntime_restores(
    draw: Callable[[Sketch], None], tmp_path: Path
) -> None:
    sketch = Sketch()
    draw(sketch)
    found = sketch.read(tmp_path)
    assert found.layout == "ONNX" and found.lines[0].startswith("recognised: ")
    assert found.difference is not None and found.difference < SMALL


def test_what_follows_a_convolution_is_taken_into_it(tmp_path: Path) -> None:
    sketch = Sketch()
    normalised(sketch)
    layers = sketch.read(tmp_path).model.config.layers
    assert [layer.activation for layer in layers] == ["relu", ""]


def test_a_graph_for_one_size_computes_sizes(tmp_path: Path) -> None:
    """As exporters write factors of enlargement, and pixel-unshuffle."""
    s = Sketch(1, 24)
    shape = s.constant(np.array([1, 1, 12, 2, 12, 2]))
    x = s.node("Transpose", s.node("Reshape", "image", shape), perm=[0, 1, 3, 5, 2, 4])
    x = s.node("Reshape", x, s.constant(np.array([1, 4, 12, 12])))
    level = s.constant(np.full((1, 1, 12, 12), 0.1, np.float32))
    x = s.conv(s.node("Concat", x, level, axis=1), 5, 4)
    sizes = s.node("Mul", s.node("Shape", x), s.constant(np.array([1, 1, 2, 2])))
    s.conv(s.node("Resize", x, "", "", sizes, **REPEATED), 4, 1)
    found = s.read(tmp_path)
    assert found.difference is not None and found.difference < SMALL
    assert found.model.config.stride_px == 2


def mirrored(s: Sketch) -> None:
    pads = s.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    s.conv(s.node("Pad", "image", pads, mode="reflect"), 3, 3, pads=[0] * 4)


def linear(s: Sketch) -> None:
    x = s.conv("image", 3, 3, 2, strides=[2, 2], pads=[0] * 4)
    s.node("Resize", x, "", s.constant(np.array([1, 1, 2, 2], np.float32)), mode="linear")


def displaced(s: Sketch) -> None:
    """The nearest pixel of centres, rounded down: each comes from one further to the left."""
    x = s.conv("image", 3, 3, 2, strides=[2, 2], pads=[0] * 4)
    scales = s.constant(np.array([1, 1, 2, 2], np.float32))
    s.node("Resize", x, "", scales, mode="nearest", nearest_mode="floor")


def pooled(s: Sketch) -> None:
    s.node("Mul", "image", s.node("GlobalAveragePool", "image"))


def shrunk(s: Sketch) -> None:
    s.conv("image", 3, 3, 3, pads=[0] * 4)


def odd_output(s: Sketch) -> None:
    s.conv("image", 3, 2)


def half(s: Sketch) -> None:
    s.conv("image", 3, 3, 2, strides=[2, 2], pads=[0] * 4)


def dynamic(s: Sketch) -> None:
    s.node("Resize", "image", "", "", s.node("Shape", "image"))


def strange(s: Sketch) -> None:
    s.node("Hardmax", "image")


def pictures(s: Sketch) -> None:
    s.node("Add", "image", s.constant(s.rng.random((1, 3, 8, 8))))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (mirrored, r"Pad \(v0_0\): it repeats or mirrors a map's edges"),
        (linear, r"Resize \(v1_0\): linear interpolation"),
        (displaced, "only whole pixels that are repeated"),
        (pooled, r"GlobalAveragePool \(v0_0\): it looks at the whole image"),
        (shrunk, "changes its size"),
        (odd_output, "takes 3 channels and gives 2"),
        (half, "gives 1/2 of the image's size"),
        (dynamic, "Shape .*export the net for images of a fixed size"),
        (strange, r"Hardmax \(v0_0\): it is not among the layers that can be streamed"),
        (pictures, "not one number a channel"),
    ],
)
def test_what_cannot_be_streamed_is_named(
    draw: Callable[[Sketch], None], message: str, tmp_path: Path
) -> None:
    sketch = Sketch()
    draw(sketch)
    with pytest.raises(WeightsError, match=message) as caught:
        sketch.read(tmp_path)
    assert str(caught.value).count("\n") == 0


def test_inputs_that_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="with 1 or 3 channels, found"):
        sketch = Sketch(4)
        sketch.conv("image", 4, 4)
        sketch.read(tmp_path)
    sketch = Sketch()
    plain(sketch)
    sketch.inputs.append(helper.make_tensor_value_info("sigma", TensorProto.FLOAT, [1]))
    with pytest.raises(WeightsError, match="one image in and one out"):
        sketch.read(tmp_path)


def test_a_graph_that_onnxruntime_cannot_run_is_not_checked(tmp_path: Path) -> None:
    sketch = Sketch()
    plain(sketch)
    for node in sketch.nodes:
        node.name = "the same"
    found = sketch.read(tmp_path)
    assert found.difference is None and "not checked: onnxruntime" in found.lines[-1]


def test_files_that_are_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"this is no protobuf" * 9)
    with pytest.raises(WeightsError, match=r"x\.onnx: not an ONNX file"):
        import_model(path)
    with pytest.raises(WeightsError, match="no such file"):
        import_model(tmp_path / "none.onnx")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(WeightsError, match=r"\.pth, \.pt, \.ckpt, \.safetensors and \.onnx"):
        import_model(tmp_path / "x.txt")
