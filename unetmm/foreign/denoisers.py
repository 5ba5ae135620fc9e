"""Public checkpoints of denoisers and U-Nets: tensors in, layers out."""

from __future__ import annotations

import re

import numpy as np

from unetmm.errors import WeightsError
from unetmm.foreign.builder import Value
from unetmm.foreign.reading import Reading, residual


def _sequence(reading: Reading, x: Value, prefix: str, dilations: tuple[int, ...] = ()) -> Value:
    """Convolutions in a row, batch normalisation and ReLU between them, none at the end."""
    places = reading.numbers(rf"{re.escape(prefix)}\.(\d+)\.weight")
    convolutions = [i for i in places if reading.tensors[f"{prefix}.{i}.weight"].ndim == 4]
    norms = set(places) - set(convolutions)
    steps = [b - a - (a + 1 in norms) for a, b in zip(convolutions, convolutions[1:], strict=False)]
    if any(step != 2 for step in steps):
        raise WeightsError("its convolutions do not have one ReLU between them each")
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
    reading.found += [
        f"recognised: {len(convolutions)} convolutions in a row",
        "assumed: ReLU between them, which the file does not tell",
    ]
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
    if taken == given + 1 and given % 4 == 0:
        raise WeightsError(
            f"its convolutions take {taken} channels and give {given}: an FFDNet of {given // 4} "
            f"bands or an FDnCNN of {given}, which the file does not tell; save it as ONNX"
        )
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
    reading.found.append("assumed: what it gives is the noise, which is taken off the image")
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
    is_told = channels > len(reading.tensors["m_tail.weight"])
    b, image = reading.begin(channels - is_told)
    x = image
    if is_told:
        level = b.constant(image, np.array([reading.told_noise("DRUNet")], np.float32))
        x = b.concat((image, level))
    skips = [reading.conv(x, "m_head")]
    for k in (1, 2, 3):
        x, blocks = skips[-1], reading.numbers(rf"m_down{k}\.(\d+)\.res\.0\.weight")
        for i in blocks:
            x = residual(reading, x, f"m_down{k}.{i}.res", (0, 2))
        skips.append(reading.conv(x, f"m_down{k}.{len(blocks)}", stride=2))
    x = skips[-1]
    for i in reading.numbers(r"m_body\.(\d+)\.res\.0\.weight"):
        x = residual(reading, x, f"m_body.{i}.res", (0, 2))
    for k in (3, 2, 1):
        up = reading.tensors[f"m_up{k}.0.weight"]
        bias = reading.tensors.get(f"m_up{k}.0.bias")
        x = b.transposed(b.add(x, skips[k]), up, bias, stride=2)
        for i in reading.numbers(rf"m_up{k}\.(\d+)\.res\.0\.weight"):
            x = residual(reading, x, f"m_up{k}.{i}.res", (0, 2))
    return reading.conv(b.add(x, skips[0]), "m_tail")


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
