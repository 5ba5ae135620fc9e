"""Public checkpoints: tensors in, layers out. The layout is recognised by the tensors' names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Builder, Value

Array = NDArray[np.float32]
Tensors = Mapping[str, Array]


@dataclass
class Reading:
    """A checkpoint that is being read: its tensors, what was asked, and what was found."""

    tensors: Tensors
    noise: float | None = None
    """Level of noise that a net is to be told, in counts of 255; None: none was given."""
    scale: int | None = None
    """Factor of enlargement where a checkpoint has several; None: the only one."""
    found: list[str] = field(default_factory=list)
    """Lines on what was recognised, folded, frozen or assumed."""
    layout: str = ""
    """Name of what it is, where the table's name is that of a family."""
    builder: Builder = field(default_factory=lambda: Builder(1))

    def begin(self, channels: int) -> tuple[Builder, Value]:
        """A builder for images of so many channels, and the image."""
        if channels not in (1, 3):
            raise WeightsError(f"it takes {channels} channels; 1 and 3 are read")
        self.builder = Builder(channels)
        return self.builder, self.builder.image

    def told_noise(self, name: str) -> float:
        """The level of noise, as a net wants it."""
        if self.noise is None:
            raise WeightsError(
                f"{name} has to be told how strong the noise is: give --noise, its standard "
                "deviation in counts of 255 (unetmm info IMAGE estimates it)"
            )
        self.found.append(f"frozen: noise of {self.noise:g} counts of 255")
        return self.noise / 255

    def conv(self, x: Value, name: str, *, act: str = "", dilation: int = 1, **how: int) -> Value:
        """The convolution of that name; act : "relu", or another activation without numbers."""
        weight, stride = self.tensors[f"{name}.weight"], how.get("stride", 1)
        if stride == 1 and (weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0):
            raise WeightsError(f"{name} is a convolution of {weight.shape[2]} x {weight.shape[3]}")
        groups = x.channels // weight.shape[1] if weight.shape[1] else 1
        bias = self.tensors.get(f"{name}.bias")
        b = self.builder
        made = b.conv(
            x, weight, bias, stride=stride, pads=None if stride == 1 else (0, 0),
            dilation=dilation, groups=groups,
        )  # fmt: skip
        return b.activation(made, act) if act else made

    def norm(self, x: Value, name: str, eps: float = 1e-5) -> Value:
        """Batch normalisation by what training counted; eps is added to the variances."""
        t = self.tensors
        root = np.sqrt(t[f"{name}.running_var"].astype(np.float64) + eps)
        factors = t[f"{name}.weight"] / root
        shifts = t[f"{name}.bias"] - t[f"{name}.running_mean"] * factors
        return self.builder.affine(x, factors.astype(np.float32), shifts.astype(np.float32))

    def numbers(self, pattern: str) -> list[int]:
        """The numbers that stand in names of tensors, in order."""
        found = (re.fullmatch(pattern, name) for name in self.tensors)
        return sorted({int(m[1]) for m in found if m})


