"""ONNX graphs become layers. Each import is compared with onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import stream_image
from onnx import TensorProto, helper, numpy_helper
from sketch import REPEATED, Sketch, changed, plain

from unetmm.foreign.importing import import_model

SMALL = 1e-6
"""Largest difference from onnxruntime, as a share of the answer's range."""


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


def functions(s: Sketch) -> None:
    """Functions of single values that are made of others."""
    s.opset = 20
    x = s.conv("image", 3, 4)
    for kind, how in (
        ("HardSigmoid", {"alpha": 0.3}), ("HardSwish", {}), ("Abs", {}),
        ("Gelu", {"approximate": "tanh"}), ("Gelu", {}),
    ):  # fmt: skip
        x = s.conv(s.node(kind, x, **how), 4, 4)
    s.node("Pow", x, s.constant(np.float32(2)))
    x = s.conv(s.node("Max", s.node("Min", s.x, s.constant(np.float32(0.3))), x), 4, 4)
    s.conv(s.node("Sum", x, s.node("Max", x, s.constant(np.float32(0.1))), x), 4, 3)


def one_for_all(s: Sketch) -> None:
    """Maps of one channel for all channels, means of channels, channels in another order."""
    x = s.conv("image", 3, 6)
    mean = s.node("ReduceMean", x, s.constant(np.array([1])), keepdims=1)
    x = s.node("Sub", x, mean)
    x = s.node("Mul", s.node("Sigmoid", s.conv(x, 6, 1)), x)
    x = s.node("Gather", x, s.constant(np.array([5, 0, -2, 3])), axis=1)
    x = s.node("Tile", x, s.constant(np.array([1, 2, 1, 1])))
    steps = [s.constant(np.array([n])) for n in (7, 0, 1, -2)]
    s.conv(s.node("Slice", x, *steps), 4, 3)


def interpolated(s: Sketch) -> None:
    """Linear interpolation with its repeated edges, reductions, and of finer maps."""
    halved = s.constant(np.array([1, 1, 0.5, 0.5], np.float32))
    x = s.node("Resize", s.conv("image", 3, 4), "", halved, mode="linear")
    x = s.node("Resize", s.conv(x, 4, 4), "", halved, **REPEATED)
    fourfold = s.constant(np.array([4, 4], np.float32))
    x = s.node("Resize", x, "", fourfold, mode="linear", axes=[2, 3])
    double = s.constant(np.array([1, 1, 2, 2], np.float32))
    x = s.conv(s.node("Resize", x, "", double, mode="linear"), 4, 3)
    s.node("Resize", x, "", double, mode="linear")


def means(s: Sketch) -> None:
    three = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4, "count_include_pad": 1}
    x = s.node("AveragePool", s.conv("image", 3, 4), **three)
    s.conv(x, 4, 3, 3)


def noise_alone(s: Sketch) -> None:
    """The image with another factor than 1 in the last sum."""
    s.node("Sub", s.conv("image", 3, 3), "image")


def noise_and_noise(s: Sketch) -> None:
    s.node("Add", "image", "image")


def nothing(s: Sketch) -> None:
    s.node("Identity", "image")


def coarse_then_fine(s: Sketch) -> None:
    """Pixel-shuffle by a factor that is only partly that of the map."""
    x = s.conv(s.node("SpaceToDepth", "image", blocksize=2), 12, 108)
    s.node("DepthToSpace", x, blocksize=6, mode="CRD")


def by_size(s: Sketch) -> None:
    """Sizes that are computed of the image's, as exporters write them."""
    x = s.node("Relu", s.conv("image", 3, 4, 2, strides=[2, 2], pads=[0] * 4))
    size = s.node("Slice", s.node("Shape", "image"), *(s.constant(np.array([n])) for n in (2, 4)))
    sizes = s.node("Concat", s.constant(np.array([1, 4])), size, axis=0)
    x = s.node("Resize", x, "", "", sizes, **REPEATED)
    level = s.node("Concat", s.constant(np.array([1, 1])), size, axis=0)
    fill = numpy_helper.from_array(np.array([0.1], np.float32))
    level = s.node("ConstantOfShape", level, value=fill)
    s.conv(s.node("Concat", x, level, axis=1), 5, 3)


