"""What each ONNX operator that moves pixels or channels becomes: one method for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Value
from unetmm.foreign.onnx_values import Array, GraphValues, same
from unetmm.foreign.reasons import EDGES, REASONS, WHOLE
from unetmm.nets.layers import BORDERS, MOST_CHANNELS

PLAIN_AXES = (0, 1, 2, 3)
"""Axes of a map: images, channels, rows, columns."""
MOST_RATIO = 16
"""Largest factor by which a layer enlarges or reduces."""


PAD_MODES = {"constant": "zeros", "edge": "edge", "reflect": "reflect"}
"""Mode of a Pad -> name of the border."""


class MapOperators(GraphValues):
    """Makes layers of nodes. Every method takes a node and its attributes.

    Raises
    ------
    WeightsError
        If the operator cannot be streamed as it is used.
    """

    def op_conv(self, node: Any, a: dict[str, Any]) -> Value:
        weight, bias = self.needed(node, 1), self.number(node, 2)
        if weight.ndim != 4:
            raise WeightsError(f"a convolution of {weight.ndim - 2} dimensions")
        stride, dilation = same(a.get("strides", [1, 1])), same(a.get("dilations", [1, 1]))
        pads = _conv_pads(weight, a, stride, dilation)
        *more, border = self.pads.get(node.input[0], (0, 0, BORDERS[0]))
        if border != BORDERS[0] and any(pads):
            raise WeightsError("zeros around a map that has another border already")
        return self.builder.conv(
            self.value(node), weight, bias, stride=stride, dilation=dilation,
            pads=(pads[0] + more[0], pads[1] + more[1]), groups=a.get("group", 1), border=border,
        )  # fmt: skip

    def op_convtranspose(self, node: Any, a: dict[str, Any]) -> Value:
        weight, stride = self.needed(node, 1), same(a.get("strides", [1, 1]))
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
            raise WeightsError("a transposed convolution that is not square")
        if same(a.get("dilations", [1, 1])) != 1:
            raise WeightsError("a transposed convolution with gaps")
        if a.get("output_shape") or a.get("auto_pad", b"NOTSET") != b"NOTSET":
            raise WeightsError("a transposed convolution whose zeros are not given as numbers")
        return self.builder.transposed(
            self.value(node), weight.astype(np.float32), self.number(node, 2),
            stride=stride, pad=same(a.get("pads", [0] * 4)),
            output_pad=same(a.get("output_padding", [0, 0])), groups=a.get("group", 1),
        )  # fmt: skip

    def op_pad(self, node: Any, a: dict[str, Any]) -> Value:
        x, amounts = self.value(node), self.given(node, 1, a, "pads")
        if amounts is None or len(amounts) != 8 or self.number(node, 3) is not None:
            raise WeightsError("a border that is not given for all axes")
        if not np.any(amounts):
            return x
        mode = a.get("mode", b"constant").decode()
        if mode not in PAD_MODES:
            raise WeightsError(f"a border that is {mode}")
        value = self.given(node, 2, a, "value")
        if value is not None and value.any():
            raise WeightsError("a border of something else than zeros")
        begin, end = np.split(np.asarray(amounts), 2)
        if begin[:2].any() or end[:2].any() or begin[2] != begin[3] or end[2] != end[3]:
            raise WeightsError("other borders around rows than around columns")
        self.pads[node.output[0]] = int(begin[2]), int(end[2]), PAD_MODES[mode]
        return x

    def op_maxpool(self, node: Any, a: dict[str, Any]) -> Value:
        is_cell = a["kernel_shape"] == [2, 2] == a.get("strides")
        if not is_cell or any(a.get("pads", [0])) or same(a.get("dilations", [1])) != 1:
            raise WeightsError("only the largest of each 2 x 2 pixels is taken")
        return self.builder.pool(self.value(node))

    def op_averagepool(self, node: Any, a: dict[str, Any]) -> Value:
        size, stride = same(a["kernel_shape"]), same(a.get("strides", [1, 1]))
        pad, pads = 0, a.get("pads", [0, 0, 0, 0])
        if a.get("count_include_pad"):
            pad = same(pads)
        elif any(pads) or a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise WeightsError("means that leave out what is beyond the edges")
        return self.builder.average_pool(self.value(node), size, stride, pad)

    def op_concat(self, node: Any, a: dict[str, Any]) -> Value:
        if a["axis"] not in (1, -3):
            raise WeightsError(
                f"maps are put side by side by channels only, found axis {a['axis']}"
            )
        like = next(self.values[name] for name in node.input if name in self.values)
        return self.builder.concat([self.beside(name, like) for name in node.input])

    def op_split(self, node: Any, a: dict[str, Any]) -> Value:
        if a.get("axis", 0) not in (1, -3):
            raise WeightsError("only channels are divided")
        x, sizes = self.value(node), self.given(node, 1, a, "split")
        count = len(node.output)
        most = -(-x.channels // count)
        even = [min(most, x.channels - i * most) for i in range(count)]
        parts = even if sizes is None else sizes.tolist()
        if min(parts) < 1 or sum(parts) != x.channels:
            raise WeightsError(f"{x.channels} channels are divided into {parts}")
        start = 0
        for name, size in zip(node.output, parts, strict=True):
            self.values[name] = self.builder.slice(x, start, start + int(size))
            start += int(size)
        return self.values[node.output[0]]

    def op_slice(self, node: Any, a: dict[str, Any]) -> Value:
        x = self.value(node)
        starts, ends = self.given(node, 1, a, "starts"), self.given(node, 2, a, "ends")
        axes, steps = self.given(node, 3, a, "axes"), self.number(node, 4)
        if starts is None or ends is None:
            raise WeightsError("an input is missing")
        axes = np.arange(len(starts)) if axes is None else axes % 4
        steps = np.ones(len(starts), int) if steps is None else steps
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            chosen = range(int(self.shape_of(x)[axis]))[int(start) : int(end) : int(step)]
            if axis == 1 and chosen:
                x = self.builder.pick(x, list(chosen))
            elif chosen != range(int(self.shape_of(x)[axis])):
                raise WeightsError("a part of the map is cut out; only channels are picked")
        return x

    def op_gather(self, node: Any, a: dict[str, Any]) -> Value:
        indices, axis = self.needed(node, 1), a.get("axis", 0)
        axes = self.turned.get(node.input[0], PLAIN_AXES)
        if not -4 <= axis < 4 or axes[axis] != 1 or indices.ndim != 1 or not indices.size:
            raise WeightsError("only channels are picked")
        if axes != PLAIN_AXES:
            self.turned[node.output[0]] = axes
        x = self.value(node)
        return self.builder.pick(x, [range(x.channels)[int(i)] for i in indices])

    def op_gathernd(self, node: Any, a: dict[str, Any]) -> Value:
        indices = self.needed(node, 1)
        if a.get("batch_dims", 0) or indices.ndim != 2 or indices.shape[1] != 1:
            raise WeightsError("only channels are picked")
        self.constants[node.input[1]] = indices[:, 0]
        try:
            return self.op_gather(node, {"axis": 0})
        finally:
            self.constants[node.input[1]] = indices

    def op_expand(self, node: Any, a: dict[str, Any]) -> Value:
        x, shape = self.value(node), self.needed(node, 1).tolist()
        shape = [1] * (4 - len(shape)) + shape
        own = self.shape_of(x).tolist()
        if len(shape) > 4 or any(n not in (1, o) for n, o in zip(shape[2:], own[2:], strict=True)):
            raise WeightsError("a map is made larger by repeating it")
        return self.builder.repeat(x, shape[1]) if x.channels == 1 and shape[1] > 1 else x

    def op_tile(self, node: Any, a: dict[str, Any]) -> Value:
        x, repeats = self.value(node), self.needed(node, 1).tolist()
        if len(repeats) != 4 or repeats[0] != 1 or repeats[2:] != [1, 1] or repeats[1] < 1:
            raise WeightsError("a map is made larger by repeating it")
        if repeats[1] > MOST_CHANNELS:
            raise WeightsError(f"a map repeated {repeats[1]} times")
        return self.builder.pick(x, list(range(x.channels)) * repeats[1])

    def op_reducemean(self, node: Any, a: dict[str, Any]) -> Value:
        x, axes = self.value(node), self.given(node, 1, a, "axes")
        if axes is None or {int(n) % 4 for n in axes} != {1} or not a.get("keepdims", 1):
            raise WeightsError(WHOLE)
        factor = 1 / x.channels if node.op_type == "ReduceMean" else 1.0
        return self.builder.conv(x, np.full((1, x.channels, 1, 1), factor, np.float32))

    op_reducesum = op_reducemean

    def op_depthtospace(self, node: Any, a: dict[str, Any]) -> Value:
        x, ratio = self.value(node), a["blocksize"]
        if not 0 < ratio <= MOST_RATIO or x.channels % ratio**2:
            raise WeightsError(f"{x.channels} channels are no pixels of {ratio} x {ratio}")
        if a.get("mode", b"DCR") != b"CRD":
            # Channels are (dy, dx, c) there.
            order = np.arange(x.channels).reshape(ratio**2, -1).T.ravel()
            x = self.builder.pick(x, order.tolist())
        return self.builder.shuffle(x, ratio)

    def op_spacetodepth(self, node: Any, a: dict[str, Any]) -> Value:
        return self.builder.unshuffle(self.value(node), a["blocksize"], "yxc")

    def op_resize(self, node: Any, a: dict[str, Any]) -> Value:
        x, mode = self.value(node), a.get("mode", b"nearest").decode()
        ratio = self._ratio(x, node, a)
        if not 1 / MOST_RATIO <= ratio <= MOST_RATIO:
            raise WeightsError(f"a factor of enlargement of {ratio:g}")
        if ratio == 1:
            return x
        whole = round(ratio if ratio > 1 else 1 / ratio)
        if abs((whole if ratio > 1 else 1 / whole) - ratio) > 1e-6:
            raise WeightsError(f"only whole factors of enlargement are read, found {ratio:g}")
        way = a.get("coordinate_transformation_mode", b"half_pixel").decode()
        if node.op_type == "Upsample":
            way = "asymmetric"
        if mode == "nearest":
            rounding = a.get("nearest_mode", b"round_prefer_floor").decode()
            if node.op_type == "Upsample":
                rounding = "floor"
            return self._nearest(x, whole, ratio > 1, way, rounding)
        if way == "align_corners":
            raise WeightsError(
                "interpolation with align_corners depends on the image's size; use "
                "align_corners=False"
            )
        if mode == "linear" and way in ("half_pixel", "pytorch_half_pixel"):
            if a.get("antialias") and ratio < 1:
                raise WeightsError("reduction with antialiasing")
            return self.builder.linear(x, whole) if ratio > 1 else self.builder.halfway(x, whole)
        raise WeightsError(
            f"{mode} interpolation ({way}): {EDGES}; nearest, linear (half_pixel) and transposed "
            "convolutions are read"
        )

    op_upsample = op_resize

    def _ratio(self, x: Value, node: Any, a: dict[str, Any]) -> float:
        """Factor of enlargement, the same for rows and columns."""
        old = node.op_type == "Upsample" or len(node.input) == 2
        scales = self.given(node, 1 if old else 2, a, "scales")
        if scales is None or not scales.size:
            sizes = self.needed(node, 3)
            own = self.shape_of(x)[-len(sizes) :]
            scales = sizes / own
        if len(scales) not in (2, 4) or (scales[:-2] != 1).any():
            raise WeightsError(f"factors of enlargement {scales.tolist()}")
        return float(same(scales[-2:].tolist()))

    def _nearest(self, x: Value, ratio: int, enlarges: bool, way: str, rounding: str) -> Value:
        """Pixels that are repeated, or the first pixel of each cell."""
        places = np.arange(4 * ratio, 8 * ratio)
        taken = _rounded(_taken(places, ratio if enlarges else 1 / ratio, way), rounding)
        wanted = places // ratio if enlarges else places * ratio
        offsets = set((taken - wanted).tolist())
        if enlarges and offsets == {0}:
            return self.builder.nearest(x, ratio)
        if not enlarges and len(offsets) == 1 and 0 <= min(offsets) < ratio:
            return self.builder.thinned(x, ratio, int(min(offsets)))
        raise WeightsError("only whole pixels that are repeated are read")

    def op_reshape(self, node: Any, a: dict[str, Any]) -> Value:
        x, shape = self.value(node), self.needed(node, 1).tolist()
        if node.input[0] in self.folds:
            made = self._folded(x, *self.folds[node.input[0]])
            if any(n not in (-1, o) for n, o in zip(shape, self.shape_of(made), strict=True)):
                raise WeightsError(REASONS["Reshape"])
            return made
        own = self.shape_of(x).tolist()
        shape = [own[i] if n == 0 else n for i, n in enumerate(shape)]
        if -1 in shape:
            known = -int(np.prod(shape))
            shape[shape.index(-1)] = int(np.prod(own)) // max(1, known)
        if shape == own:
            return x
        if len(shape) not in (5, 6) or np.prod(shape) != np.prod(own):
            raise WeightsError(REASONS["Reshape"])
        self.folds[node.output[0]] = tuple(shape), ()
        return x

    def op_transpose(self, node: Any, a: dict[str, Any]) -> Value:
        if node.input[0] not in self.folds:
            return self._turned(node, a["perm"])
        if self.folds[node.input[0]][1]:
            raise WeightsError(REASONS["Reshape"])
        self.folds[node.output[0]] = self.folds[node.input[0]][0], tuple(a["perm"])
        return self.value(node)

    def _turned(self, node: Any, order: list[int]) -> Value:
        """The same value with its axes in another order, until they are turned back."""
        axes = self.turned.get(node.input[0], PLAIN_AXES)
        if sorted(order) != list(PLAIN_AXES):
            raise WeightsError(REASONS["Transpose"])
        made = tuple(axes[i] for i in order)
        if made != PLAIN_AXES:
            self.turned[node.output[0]] = made
        return self.value(node)

    def _folded(self, x: Value, shape: tuple[int, ...], order: tuple[int, ...]) -> Value:
        """Pixel-shuffle or the reverse, or an order of channels, as exporters write them."""
        rows, columns = self.shape_of(x)[2:].tolist()
        if len(shape) == 6 and shape[4:] == (rows, columns):
            n = shape[1:4]
            if order == (0, 1, 4, 2, 5, 3) and n[1] == n[2]:
                return self.builder.shuffle(x, n[1])
            if order == (0, 3, 4, 1, 5, 2) and n[0] == n[1]:
                ranks = np.arange(x.channels).reshape(n[0] ** 2, -1).T.ravel()
                return self.builder.shuffle(self.builder.pick(x, ranks.tolist()), n[0])
        if len(shape) == 6 and shape[1] == x.channels and shape[3] == shape[5]:
            ratio = shape[3]
            fits = (shape[2] * ratio, shape[4] * ratio) == (rows, columns)
            if fits and order in ((0, 1, 3, 5, 2, 4), (0, 3, 5, 1, 2, 4)):
                return self.builder.unshuffle(x, ratio, "cyx" if order[1] == 1 else "yxc")
        if len(shape) == 5 and shape[3:] == (rows, columns) and order == (0, 2, 1, 3, 4):
            ranks = np.arange(x.channels).reshape(shape[1], shape[2]).T.ravel()
            return self.builder.pick(x, ranks.tolist())
        raise WeightsError(REASONS["Reshape"])


def _conv_pads(weight: Array, a: dict[str, Any], stride: int, dilation: int) -> tuple[int, int]:
    """Zeros above and below the map, which are those to its left and right as well."""
    kh, kw = weight.shape[2:]
    automatic = a.get("auto_pad", b"NOTSET").decode()
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        total = max(0, (max(kh, kw) - 1) * dilation + 1 - stride)
        small, large = total // 2, total - total // 2
        return (small, large) if automatic == "SAME_UPPER" else (large, small)
    pads = [0, 0, 0, 0] if automatic == "VALID" else a.get("pads", [0, 0, 0, 0])
    top, left, bottom, right = pads
    if kh != kw:  # such kernels are squared with zeros around them
        more = abs(kh - kw) // 2 * dilation
        if kh > kw:
            left, right = left + more, right + more
        else:
            top, bottom = top + more, bottom + more
    if (top, bottom) != (left, right):
        raise WeightsError(f"other zeros around rows than around columns: {pads}")
    return top, bottom


def _taken(places: Array, ratio: float, way: str) -> Array:
    """Where in the map a pixel of the resized one lies, as far as edges do not matter."""
    if way in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        return (places + 0.5) / ratio - 0.5
    if way == "asymmetric":
        return places / ratio
    raise WeightsError(f"the nearest pixel by {way}")


def _rounded(taken: Array, rounding: str) -> Array:
    return {
        "round_prefer_floor": np.ceil(taken - 0.5),
        "round_prefer_ceil": np.floor(taken + 0.5),
        "floor": np.floor(taken),
        "ceil": np.ceil(taken),
    }[rounding]