class Used(dict[str, Array]):
    """Tensors that remember which of them were asked for."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def left(self) -> list[str]:
        """Those that nobody asked for, but for what only training needs, or other factors."""
        needless = re.compile(r".*\.num_batches_tracked|.*\.eval_conv\..*|upsample\.up\d\..*")
        return sorted(n for n in self if n not in self.names and not needless.fullmatch(n))


Layout = tuple[str, Callable[[Tensors], bool], Callable[[Reading], Value]]
"""Name of a layout, whether tensors are of it, and what makes the net of them."""


def _has(*names: str) -> Callable[[Tensors], bool]:
    return lambda tensors: all(name in tensors for name in names)


def _sequence(reading: Reading, x: Value, prefix: str, dilations: tuple[int, ...] = ()) -> Value:
    """Convolutions in a row, batch normalisation and ReLU between them, none at the end."""
    places = reading.numbers(rf"{re.escape(prefix)}\.(\d+)\.weight")
    convolutions = [i for i in places if reading.tensors[f"{prefix}.{i}.weight"].ndim == 4]
    norms = set(places) - set(convolutions)
    for k, i in enumerate(convolutions):
        x = reading.conv(x, f"{prefix}.{i}", dilation=dilations[k] if dilations else 1)
        if i + 1 in norms:
            x = reading.norm(x, f"{prefix}.{i + 1}", 1e-4 if prefix == "model" else 1e-5)
        if i != convolutions[-1]:
            x = reading.builder.activation(x, "relu")
    if norms:
        reading.found.append(f"folded: batch normalisation of {len(norms)} layers")
        if prefix == "model":
            reading.found.append("assumed: 1e-4 added to their variances, as its code does")
    reading.found.append(f"recognised: {len(convolutions)} convolutions in a row")
    return x


IRCNN_DILATIONS = (1, 2, 3, 4, 3, 2, 1)


def dncnn(reading: Reading, prefix: str = "model") -> Value:
    """DnCNN (arXiv 1608.03981), FDnCNN, IRCNN (arXiv 1704.03264) and FFDNet (arXiv 1710.04026).

    Which of them is told by the channels that the first and the last convolution have.
    """
    places = reading.numbers(rf"{prefix}\.(\d+)\.weight")
    shapes = [reading.tensors[f"{prefix}.{i}.weight"].shape for i in places]
    shapes = [shape for shape in shapes if len(shape) == 4]
    taken, given = shapes[0][1], shapes[-1][0]
    if given in (4, 12) and taken == given + 1:
        return _ffdnet(reading, prefix, given // 4)
    if taken == given + 1:
        reading.layout = "FDnCNN"
        b, image = reading.begin(given)
        level = b.constant(image, np.array([reading.told_noise("FDnCNN")], np.float32))
        return _sequence(reading, b.concat((image, level)), prefix)
    if taken != given:
        raise WeightsError(f"its convolutions in a row take {taken} channels and give {given}")
    b, image = reading.begin(given)
    is_ircnn = len(shapes) == len(IRCNN_DILATIONS)
    if is_ircnn:
        reading.layout = "IRCNN"
        reading.found.append(
            "assumed: IRCNN, as it has seven convolutions; their dilation is 1 to 4"
        )
    noise = _sequence(reading, image, prefix, IRCNN_DILATIONS if is_ircnn else ())
    reading.found.append("recognised: what it gives is the noise, which is taken off the image")
    return b.add(image, noise, (1.0, -1.0), last=True)


def _ffdnet(reading: Reading, prefix: str, channels: int) -> Value:
    reading.layout = "FFDNet"
    b, image = reading.begin(channels)
    level = np.array([reading.told_noise("FFDNet")], np.float32)
    x = b.unshuffle(image, 2)
    x = b.concat((x, b.constant(x, level)))
    return b.shuffle(_sequence(reading, x, prefix), 2)


def drunet(reading: Reading) -> Value:
    """DRUNet (arXiv 2008.13751): a U-Net of residual blocks, skips added, told the noise."""
    channels = reading.tensors["m_head.weight"].shape[1]
    is_told = channels in (2, 4)
    b, image = reading.begin(channels - is_told)
    x = image
    if is_told:
        level = b.constant(image, np.array([reading.told_noise("DRUNet")], np.float32))
        x = b.concat((image, level))
    skips = [reading.conv(x, "m_head")]
    for k in (1, 2, 3):
        x, blocks = skips[-1], reading.numbers(rf"m_down{k}\.(\d+)\.res\.0\.weight")
        for i in blocks:
            x = _residual(reading, x, f"m_down{k}.{i}.res", (0, 2))
        skips.append(reading.conv(x, f"m_down{k}.{len(blocks)}", stride=2))
    x = skips[-1]
    for i in reading.numbers(r"m_body\.(\d+)\.res\.0\.weight"):
        x = _residual(reading, x, f"m_body.{i}.res", (0, 2))
    for k in (3, 2, 1):
        up = reading.tensors[f"m_up{k}.0.weight"]
        bias = reading.tensors.get(f"m_up{k}.0.bias")
        x = b.transposed(b.add(x, skips[k]), up, bias, stride=2)
        for i in reading.numbers(rf"m_up{k}\.(\d+)\.res\.0\.weight"):
            x = _residual(reading, x, f"m_up{k}.{i}.res", (0, 2))
    return reading.conv(b.add(x, skips[0]), "m_tail")


def _residual(
    reading: Reading, x: Value, name: str, places: tuple[int, int], act: str = "", factor: float = 1
) -> Value:
    """x + convolution(ReLU(convolution(x))), and an activation."""
    hidden = reading.conv(x, f"{name}.{places[0]}", act="relu")
    made = reading.conv(hidden, f"{name}.{places[1]}")
    total = reading.builder.add(x, made, (1.0, factor))
    return reading.builder.activation(total, act) if act else total


def carn(reading: Reading) -> Value:
    """CARN (arXiv 1803.08664): cascading residual blocks; one of its factors of enlargement."""
    b, x = reading.begin(3)
    if "b1.b1.body.4.weight" in reading.tensors:
        raise WeightsError("CARN-M, whose blocks are recursive, is not read; CARN is")
    x = reading.conv(_shifted(reading, x, "sub_mean"), "entry")
    x = _cascade(
        reading, x, "", lambda y, name: _cascade(reading, y, f"{name}.", _carn_block(reading))
    )
    factors = {
        s: f"upsample.up{s}.body"
        for s in (2, 3, 4)
        if f"upsample.up{s}.body.0.weight" in reading.tensors
    }
    if not factors:
        places = reading.numbers(r"upsample\.up\.body\.(\d+)\.weight")
        n, c = reading.tensors["upsample.up.body.0.weight"].shape[:2]
        factors = {3 if n == 9 * c else 2 ** len(places): "upsample.up.body"}
    scale = _chosen_scale(reading, sorted(factors))
    for i in reading.numbers(rf"{re.escape(factors[scale])}\.(\d+)\.weight"):
        x = reading.conv(x, f"{factors[scale]}.{i}", act="relu")
        x = b.shuffle(x, 3 if scale == 3 else 2)
    return _shifted(reading, reading.conv(x, "exit"), "add_mean")


def _chosen_scale(reading: Reading, known: list[int]) -> int:
    if reading.scale is None and len(known) > 1:
        raise WeightsError(f"it enlarges by {', '.join(map(str, known))}: give one as --scale")
    scale = known[0] if reading.scale is None else reading.scale
    if scale not in known:
        raise WeightsError(f"it enlarges by {', '.join(map(str, known))}, not by {scale}")
    reading.found.append(f"recognised: enlarges {scale} times")
    return scale


def _shifted(reading: Reading, x: Value, name: str) -> Value:
    """A mean colour taken off or put on."""
    return reading.conv(x, f"{name}.shifter") if f"{name}.shifter.weight" in reading.tensors else x


def _carn_block(reading: Reading) -> Callable[[Value, str], Value]:
    return lambda x, name: _residual(reading, x, f"{name}.body", (0, 2), act="relu")


def _cascade(
    reading: Reading, x: Value, prefix: str, block: Callable[[Value, str], Value]
) -> Value:
    """Three blocks, each followed by a 1x1 over all that came before."""
    gathered, made = [x], x
    for k in (1, 2, 3):
        gathered.append(block(made, f"{prefix}b{k}"))
        made = reading.conv(reading.builder.concat(gathered), f"{prefix}c{k}.body.0", act="relu")
    return made


def span(reading: Reading) -> Value:
    """SPAN (arXiv 2311.12770): attention by the features themselves, point by point."""
    t = reading.tensors
    b, image = reading.begin(t["conv_1.sk.weight"].shape[1])
    count = len(reading.numbers(r"block_(\d+)\.c1_r\.sk\.weight"))
    mean = np.array([0.4488, 0.4371, 0.4040], np.float32)[: b.in_channels]
    x = b.affine(image, np.full(b.in_channels, 255, np.float32), -255 * mean)
    reading.found.append("assumed: images in 0 to 1 times 255, DIV2K's mean colour taken off")
    first = x = _span_conv(reading, x, "conv_1")
    outputs: list[Value] = []
    for k in range(1, count + 1):
        hidden = b.activation(_span_conv(reading, x, f"block_{k}.c1_r"), "silu")
        third = b.activation(_span_conv(reading, hidden, f"block_{k}.c2_r"), "silu")
        third = _span_conv(reading, third, f"block_{k}.c3_r")
        attention = b.scaled(b.activation(third, "sigmoid"), 1.0, -0.5)
        x = b.multiply(b.add(third, x), attention)
        outputs.append(x)
    last = _span_conv(reading, x, "conv_2")
    joined = reading.conv(b.concat((first, last, outputs[0], hidden)), "conv_cat")
    ratio = round((len(t["upsampler.0.weight"]) // b.in_channels) ** 0.5)
    reading.found += [f"recognised: {count} blocks, enlarges {ratio} times"]
    reading.found += ["folded: each branch of three convolutions and a shortcut into one"]
    return b.shuffle(reading.conv(joined, "upsampler.0"), ratio)


def _span_conv(reading: Reading, x: Value, name: str) -> Value:
    """1x1, 3x3, 1x1 and a 1x1 beside them as one 3x3, as its code does when it restores."""

    def get(key: str) -> NDArray[np.float64]:
        return reading.tensors[f"{name}.{key}"].astype(np.float64)

    w1, w2, w3 = (get(f"conv.{i}.weight") for i in range(3))
    b1, b2, b3 = (get(f"conv.{i}.bias") for i in range(3))
    weight = np.einsum("om,mkyx,kc->ocyx", w3[..., 0, 0], w2, w1[..., 0, 0])
    weight[:, :, 1, 1] += get("sk.weight")[..., 0, 0]
    middle = np.einsum("mkyx,k->m", w2, b1) + b2
    bias = w3[..., 0, 0] @ middle + b3 + get("sk.bias")
    return reading.builder.conv(x, weight.astype(np.float32), bias.astype(np.float32))


def rrdb(reading: Reading) -> Value:
    """ESRGAN's and Real-ESRGAN's RRDBNet (arXiv 1809.00219, 2107.10833)."""
    t = reading.tensors
    taken = t["conv_first.weight"].shape[1]
    b, x = reading.begin(len(t["conv_last.weight"]))
    folded = round((taken / b.in_channels) ** 0.5)
    if folded > 1:
        x = b.unshuffle(x, folded)
    first = x = reading.conv(x, "conv_first")
    blocks = reading.numbers(r"body\.(\d+)\.rdb1\.conv1\.weight")
    for i in blocks:
        start = x
        for k in (1, 2, 3):
            x = _dense_block(reading, x, f"body.{i}.rdb{k}")
        x = b.add(start, x, (1.0, 0.2))
    x = b.add(first, reading.conv(x, "conv_body"))
    for name in ("conv_up1", "conv_up2", "conv_hr"):
        if name != "conv_hr":
            x = b.nearest(x, 2)
        x = _leaky(reading, x, name)
    reading.found.append(f"recognised: {len(blocks)} blocks, enlarges {4 // folded} times")
    return reading.conv(x, "conv_last")


def _leaky(reading: Reading, x: Value, name: str) -> Value:
    return reading.builder.activation(reading.conv(x, name), "leaky", (0.2,))


def _dense_block(reading: Reading, x: Value, name: str) -> Value:
    gathered = [x]
    for k in (1, 2, 3, 4):
        gathered.append(_leaky(reading, reading.builder.concat(gathered), f"{name}.conv{k}"))
    made = reading.conv(reading.builder.concat(gathered), f"{name}.conv5")
    return reading.builder.add(x, made, (1.0, 0.2))


def compact(reading: Reading) -> Value:
    """Real-ESRGAN's SRVGGNetCompact: convolutions with PReLU, the image added, enlarged plainly."""
    t = reading.tensors
    b, image = reading.begin(t["body.0.weight"].shape[1])
    places = reading.numbers(r"body\.(\d+)\.weight")
    x = image
    for i in places[:-1]:
        weight = t[f"body.{i}.weight"]
        if weight.ndim == 4:
            x = reading.conv(x, f"body.{i}")
        else:
            x = b.activation(x, "prelu", slopes=weight)
    x = reading.conv(x, f"body.{places[-1]}")
    ratio = round((x.channels // b.in_channels) ** 0.5)
    reading.found.append(f"recognised: {len(places)} layers in a row, enlarges {ratio} times")
    return b.add(b.shuffle(x, ratio), b.nearest(image, ratio))


def unet(reading: Reading) -> Value:
    """A U-Net by the names of the public Pytorch-UNet: batch normalisation, transposed ups."""
    t = reading.tensors
    b, x = reading.begin(t["inc.double_conv.0.weight"].shape[1])
    levels = len(reading.numbers(r"down(\d+)\.maxpool_conv\.1\.double_conv\.0\.weight"))
    if "up1.up.weight" not in t:
        raise WeightsError(
            "its ups are bilinear, which repeats the map's edges; only transposed ones are read"
        )
    skips = [_double(reading, x, "inc.double_conv")]
    for k in range(1, levels + 1):
        skips.append(_double(reading, b.pool(skips[-1]), f"down{k}.maxpool_conv.1.double_conv"))
    x = skips.pop()
    for k in range(1, levels + 1):
        x = b.transposed(x, t[f"up{k}.up.weight"], t[f"up{k}.up.bias"], stride=2)
        x = _double(reading, b.concat((skips.pop(), x)), f"up{k}.conv.double_conv")
    reading.found.append(f"recognised: {levels} levels; folded: batch normalisation")
    return reading.conv(x, "outc.conv")


def _double(reading: Reading, x: Value, name: str) -> Value:
    for i in (0, 3):
        x = reading.norm(reading.conv(x, f"{name}.{i}"), f"{name}.{i + 1}")
        x = reading.builder.activation(x, "relu")
    return x


LAYOUTS: tuple[Layout, ...] = (
    ("CARN", _has("entry.weight", "c1.body.0.weight", "exit.weight"), carn),
    ("SPAN", _has("conv_1.sk.weight", "conv_cat.weight", "upsampler.0.weight"), span),
    ("RRDBNet", _has("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight"), rrdb),
    ("DRUNet", _has("m_head.weight", "m_body.0.res.0.weight", "m_tail.weight"), drunet),
    ("U-Net", _has("inc.double_conv.0.weight", "outc.conv.weight"), unet),
    ("SRVGGNetCompact", _has("body.0.weight", "body.1.weight", "body.2.weight"), compact),
    ("DnCNN", _has("model.0.weight", "model.2.weight"), dncnn),
    ("DnCNN", _has("dncnn.0.weight", "dncnn.2.weight"), lambda reading: dncnn(reading, "dncnn")),
)
"""All layouts but NAFNet's, the ones of the clearest names first."""
