"""Public checkpoints of nets that enlarge: tensors in, layers out."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Value
from unetmm.foreign.reading import Reading, residual

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of the images that most of these nets were trained on."""


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
    return lambda x, name: residual(reading, x, f"{name}.body", (0, 2), act="relu")


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
    b, image = reading.begin(t["conv_1.sk.weight"].shape[1], of_colours=True)
    count = len(reading.numbers(r"block_(\d+)\.c1_r\.sk\.weight"))
    mean = np.array(DIV2K_MEAN, np.float32)[: b.in_channels]
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


def _leaky(reading: Reading, x: Value, name: str, slope: float = 0.2) -> Value:
    return reading.builder.activation(reading.conv(x, name), "leaky", (slope,))


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


def msrresnet(reading: Reading) -> Value:
    """BasicSR's MSRResNet (SRResNet without normalisation, arXiv 1609.04802)."""
    t = reading.tensors
    b, image = reading.begin(t["conv_first.weight"].shape[1])
    x = _leaky(reading, image, "conv_first", 0.1)
    blocks = reading.numbers(r"body\.(\d+)\.conv1\.weight")
    for i in blocks:
        hidden = reading.conv(x, f"body.{i}.conv1", act="relu")
        x = b.add(x, reading.conv(hidden, f"body.{i}.conv2"))
    ratio = round((len(t["upconv1.weight"]) // x.channels) ** 0.5)
    ups = ["upconv1", "upconv2"] if "upconv2.weight" in t else ["upconv1"]
    for name in ups:
        x = b.shuffle(reading.conv(x, name), ratio)
        x = b.activation(x, "leaky", (0.1,))
    factor = ratio ** len(ups)
    x = reading.conv(_leaky(reading, x, "conv_hr", 0.1), "conv_last")
    reading.found.append(f"recognised: {len(blocks)} blocks, enlarges {factor} times")
    return b.add(x, b.linear(image, factor))


def edsr(reading: Reading) -> Value:
    """EDSR (arXiv 1707.02921) by the names of its own code."""
    first = len(reading.numbers(r"body\.(\d+)\.body\.0\.weight"))
    names = [(f"body.{i}.body.0", f"body.{i}.body.2") for i in range(first)]
    return _edsr(reading, "head.0", names, f"body.{first}", "tail.0", "tail.1")


def edsr_of_basicsr(reading: Reading) -> Value:
    """EDSR by the names of BasicSR."""
    count = len(reading.numbers(r"body\.(\d+)\.conv1\.weight"))
    names = [(f"body.{i}.conv1", f"body.{i}.conv2") for i in range(count)]
    return _edsr(reading, "conv_first", names, "conv_after_body", "upsample", "conv_last")


def _edsr(
    reading: Reading, head: str, blocks: list[tuple[str, str]], after: str, ups: str, last: str
) -> Value:
    b, image = reading.begin(reading.tensors[f"{head}.weight"].shape[1], of_colours=True)
    # Values of 0 to 255 with the mean colour taken off, as `sub_mean` and `add_mean` hold it.
    mean = np.array(DIV2K_MEAN, np.float32) if b.in_channels == 3 else np.zeros(1, np.float32)
    for name in ("sub_mean", "add_mean"):
        for kind in ("weight", "bias"):
            found = reading.tensors.get(f"{name}.{kind}")
            if name == "sub_mean" and kind == "bias" and found is not None:
                mean = (-found / 255).astype(np.float32)
    white = np.full(b.in_channels, 255, np.float32)
    x = first = reading.conv(b.affine(image, white, -255 * mean), head)
    factor = 0.1 if x.channels > 64 else 1.0
    for one, two in blocks:
        made = reading.conv(reading.conv(x, one, act="relu"), two)
        x = b.add(x, made, (1.0, factor))
    x = b.add(first, reading.conv(x, after))
    enlarged = 1
    for i in reading.numbers(rf"{re.escape(ups)}\.(\d+)\.weight"):
        x = reading.conv(x, f"{ups}.{i}")
        ratio = round((x.channels // first.channels) ** 0.5)
        x, enlarged = b.shuffle(x, ratio), enlarged * ratio
    reading.found += [
        f"recognised: {len(blocks)} blocks, enlarges {enlarged} times",
        "assumed: images in 0 to 1 times 255, the mean colour taken off",
        f"assumed: blocks are added with the factor {factor:g}, as those of {first.channels} "
        "channels are",
    ]
    return b.affine(reading.conv(x, last), (1 / white).astype(np.float32), mean)


def fsrcnn(reading: Reading) -> Value:
    """FSRCNN (arXiv 1608.00367): PReLU between convolutions, a transposed one at the end."""
    t = reading.tensors
    b, x = reading.begin(t["first_part.0.weight"].shape[1])
    for part in ("first_part", "mid_part"):
        for i in reading.numbers(rf"{part}\.(\d+)\.weight"):
            weight = t[f"{part}.{i}.weight"]
            if weight.ndim == 4:
                x = reading.conv(x, f"{part}.{i}")
            else:
                x = b.activation(x, "prelu", slopes=weight)
    if reading.scale is None:
        raise WeightsError("its weights do not tell by which factor it enlarges: give --scale")
    reading.found.append(f"told: it enlarges {reading.scale} times")
    weight, bias, scale = t["last_part.weight"], t["last_part.bias"], reading.scale
    pad = weight.shape[2] // 2
    return b.transposed(x, weight, bias, stride=scale, pad=pad, output_pad=scale - 1)


def espcn(reading: Reading) -> Value:
    """ESPCN (arXiv 1609.05158): convolutions with tanh, and pixel-shuffle."""
    b, x = reading.begin(reading.tensors["first_part.0.weight"].shape[1])
    for i in reading.numbers(r"first_part\.(\d+)\.weight"):
        x = reading.conv(x, f"first_part.{i}", act="tanh")
    x = reading.conv(x, "last_part.0")
    reading.found.append("assumed: tanh after each convolution but the last")
    return b.shuffle(x, round((x.channels // b.in_channels) ** 0.5))
