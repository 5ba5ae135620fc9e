"""What of ONNX cannot be streamed or makes no sense is refused in one line, at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from sketch import REPEATED, Sketch, changed, plain

from unetmm.errors import WeightsError
from unetmm.foreign.importing import import_model


def corners(s: Sketch) -> None:
    double = s.constant(np.array([1, 1, 2, 2], np.float32))
    way = "align_corners"
    s.node("Resize", "image", "", double, mode="linear", coordinate_transformation_mode=way)


def cubic(s: Sketch) -> None:
    s.node("Resize", "image", "", s.constant(np.array([1, 1, 2, 2], np.float32)), mode="cubic")


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
    sizes = s.node("Cast", s.node("Shape", "image"), to=TensorProto.FLOAT)
    s.node("Div", "image", s.node("ReduceProd", sizes, keepdims=0))


def strange(s: Sketch) -> None:
    s.node("Hardmax", "image")


def pictures(s: Sketch) -> None:
    s.node("Add", "image", s.constant(s.rng.random((1, 3, 8, 8))))


def lopsided(s: Sketch) -> None:
    """Zeros above only, for a column of weights; they would have been taken for columns too."""
    s.node("Conv", "image", s.constant(s.rng.random((3, 3, 3, 1))), pads=[0, 0, 2, 0])


def sideways(s: Sketch) -> None:
    s.node("Transpose", "image", perm=[0, 1, 3, 2])


def sideways_inside(s: Sketch) -> None:
    x = s.node("Transpose", "image", perm=[0, 1, 3, 2])
    s.node("Transpose", s.conv(x, 3, 3), perm=[0, 1, 3, 2])


def whole_numbers(s: Sketch) -> None:
    s.node("Cast", s.node("Cast", "image", to=TensorProto.INT64), to=TensorProto.FLOAT)


def in_training(s: Sketch) -> None:
    numbers = [s.constant(np.ones(3)) for _ in range(4)]
    s.node("BatchNormalization", "image", *numbers, outputs=3, training_mode=1)


def divided(s: Sketch) -> None:
    s.node("Div", s.constant(np.float32(1)), "image")


def no_channels(s: Sketch) -> None:
    s.node("Conv", "image", s.constant(np.zeros((0, 3, 1, 1))))


def no_groups(s: Sketch) -> None:
    s.conv("image", 3, 3)
    s.nodes[-1].attribute.append(helper.make_attribute("group", 0))


def no_weight(s: Sketch) -> None:
    s.node("Conv", "image")


def wide(s: Sketch) -> None:
    s.conv("image", 3, 3, dilations=[10**6] * 2, pads=[10**6] * 4)


def vast(s: Sketch) -> None:
    s.node("Add", "image", s.node("ConstantOfShape", s.constant(np.array([2**20, 2**20]))))


def broadcast(s: Sketch) -> None:
    row, column = (s.constant(np.ones(shape)) for shape in ((1, 2**18), (2**18, 1)))
    s.node("Add", "image", s.node("Mul", row, column))


def enormous(s: Sketch) -> None:
    s.node("Resize", "image", "", s.constant(np.array([1, 1, 1e6, 1e6], np.float32)), **REPEATED)


def no_cells(s: Sketch) -> None:
    s.node("SpaceToDepth", "image", blocksize=0)


def infinite(s: Sketch) -> None:
    """A loop that a constant asks for."""
    info = helper.make_tensor_value_info
    kinds = (("i", TensorProto.INT64), ("c", TensorProto.BOOL), ("v", TensorProto.FLOAT))
    ins = [info(name, kind, []) for name, kind in kinds]
    outs = [info(f"{name}2", kind, []) for name, kind in kinds[1:]]
    nodes = [helper.make_node("Identity", [name], [f"{name}2"]) for name in "cv"]
    body = helper.make_graph(nodes, "body", ins, outs)
    more = s.constant(np.int64(2**62)), s.constant(np.array(True)), s.constant(np.float32(1))
    s.node("Add", "image", s.node("Loop", *more, body=body))


def not_a_number(s: Sketch) -> None:
    s.node("Mul", "image", s.constant(np.full((1, 3, 1, 1), np.nan)))


def named_by_chance(s: Sketch) -> None:
    """An operator by the name of something that the reader has."""
    s.node("Values", "image")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (corners, r"Resize \(v0_0\): interpolation with align_corners depends on the image's size"),
        (cubic, r"Resize \(v0_0\): cubic interpolation"),
        (lopsided, "other zeros around rows than around columns"),
        (sideways, "it gives something else than an image"),
        (sideways_inside, r"Conv \(v1_0\): it reads a map whose axes are turned"),
        (whole_numbers, r"Cast \(v0_0\): values become whole numbers"),
        (in_training, r"export the net after net\.eval\(\)"),
        (divided, "a map that is divided by another"),
        (no_channels, "a convolution that gives no channels"),
        (no_groups, "3 outputs in 0 groups"),
        (no_weight, r"Conv \(v0_0\): an input is missing"),
        (wide, "31 px are the longest side"),
        (vast, "a constant of 1099511627776 values"),
        (broadcast, "a constant of 68719476736 values"),
        (enormous, r"a factor of enlargement of 1e\+06"),
        (no_cells, "cells of 0 x 0 pixels"),
        (infinite, r"Loop \(v0_0\): it cannot be computed beforehand"),
        (not_a_number, "are NaN or infinite"),
        (named_by_chance, r"Values \(v0_0\): it is not among the layers"),
        (displaced, "only whole pixels that are repeated"),
        (pooled, r"GlobalAveragePool \(v0_0\): it looks at the whole image"),
        (shrunk, "changes its size"),
        (odd_output, "takes 3 channels and gives 2"),
        (half, "gives 1/2 of the image's size"),
        (dynamic, "the net depends on the image's size; export it for a fixed one"),
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
    for shape in ([1, "c", "h", "w"], [1, 4, 8]):
        sketch = Sketch(4)
        sketch.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
        sketch.conv("image", 4, 4)
        with pytest.raises(WeightsError, match="with a number of channels, found"):
            sketch.read(tmp_path)
    sketch = Sketch()
    plain(sketch)
    sketch.inputs.append(helper.make_tensor_value_info("sigma", TensorProto.FLOAT, [1]))
    with pytest.raises(WeightsError, match="one image in and one out"):
        sketch.read(tmp_path)


def outside(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "gone.bin"


def too_short(model: Any) -> None:
    model.graph.initializer[0].raw_data = b"0" * 20


def huge(model: Any) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**33, 2**33])


def below_zero(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -3


def of_bytes(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def empty(model: Any) -> None:
    del model.graph.node[:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (outside, r"may be in a file beside it \(.*gone\.bin"),
        (too_short, r"damaged, c0 cannot be read"),
        (huge, "1000000000 are the most"),
        (below_zero, "damaged, weights have sizes below 0"),
        (of_bytes, "it takes whole numbers; export a net that takes floats"),
        (empty, "not an ONNX file with a graph"),
    ],
)
def test_a_file_with_wrong_numbers(
    change: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    sketch = Sketch()
    plain(sketch)
    path = changed(sketch.save(tmp_path), change)
    with pytest.raises(WeightsError, match=message) as caught:
        import_model(path)
    assert str(caught.value).count("\n") == 0


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