def mixed_channels(s: Sketch) -> None:
    """An order of channels, written by axes."""
    x = s.conv("image", 3, 6)
    size = s.node("Slice", s.node("Shape", x), *(s.constant(np.array([n])) for n in (2, 4)))
    divided = s.node("Concat", s.constant(np.array([1, 2, 3])), size, axis=0)
    x = s.node("Transpose", s.node("Reshape", x, divided), perm=[0, 2, 1, 3, 4])
    whole = s.node("Concat", s.constant(np.array([1, 6])), size, axis=0)
    s.conv(s.node("Reshape", x, whole), 6, 3)


def turned(s: Sketch) -> None:
    """Channels in another order, picked along an axis that was turned to the front."""
    x = s.conv("image", 3, 4)
    x = s.node("Transpose", x, perm=[1, 0, 2, 3])
    x = s.node("Gather", x, s.constant(np.array([2, 0, 1])), axis=0)
    x = s.node("GatherND", x, s.constant(np.array([[2], [0], [1]])))
    s.node("Transpose", x, perm=[1, 0, 2, 3])


def bordered(s: Sketch) -> None:
    """Edges that are repeated and mirrored, of maps that others read with zeros around them."""
    x = s.node("Relu", s.conv("image", 3, 6))
    one = s.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    two = s.constant(np.array([0, 0, 2, 2, 0, 0, 2, 2]))
    repeated = s.conv(s.node("Pad", x, one, mode="edge"), 6, 6, pads=[0] * 4)
    mirrored = s.conv(s.node("Pad", repeated, two, mode="reflect"), 6, 6, 5, pads=[0] * 4)
    seen = s.conv(s.node("Pad", "image", one, mode="reflect"), 3, 6, pads=[0] * 4)
    beside = s.node("Concat", mirrored, x, repeated, seen, axis=1)
    half = s.conv(s.node("Pad", beside, one, mode="edge"), 24, 8, pads=[0] * 4, strides=[2, 2])
    s.conv(s.conv(half, 8, 8, 2, "ConvTranspose", strides=[2, 2], pads=[0] * 4), 8, 3)


