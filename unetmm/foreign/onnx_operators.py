"""What each ONNX operator becomes: one method for each, by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Builder, Value
from unetmm.foreign.reasons import EDGES, REASONS

Array = NDArray[Any]


class Operators:
    """Makes layers of nodes. Every method takes a node and its attributes.

    Raises
    ------
    WeightsError
        If the operator cannot be streamed as it is used.
    """

    def __init__(self) -> None:
        self.builder = Builder(1)
        self.constants: dict[str, Array] = {}
        self.values: dict[str, Value] = {}
        """What depends on the image, by name."""
        self.pads: dict[str, tuple[int, int]] = {}
        """Zeros that were put around a value, which the next convolution reads."""
        self.folds: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        """Shape and order of axes of values of which pixels become channels, or the reverse."""
        self.size_px = 0, 0
        """Rows and columns of the image that the graph was made for; 0: any."""
        self.output = ""

    def _x(self, node: Any, i: int = 0) -> Value:
        return self.values[node.input[i]]

    def _number(self, node: Any, i: int) -> Array | None:
        """A constant input; None where there is none."""
        if i >= len(node.input) or not node.input[i]:
            return None
        if node.input[i] not in self.constants:
            raise WeightsError("an input that should be constant depends on the image")
        return self.constants[node.input[i]]

    def shape_of(self, x: Value, a: dict[str, Any]) -> Array:
        """The shape of a value, of an image of the size that the graph was made for."""
        rows, columns = (n * x.fine // x.scale for n in self.size_px)
        return np.array([1, x.channels, rows, columns])[a.get("start", 0) : a.get("end")]

    def _beside(self, name: str, x: Value) -> Value:
        """A value; a constant that is the same everywhere becomes a map like x."""
        if name in self.values:
            return self.values[name]
        constant = self.constants[name]
        if constant.ndim != 4 or np.ptp(constant, (2, 3)).any():
            raise WeightsError("a constant that is not the same everywhere")
        return self.builder.constant(x, constant[0, :, 0, 0])

    def _conv(self, node: Any, a: dict[str, Any]) -> Value:
        weight, bias = self._number(node, 1), self._number(node, 2)
        assert weight is not None, "checked by `take`"
        if weight.ndim != 4:
            raise WeightsError(f"a convolution of {weight.ndim - 2} dimensions")
        stride, dilation = _same(a.get("strides", [1, 1])), _same(a.get("dilations", [1, 1]))
        pads = self._conv_pads(weight, a, stride, dilation)
        more = self.pads.get(node.input[0], (0, 0))
        return self.builder.conv(
            self._x(node), weight, bias, stride=stride, dilation=dilation,
            pads=(pads[0] + more[0], pads[1] + more[1]), groups=a.get("group", 1),
        )  # fmt: skip

    @staticmethod
    def _conv_pads(weight: Array, a: dict[str, Any], stride: int, dilation: int) -> tuple[int, int]:
        kh, kw = weight.shape[2:]
        automatic = a.get("auto_pad", b"NOTSET").decode()
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            total = max(0, (max(kh, kw) - 1) * dilation + 1 - stride)
            small, large = total // 2, total - total // 2
            return (small, large) if automatic == "SAME_UPPER" else (large, small)
        top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
        if kh != kw:  # such kernels are squared with zeros, so the longer side's pads count
            return (top, bottom) if kh > kw else (left, right)
        if (top, bottom) != (left, right):
            raise WeightsError(f"other zeros around rows than around columns: {a.get('pads')}")
        return top, bottom

    def _convtranspose(self, node: Any, a: dict[str, Any]) -> Value:
        weight = self._number(node, 1)
        assert weight is not None, "checked by `take`"
        if weight.shape[2] != weight.shape[3] or _same(a.get("dilations", [1, 1])) != 1:
            raise WeightsError("a transposed convolution that is not square and dense")
        return self.builder.transposed(
            self._x(node), weight.astype(np.float32), self._number(node, 2),
            stride=_same(a.get("strides", [1, 1])), pad=_same(a.get("pads", [0] * 4)),
            output_pad=_same(a.get("output_padding", [0, 0])), groups=a.get("group", 1),
        )  # fmt: skip

    def _pad(self, node: Any, a: dict[str, Any]) -> Value:
        amounts = self._number(node, 1) if len(node.input) > 1 else a["pads"]
        if not np.any(amounts):
            return self._x(node)
        if a.get("mode", b"constant") != b"constant":
            raise WeightsError(EDGES)
        value = self._number(node, 2)
        if value is not None and value.any():
            raise WeightsError("a border of something else than zeros")
        begin, end = np.split(np.asarray(amounts), 2)
        if begin[:2].any() or end[:2].any() or begin[2] != begin[3] or end[2] != end[3]:
            raise WeightsError("other zeros around rows than around columns")
        self.pads[node.output[0]] = int(begin[2]), int(end[2])
        return self._x(node)

    def _relu(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self._x(node), "relu")

    def _sigmoid(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self._x(node), "sigmoid")

    def _tanh(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self._x(node), "tanh")

    def _erf(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self._x(node), "erf")

    def _gelu(self, node: Any, a: dict[str, Any]) -> Value:
        if a.get("approximate", b"none") != b"none":
            raise WeightsError("the approximation by tanh; export the exact form")
        return self.builder.activation(self._x(node), "gelu")

    def _leakyrelu(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self._x(node), "leaky", (a.get("alpha", 0.01),))

    def _prelu(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.activation(self._x(node), "prelu", slopes=self._number(node, 1))

    def _clip(self, node: Any, a: dict[str, Any]) -> Value:
        low, high = self._number(node, 1), self._number(node, 2)
        ends = (
            float(a.get("min", -3e38) if low is None else low),
            float(a.get("max", 3e38) if high is None else high),
        )
        return self.builder.activation(self._x(node), "clip", ends)

    def _add(self, node: Any, a: dict[str, Any]) -> Value:
        return self._sum(node, 1.0)

    def _sub(self, node: Any, a: dict[str, Any]) -> Value:
        return self._sum(node, -1.0)

    def _sum(self, node: Any, sign: float) -> Value:
        first, second = (self.values.get(name) for name in node.input)
        if first is not None and second is not None:
            is_last = node.output[0] == self.output
            return self.builder.add(first, second, (1.0, sign), last=is_last)
        if first is not None:
            return self._affine(first, None, sign * _array(self._number(node, 1)))
        assert second is not None, "one of them depends on the image"
        factor = None if sign == 1 else np.array(-1.0)
        return self._affine(second, factor, _array(self._number(node, 0)))

    def _mul(self, node: Any, a: dict[str, Any]) -> Value:
        first, second = (self.values.get(name) for name in node.input)
        if first is not None and second is not None:
            return self.builder.multiply(first, second)
        value, place = (first, 1) if first is not None else (second, 0)
        assert value is not None, "one of them depends on the image"
        return self._affine(value, _array(self._number(node, place)), None)

    def _div(self, node: Any, a: dict[str, Any]) -> Value:
        divisor = self._number(node, 1)
        return self._affine(self._x(node), 1 / _array(divisor).astype(np.float64), None)

    def _neg(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.scaled(self._x(node), -1.0)

    def _affine(self, x: Value, factor: Array | None, shift: Array | None) -> Value:
        """A factor and a constant, for all channels or for each."""
        factors = np.ones(1) if factor is None else factor
        shifts = np.zeros(1) if shift is None else shift
        if factors.size == shifts.size == 1:
            return self.builder.scaled(x, float(factors.item()), float(shifts.item()))
        by_channel = [_by_channel(each, x.channels) for each in (factors, shifts)]
        return self.builder.affine(x, *(each.astype(np.float32) for each in by_channel))

    def _batchnormalization(self, node: Any, a: dict[str, Any]) -> Value:
        scale, bias, mean, variance = (_array(self._number(node, i)) for i in (1, 2, 3, 4))
        factors = scale / np.sqrt(variance.astype(np.float64) + a.get("epsilon", 1e-5))
        shifts = bias - mean * factors
        return self.builder.affine(
            self._x(node), factors.astype(np.float32), shifts.astype(np.float32)
        )

    def _maxpool(self, node: Any, a: dict[str, Any]) -> Value:
        if a["kernel_shape"] != [2, 2] or a.get("strides") != [2, 2] or any(a.get("pads", [0])):
            raise WeightsError("only the largest of each 2 x 2 pixels is taken")
        return self.builder.pool(self._x(node))

    def _averagepool(self, node: Any, a: dict[str, Any]) -> Value:
        size = _same(a["kernel_shape"])
        if a.get("strides") != [size, size] or any(a.get("pads", [0])):
            raise WeightsError("only means of cells side by side are taken")
        return self.builder.average_pool(self._x(node), size)

    def _concat(self, node: Any, a: dict[str, Any]) -> Value:
        if a["axis"] not in (1, -3):
            raise WeightsError(
                f"maps are put side by side by channels only, found axis {a['axis']}"
            )
        like = next(self.values[name] for name in node.input if name in self.values)
        return self.builder.concat([self._beside(name, like) for name in node.input])

    def _split(self, node: Any, a: dict[str, Any]) -> Value:
        if a.get("axis", 0) not in (1, -3):
            raise WeightsError("only channels are divided")
        x, sizes = self._x(node), self._number(node, 1)
        count = len(node.output)
        given = a.get("split") if sizes is None else sizes.tolist()
        parts = given or [x.channels // count] * count
        start = 0
        for name, size in zip(node.output, parts, strict=True):
            self.values[name] = self.builder.slice(x, start, start + int(size))
            start += int(size)
        return self.values[node.output[0]]

    def _slice(self, node: Any, a: dict[str, Any]) -> Value:
        starts, ends, axes, steps = (self._number(node, i) for i in (1, 2, 3, 4))
        x = self._x(node)
        assert starts is not None and ends is not None, "ONNX wants them"
        if axes is None or (steps is not None and (steps != 1).any()):
            raise WeightsError("only channels next to each other are picked")
        for axis, start, end in zip(axes % 4, starts, ends, strict=True):
            if axis == 1:
                chosen = range(x.channels)[int(start) : int(end)]
                x = self.builder.slice(x, chosen.start, chosen.stop)
            elif start != 0 or end < (self.shape_of(x, {})[axis] or 2**31):
                raise WeightsError("a part of the map is cut out")
        return x

    def _depthtospace(self, node: Any, a: dict[str, Any]) -> Value:
        x, ratio = self._x(node), a["blocksize"]
        if a.get("mode", b"DCR") != b"CRD":
            # Channels are (dy, dx, c) there.
            order = np.arange(x.channels).reshape(ratio**2, -1).T.ravel()
            matrix = np.eye(x.channels, dtype=np.float32)[order]
            x = self.builder.conv(x, matrix[:, :, None, None])
        return self.builder.shuffle(x, ratio)

    def _spacetodepth(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.unshuffle(self._x(node), a["blocksize"], "yxc")

    def _resize(self, node: Any, a: dict[str, Any]) -> Value:
        if a.get("mode", b"nearest") != b"nearest":
            raise WeightsError(
                f"{a['mode'].decode()} interpolation: {EDGES}; nearest and transposed convolutions"
                " are read"
            )
        scales = self.constants.get(node.input[-1])
        if scales is None or scales.size != 4:
            raise WeightsError("its factors are not constant: export the net for a fixed size")
        if scales.dtype.kind != "f":
            scales = scales / self.shape_of(self._x(node), {})
        ratio = _same(scales[2:].tolist())
        if ratio != int(ratio) or ratio < 1 or not _repeats(int(ratio), a):
            raise WeightsError(f"only whole pixels that are repeated are read, found {ratio:g}")
        return self.builder.nearest(self._x(node), int(ratio))

    _upsample = _resize

    def _reshape(self, node: Any, a: dict[str, Any]) -> Value:
        x, shape = self._x(node), self._number(node, 1)
        assert shape is not None, "ONNX wants it"
        if node.input[0] in self.folds:
            return self._folded(x, *self.folds[node.input[0]])
        if len(shape) != 6:
            raise WeightsError(REASONS["Reshape"])
        self.folds[node.output[0]] = tuple(shape.tolist()), ()
        return x

    def _transpose(self, node: Any, a: dict[str, Any]) -> Value:
        if node.input[0] not in self.folds:
            raise WeightsError(REASONS["Reshape"])
        self.folds[node.output[0]] = self.folds[node.input[0]][0], tuple(a["perm"])
        return self._x(node)

    def _folded(self, x: Value, shape: tuple[int, ...], order: tuple[int, ...]) -> Value:
        """Pixel-shuffle or the reverse, as older exporters write them."""
        if order == (0, 1, 4, 2, 5, 3) and shape[2] == shape[3]:
            return self.builder.shuffle(x, shape[2])
        if order in ((0, 1, 3, 5, 2, 4), (0, 3, 5, 1, 2, 4)) and shape[3] == shape[5]:
            return self.builder.unshuffle(x, shape[3], "cyx" if order[1] == 1 else "yxc")
        raise WeightsError(REASONS["Reshape"])

    def _identity(self, node: Any, a: dict[str, Any]) -> Value:
        return self._x(node)

    _dropout = _identity
    _cast = _identity


def _same(numbers: list[Any]) -> Any:
    """The number that all of them are."""
    if len(set(numbers)) != 1:
        raise WeightsError(f"other numbers for rows than for columns: {numbers}")
    return numbers[0]


def _array(values: Array | None) -> Array:
    assert values is not None, "ONNX wants it"
    return np.asarray(values)


def _by_channel(values: Array, channels: int) -> Array:
    """One number a channel, from a scalar or from (channels, 1, 1)."""
    if values.size == 1:
        return np.full(channels, values.item())
    shape = values.shape[1:] if values.ndim == 4 and values.shape[0] == 1 else values.shape
    if shape != (channels, 1, 1):
        raise WeightsError(f"a constant of shape {values.shape}, which is not one number a channel")
    return values.ravel()


def _repeats(ratio: int, a: dict[str, Any]) -> bool:
    """Whether a Resize takes pixel i // ratio for each pixel i, as far as edges do not matter."""
    places = np.arange(4 * ratio, 8 * ratio)
    mode = a.get("coordinate_transformation_mode", b"half_pixel").decode()
    if mode in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        taken = (places + 0.5) / ratio - 0.5
    elif mode == "asymmetric":
        taken = places / ratio
    else:
        return False
    rounding = a.get("nearest_mode", b"round_prefer_floor").decode()
    rounded = {
        "round_prefer_floor": np.ceil(taken - 0.5),
        "round_prefer_ceil": np.floor(taken + 0.5),
        "floor": np.floor(taken),
        "ceil": np.ceil(taken),
    }
    return bool((rounded[rounding] == places // ratio).all())
