"""What layouts of checkpoints share: tensors by their names, and layers that many nets have."""

from __future__ import annotations

import re
from collections.abc import Mapping
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

    def begin(self, channels: int, of_colours: bool = False) -> tuple[Builder, Value]:
        """A builder for images of so many channels, and the image.

        of_colours : whether its code has numbers for grey and colours only.
        """
        if channels < 1 or (of_colours and channels not in (1, 3)):
            raise WeightsError(
                f"it takes {channels} channels; 1 and 3 are read, as its code takes off a mean "
                "colour that the file does not hold: save it as ONNX"
            )
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


def residual(
    reading: Reading, x: Value, name: str, places: tuple[int, int], act: str = "", factor: float = 1
) -> Value:
    """x + convolution(ReLU(convolution(x))), and an activation."""
    hidden = reading.conv(x, f"{name}.{places[0]}", act="relu")
    made = reading.conv(hidden, f"{name}.{places[1]}")
    total = reading.builder.add(x, made, (1.0, factor))
    return reading.builder.activation(total, act) if act else total


def joined_norms(tensors: Tensors) -> dict[str, Array]:
    """Tensors whose weight normalisation is carried out: g * v / |v| is one weight."""
    made = dict(tensors)
    kinds = (
        (".weight_g", ".weight_v"),
        (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    )
    for g, v in kinds:
        for name in [n for n in tensors if n.endswith(g) and n.removesuffix(g) + v in tensors]:
            layer = name.removesuffix(g)
            length, direction = tensors[name], tensors[layer + v].astype(np.float64)
            norm = np.sqrt((direction**2).sum(tuple(range(1, direction.ndim)), keepdims=True))
            if length.shape != norm.shape or not norm.all():
                continue
            del made[name], made[layer + v]
            made[f"{layer}.weight"] = (length * direction / norm).astype(np.float32)
    return made