GRAPHS: list[Callable[[Sketch], None]] = [
    bordered,
    plain, activations, arithmetic, normalised, side_by_side, levels, transposed, spread,
    shuffled, enlarged, functions, one_for_all, interpolated, means, noise_alone, noise_and_noise,
    nothing, coarse_then_fine, by_size, mixed_channels, turned,
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


def test_repeated_edges_are_those_of_the_image_not_of_strips(tmp_path: Path) -> None:
    """A map of ones tells where the edges are, whatever the image is cut into."""
    sketch = Sketch()
    interpolated(sketch)
    config = sketch.read(tmp_path).model.config
    image = np.random.default_rng(0).random((62, 86, 3), np.float32)
    whole = stream_image(config, image, band_rows=4)
    cut = stream_image(config, image, band_rows=16, strips=3, segments=2, workers=2)
    np.testing.assert_array_equal(whole, cut)


def test_what_follows_a_convolution_is_taken_into_it(tmp_path: Path) -> None:
    sketch = Sketch()
    normalised(sketch)
    layers = sketch.read(tmp_path).model.config.layers
    assert [layer.activation for layer in layers] == ["relu", ""]


@pytest.mark.parametrize("halved", ["both", "image", "error function"])
@pytest.mark.parametrize("turned", [True, False])
def test_functions_of_several_nodes_become_one_layer(
    halved: str, turned: bool, tmp_path: Path
) -> None:
    s = Sketch()

    def product(a: str, b: str) -> str:
        return s.node("Mul", b, a) if turned else s.node("Mul", a, b)

    x = s.conv("image", 3, 4)
    x = s.conv(product(x, s.node("Sigmoid", x)), 4, 4)
    half, root = s.constant(np.float32(0.5)), s.constant(np.float32(2**0.5))
    total = s.node("Add", s.node("Erf", s.node("Div", x, root)), s.constant(np.float32(1)))
    x = {
        "both": lambda: product(product(x, total), half),
        "image": lambda: product(product(x, half), total),
        "error function": lambda: product(x, product(half, total)),
    }[halved]()
    s.conv(x, 4, 3)
    found = s.read(tmp_path)
    assert found.difference is not None and found.difference < SMALL
    assert [layer.activation for layer in found.model.config.layers] == ["silu", "gelu", ""]


def test_functions_that_only_look_alike(tmp_path: Path) -> None:
    s = Sketch()
    x, y = s.conv("image", 3, 4), s.conv("image", 3, 4)
    half, root = s.constant(np.float32(0.5)), s.constant(np.float32(2**0.5))
    z = s.node("Mul", x, s.node("Sigmoid", y))
    total = s.node("Add", s.node("Erf", s.node("Div", y, root)), s.constant(np.float32(1)))
    s.conv(s.node("Add", z, s.node("Mul", s.node("Mul", x, total), half)), 4, 3)
    found = s.read(tmp_path)
    assert found.difference is not None and found.difference < SMALL


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


def test_a_graph_of_16_bits_is_computed_with_32(tmp_path: Path) -> None:
    sketch = Sketch()
    x = sketch.node("Cast", "image", to=TensorProto.FLOAT16)
    weight = sketch.constant(sketch.rng.normal(0, 0.2, (3, 3, 3, 3)).astype(np.float16))
    x = sketch.node("Conv", x, weight, pads=[1] * 4)
    sketch.node("Cast", x, to=TensorProto.FLOAT)
    found = sketch.read(tmp_path)
    assert found.difference is not None and found.difference < 1e-2
    assert any("32 bits do" in line for line in found.lines)


def test_a_graph_of_several_images_at_once(tmp_path: Path) -> None:
    sketch = Sketch()
    plain(sketch)
    path = sketch.save(tmp_path)

    def four(model: Any) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4

    found = import_model(changed(path, four))
    assert found.difference is not None and found.difference < SMALL


def test_a_graph_for_large_images_is_not_run(tmp_path: Path) -> None:
    sketch = Sketch(size=10**6)
    plain(sketch)
    found = sketch.read(tmp_path)
    assert (
        found.difference is None
        and "not checked: it is made for images of 1000000" in found.lines[-1]
    )


@pytest.mark.parametrize(("opset", "inside"), [(7, True), (9, False)])
def test_old_graphs(opset: int, inside: bool, tmp_path: Path) -> None:
    """Slices, bounds and factors were attributes once."""
    s = Sketch()
    s.opset = opset
    x = s.node("Slice", s.conv("image", 3, 6), starts=[1], ends=[4], axes=[1])
    x = s.node("Clip", x, min=-0.2, max=0.4)
    scales = [1.0, 1.0, 2.0, 2.0]
    if inside:
        s.node("Upsample", x, scales=scales)
    else:
        s.node("Upsample", x, s.constant(np.array(scales, np.float32)))
    found = s.read(tmp_path)
    assert found.difference is not None and found.difference < SMALL


@pytest.mark.parametrize("size", ["n", 48])
def test_graphs_of_keras_have_their_channels_last(size: int | str, tmp_path: Path) -> None:
    s = Sketch(1)
    shape = [1, size, size, 1]
    s.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    x = s.conv(s.node("Transpose", "image", perm=[0, 3, 1, 2]), 1, 4)
    x = s.conv(s.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 4, 4)
    x = s.node("Resize", x, "", s.constant(np.array([1, 1, 2, 2], np.float32)), **REPEATED)
    x = s.node("Transpose", s.conv(x, 4, 1), perm=[0, 2, 3, 1])
    s.node("Add", "image", s.node("Mul", x, s.constant(np.float32(0.5))))
    found = s.read(tmp_path)
    assert found.difference is not None and found.difference < SMALL


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    sketch = Sketch()
    levels(sketch)
    lines = sketch.read(tmp_path).lines
    assert "assumed: it takes and gives floats, black 0 and white 1" in lines
    assert any("multiples of 4 px are continued by mirroring" in line for line in lines)


def test_a_graph_that_onnxruntime_cannot_run_is_not_checked(tmp_path: Path) -> None:
    sketch = Sketch()
    plain(sketch)
    for node in sketch.nodes:
        node.name = "the same"
    found = sketch.read(tmp_path)
    assert found.difference is None and "not checked: onnxruntime" in found.lines[-1]
