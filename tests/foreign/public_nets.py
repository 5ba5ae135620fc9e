"""Nets by the names of public code, small and with random weights: tensors and what they compute.

Written from the papers and the names in published checkpoints, as functions of the tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

LEVEL = 25 / 255


@dataclass
class Net:
    """A state dictionary that grows while its names are asked for, and a forward pass."""

    run: Callable[[Net, Tensor], Tensor]
    channels: int
    noise: float | None = None
    scale: int | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    padding: int = 1
    """Sides are multiples of it, or its code continues them itself."""
    border: int = 0
    """Pixels of the image at its edges where the two differ for a reason."""

    def __call__(self, image: Tensor) -> Tensor:
        torch.manual_seed(len(self.tensors))
        with torch.no_grad():
            return self.run(self, image)

    def get(self, name: str, *shape: int, positive: bool = False) -> Tensor:
        if name not in self.tensors:
            values = torch.randn(shape) * 0.5 / max(1, torch.Size(shape[1:]).numel()) ** 0.5
            self.tensors[name] = values.abs() + 0.5 if positive else values
        return self.tensors[name]

    def conv(
        self, x: Tensor, name: str, n: int, k: int = 3, bias: bool = True, **how: int
    ) -> Tensor:
        weight = self.get(f"{name}.weight", n, x.shape[1], k, k)
        b = self.get(f"{name}.bias", n) if bias else None
        pad = how.pop("padding", k // 2 * how.get("dilation", 1))
        return F.conv2d(x, weight, b, padding=pad, **how)

    def norm(self, x: Tensor, name: str, eps: float = 1e-5) -> Tensor:
        c = x.shape[1]
        mean = self.get(f"{name}.running_mean", c)
        var = self.get(f"{name}.running_var", c, positive=True)
        weight, bias = self.get(f"{name}.weight", c), self.get(f"{name}.bias", c)
        self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)


def dncnn(net: Net, image: Tensor) -> Tensor:
    x = F.relu(net.conv(image, "model.0", 8))
    for i in (2, 5):
        x = F.relu(net.norm(net.conv(x, f"model.{i}", 8), f"model.{i + 1}", 1e-4))
    return image - net.conv(x, "model.8", image.shape[1])


def ircnn(net: Net, image: Tensor) -> Tensor:
    x = image
    for i, dilation in enumerate((1, 2, 3, 4, 3, 2, 1)):
        last = i == 6
        x = net.conv(x, f"model.{2 * i}", image.shape[1] if last else 8, dilation=dilation)
        x = x if last else F.relu(x)
    return image - x


def fdncnn(net: Net, image: Tensor) -> Tensor:
    x = torch.cat((image, torch.full_like(image[:, :1], LEVEL)), 1)
    x = F.relu(net.conv(x, "model.0", 8))
    return net.conv(F.relu(net.conv(x, "model.2", 8)), "model.4", image.shape[1])


def ffdnet(net: Net, image: Tensor) -> Tensor:
    h, w = image.shape[2:]
    x = F.pixel_unshuffle(F.pad(image, (0, w % 2, 0, h % 2), "replicate"), 2)
    x = torch.cat((x, torch.full_like(x[:, :1], LEVEL)), 1)
    x = F.relu(net.conv(x, "model.0", 8))
    x = net.conv(F.relu(net.conv(x, "model.2", 8)), "model.4", 4 * image.shape[1])
    return F.pixel_shuffle(x, 2)[..., :h, :w]


def drunet(net: Net, image: Tensor) -> Tensor:
    widths = (4, 6, 8, 10)

    def blocks(x: Tensor, name: str, first: int) -> Tensor:
        for i in (first, first + 1):
            hidden = F.relu(net.conv(x, f"{name}.{i}.res.0", x.shape[1], bias=False))
            x = x + net.conv(hidden, f"{name}.{i}.res.2", x.shape[1], bias=False)
        return x

    x = torch.cat((image, torch.full_like(image[:, :1], LEVEL)), 1)
    maps = [net.conv(x, "m_head", widths[0], bias=False)]
    for k in (1, 2, 3):
        x = blocks(maps[-1], f"m_down{k}", 0)
        maps.append(net.conv(x, f"m_down{k}.2", widths[k], 2, bias=False, stride=2, padding=0))
    x = blocks(maps[3], "m_body", 0)
    for k in (3, 2, 1):
        weight = net.get(f"m_up{k}.0.weight", widths[k], widths[k - 1], 2, 2)
        x = blocks(F.conv_transpose2d(x + maps[k], weight, stride=2), f"m_up{k}", 1)
    return net.conv(x + maps[0], "m_tail", image.shape[1], bias=False)


def carn(net: Net, image: Tensor) -> Tensor:
    def shifted(x: Tensor, name: str, sign: int) -> Tensor:
        net.tensors[f"{name}.shifter.weight"] = torch.eye(3).view(3, 3, 1, 1)
        net.tensors[f"{name}.shifter.bias"] = sign * torch.tensor((0.45, 0.44, 0.4))
        return net.conv(x, f"{name}.shifter", 3, 1)

    def residual(x: Tensor, name: str) -> Tensor:
        hidden = F.relu(net.conv(x, f"{name}.body.0", 8))
        return F.relu(net.conv(hidden, f"{name}.body.2", 8) + x)

    def cascade(x: Tensor, prefix: str, block: Callable[[Tensor, str], Tensor]) -> Tensor:
        gathered = x
        for k in (1, 2, 3):
            gathered = torch.cat((gathered, block(x, f"{prefix}b{k}")), 1)
            x = F.relu(net.conv(gathered, f"{prefix}c{k}.body.0", 8, 1))
        return x

    x = net.conv(shifted(image, "sub_mean", -1), "entry", 8)
    x = cascade(x, "", lambda y, name: cascade(y, f"{name}.", residual))
    for factor, ups in ((2, 1), (3, 1), (4, 2)):  # a file for several factors has all of them
        made = x
        for i in range(ups):
            step = 3 if factor == 3 else 2
            made = F.relu(net.conv(made, f"upsample.up{factor}.body.{3 * i}", 8 * step**2))
            made = F.pixel_shuffle(made, step)
        if factor == net.scale:
            found = made
    return shifted(net.conv(found, "exit", 3), "add_mean", 1)


def span(net: Net, image: Tensor) -> Tensor:
    def three(x: Tensor, name: str) -> Tensor:
        c = 8
        ones = F.pad(x, (1, 1, 1, 1))
        y = net.conv(ones, f"{name}.conv.0", 2 * x.shape[1], 1)
        y = net.conv(net.conv(y, f"{name}.conv.1", 2 * c, 3, padding=0), f"{name}.conv.2", c, 1)
        # Its code restores with all of it as one 3x3, which sees other zeros at the image's edges.
        return y + net.conv(x, f"{name}.sk", c, 1)

    x = (image - torch.tensor((0.4488, 0.4371, 0.4040)).view(1, 3, 1, 1)) * 255
    first = x = three(x, "conv_1")
    outputs = []
    for k in range(1, 4):
        hidden = F.silu(three(x, f"block_{k}.c1_r"))
        third = three(F.silu(three(hidden, f"block_{k}.c2_r")), f"block_{k}.c3_r")
        x = (third + x) * (torch.sigmoid(third) - 0.5)
        outputs.append(x)
    joined = torch.cat((first, three(x, "conv_2"), outputs[0], hidden), 1)
    return F.pixel_shuffle(net.conv(net.conv(joined, "conv_cat", 8, 1), "upsampler.0", 12), 2)


def rrdb(net: Net, image: Tensor) -> Tensor:
    def dense(x: Tensor, name: str) -> Tensor:
        maps = [x]
        for k in (1, 2, 3, 4):
            made = net.conv(torch.cat(maps, 1), f"{name}.conv{k}", 4)
            maps.append(F.leaky_relu(made, 0.2))
        return x + 0.2 * net.conv(torch.cat(maps, 1), f"{name}.conv5", 8)

    folded = 4 // (net.scale or 4)
    x = first = net.conv(F.pixel_unshuffle(image, folded), "conv_first", 8)
    for i in range(2):
        start = x
        for k in (1, 2, 3):
            x = dense(x, f"body.{i}.rdb{k}")
        x = start + 0.2 * x
    x = first + net.conv(x, "conv_body", 8)
    for name in ("conv_up1", "conv_up2"):
        x = F.leaky_relu(net.conv(F.interpolate(x, scale_factor=2), name, 8), 0.2)
    return net.conv(F.leaky_relu(net.conv(x, "conv_hr", 8), 0.2), "conv_last", image.shape[1])


def compact(net: Net, image: Tensor) -> Tensor:
    x = image
    for i in (0, 2, 4):
        x = F.prelu(net.conv(x, f"body.{i}", 8), net.get(f"body.{i + 1}.weight", 8))
    x = F.pixel_shuffle(net.conv(x, "body.6", 27), 3)
    return x + F.interpolate(image, scale_factor=3)


def unet(net: Net, image: Tensor) -> Tensor:
    def double(x: Tensor, name: str, c: int) -> Tensor:
        for i in (0, 3):
            conv = net.conv(x, f"{name}.double_conv.{i}", c, bias=False)
            x = F.relu(net.norm(conv, f"{name}.double_conv.{i + 1}"))
        return x

    maps = [double(image, "inc", 4)]
    for k in (1, 2):
        maps.append(double(F.max_pool2d(maps[-1], 2), f"down{k}.maxpool_conv.1", 4 << k))
    x = maps.pop()
    for k in (1, 2):
        c = x.shape[1]
        weight, bias = (
            net.get(f"up{k}.up.weight", c, c // 2, 2, 2),
            net.get(f"up{k}.up.bias", c // 2),
        )
        x = F.conv_transpose2d(x, weight, bias, stride=2)
        x = double(torch.cat((maps.pop(), x), 1), f"up{k}.conv", c // 2)
    return net.conv(x, "outc.conv", image.shape[1], 1)


def msrresnet(net: Net, image: Tensor) -> Tensor:
    def leaky(x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.1)

    x = leaky(net.conv(image, "conv_first", 8))
    for i in range(2):
        x = x + net.conv(F.relu(net.conv(x, f"body.{i}.conv1", 8)), f"body.{i}.conv2", 8)
    factor, ups = (3, ("upconv1",)) if net.padding == 3 else (2, ("upconv1", "upconv2"))
    for name in ups:
        x = leaky(F.pixel_shuffle(net.conv(x, name, 8 * factor**2), factor))
    x = net.conv(leaky(net.conv(x, "conv_hr", 8)), "conv_last", 3)
    total = factor ** len(ups)
    return x + F.interpolate(image, scale_factor=total, mode="bilinear", align_corners=False)


def edsr(net: Net, image: Tensor, own: bool = True, features: int = 8) -> Tensor:
    mean = torch.tensor((0.4488, 0.4371, 0.4040))
    if own:
        for name, sign in (("sub_mean", -1), ("add_mean", 1)):
            net.tensors[f"{name}.weight"] = torch.eye(3).view(3, 3, 1, 1)
            net.tensors[f"{name}.bias"] = sign * 255 * mean
    head, after, ups, last = (
        ("head.0", "body.2", "tail.0", "tail.1") if own
        else ("conv_first", "conv_after_body", "upsample", "conv_last")
    )  # fmt: skip
    x = first = net.conv((image - mean.view(1, 3, 1, 1)) * 255, head, features)
    for i in range(2):
        names = (f"body.{i}.body.0", f"body.{i}.body.2")
        one, two = names if own else (f"body.{i}.conv1", f"body.{i}.conv2")
        made = net.conv(F.relu(net.conv(x, one, features)), two, features)
        x = x + made * (0.1 if features > 64 else 1)
    x = first + net.conv(x, after, features)
    for i in (0, 2):
        x = F.pixel_shuffle(net.conv(x, f"{ups}.{i}", 4 * features), 2)
    return net.conv(x, last, 3) / 255 + mean.view(1, 3, 1, 1)


def fsrcnn(net: Net, image: Tensor) -> Tensor:
    x = image
    for name, n, k in (("first_part.0", 8, 5), ("mid_part.0", 4, 1), ("mid_part.2", 4, 3)):
        part, i = name.split(".")
        slopes = net.get(f"{part}.{int(i) + 1}.weight", n)
        x = F.prelu(net.conv(x, name, n, k), slopes)
    weight, bias = net.get("last_part.weight", 4, 1, 9, 9), net.get("last_part.bias", 1)
    return F.conv_transpose2d(x, weight, bias, stride=3, padding=4, output_padding=2)


def espcn(net: Net, image: Tensor) -> Tensor:
    x = torch.tanh(net.conv(image, "first_part.0", 8, 5))
    x = torch.tanh(net.conv(x, "first_part.2", 4))
    return F.pixel_shuffle(net.conv(x, "last_part.0", 9), 3)


NETS: dict[str, Callable[[], Net]] = {
    "DnCNN": lambda: Net(dncnn, 1),
    "IRCNN": lambda: Net(ircnn, 3),
    "FDnCNN": lambda: Net(fdncnn, 3, noise=25),
    "FFDNet grey": lambda: Net(ffdnet, 1, noise=25),
    "FFDNet colour": lambda: Net(ffdnet, 3, noise=25),
    "DRUNet": lambda: Net(drunet, 3, noise=25, padding=8),
    "CARN x2": lambda: Net(carn, 3, scale=2),
    "CARN x3": lambda: Net(carn, 3, scale=3),
    "CARN x4": lambda: Net(carn, 3, scale=4),
    "SPAN": lambda: Net(span, 3, border=16),
    "RRDBNet x4": lambda: Net(rrdb, 3),
    "RRDBNet x2": lambda: Net(rrdb, 3, scale=2, padding=2),
    "SRVGGNetCompact": lambda: Net(compact, 3),
    "U-Net": lambda: Net(unet, 1, padding=4),
    "MSRResNet x4": lambda: Net(msrresnet, 3),
    "MSRResNet x3": lambda: Net(msrresnet, 3, padding=3),
    "EDSR": lambda: Net(edsr, 3),
    "EDSR of BasicSR": lambda: Net(lambda net, image: edsr(net, image, False, 66), 3),
    "FSRCNN": lambda: Net(fsrcnn, 1, scale=3),
    "ESPCN": lambda: Net(espcn, 1),
}
