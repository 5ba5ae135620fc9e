"""Whether the kernels work on a GPU at all: a block and a convolution by them, and by torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unetmm.engine.torch.kernels.launch import (
    convolve,
    depthwise_band,
    gated_depthwise,
    pointwise,
    product,
)
from unetmm.engine.torch.kernels.tiles import Fusing
from unetmm.nets.constants import LAYER_NORM_EPS

CHANNELS, ROWS, COLUMNS = 16, 5, 75
"""Size of the map, which takes two tiles side by side."""
ALLOWED = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""Largest difference of numbers whose spread is about 1."""

Half = tuple[Tensor, ...]


def refusal(device: str, dtype: torch.dtype, fusing: Fusing) -> str | None:
    """Reason why the kernels cannot be used on a device, one line; None: they can."""
    try:
        with torch.no_grad():
            worst = _worst(torch.device(device), dtype, fusing)
    except Exception as error:  # of a compiler, a driver, a missing tool: torch does without them
        return (str(error).strip().splitlines() or [""])[0] or type(error).__name__
    if not worst <= ALLOWED[dtype]:  # NaN as well
        return f"a test differs by {worst:.1e} from torch's operations"
    return None


def _worst(device: torch.device, dtype: torch.dtype, fusing: Fusing) -> float:
    """Largest difference of both ways to compute a block from torch's operations."""
    c, random = CHANNELS, torch.Generator().manual_seed(1)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(device, dtype)

    x = some(c, ROWS + 1, COLUMNS)
    root = c**-0.5
    beginning = some(2 * c, c) * root, some(2 * c), some(2 * c, 9) / 3, some(2 * c)
    second = some(2 * c, c) * root, some(2 * c), some(c, c) * root / 4, some(c)
    first = *beginning, some(c, c) * root / 4, some(c)
    expected = _plain(x[:, :ROWS].float(), first, second)
    ways = [_by_operation(x, first, second)]
    if fusing.halves(c) is not None:
        ways.append(_by_half(x, first, second, fusing))
    differences = [(way.float() - expected).abs().max() for way in ways]
    taps, made = some(c, 3, 3 * c) * root / 3, torch.empty_like(x[:, 2:])
    convolve(x, taps, None, made, dtype, taps=3, pad=1)
    differences.append((made.float() - _convolved(x.float(), taps.float())).abs().max())
    return float(torch.stack(differences).max())


def _convolved(x: Tensor, taps: Tensor) -> Tensor:
    """A 3x3 convolution, its rows not padded."""
    c, rows, width = len(x), x.shape[1] - 2, x.shape[2]
    padded, cells = F.pad(x, (1, 1)), taps.view(c, 3, 3, c)
    return sum(  # type: ignore[return-value]
        (cells[:, i, j, :, None, None] * padded[None, :, i : i + rows, j : j + width]).sum(1)
        for i in range(3)
        for j in range(3)
    )


def _plain(x: Tensor, first: Half, second: Half) -> Tensor:
    """The block in float32."""
    w1, b1, taps, b2, w3, b3, w4, b4, w5, b5 = (w.float() for w in (*first, *second))
    c = len(x)

    def normalised(maps: Tensor) -> Tensor:
        return F.layer_norm(maps.movedim(0, 2), (c,), eps=LAYER_NORM_EPS).movedim(2, 0)

    def one(w: Tensor, b: Tensor, maps: Tensor) -> Tensor:
        return (w[:, :, None, None] * maps[None]).sum(1) + b[:, None, None]

    hidden = F.pad(one(w1, b1, normalised(x)), (1, 1, 1, 1))
    made = b2[:, None, None] + sum(
        taps[:, 3 * i + j, None, None] * hidden[:, i : i + x.shape[1], j : j + x.shape[2]]
        for i in range(3)
        for j in range(3)
    )
    x = x + one(w3, b3, made[:c] * made[c:])
    a, b = one(w4, b4, normalised(x)).chunk(2)
    return x + one(w5, b5, a * b)


def _by_half(x: Tensor, first: Half, second: Half, fusing: Fusing) -> Tensor:
    tiles = fusing.halves(len(x))
    assert tiles is not None, "asked for where there are such kernels"
    c, rows, width = x.shape
    cut = fusing.cut(tiles[0], c, rows, width)
    made, scratch = torch.empty_like(x), x.new_empty(cut.scratch)
    depthwise_band(x, x[:, :2].clone(), made, scratch, first, -2, rows - 1, tiles[0], cut)
    out = made[:, 1:].contiguous()  # the first row that is made lies above the map
    pointwise(out.flatten(1), out.flatten(1), second, tiles[1], fusing.programs(tiles[1]))
    return out


def _by_operation(x: Tensor, first: Half, second: Half) -> Tensor:
    w1, b1, taps, b2, w3, b3 = first
    c, rows, width = x.shape
    padded = torch.cat((x[:, :1], x), 1)  # rows outside the map at both ends
    hidden = x.new_empty((2 * c, rows + 1, width))
    product(w1, b1, padded.flatten(1), hidden.flatten(1), norm=True, rows=(-1, rows - 1, width))
    out = x[:, : rows - 1].clone()
    gated = torch.empty_like(out)
    gated_depthwise(hidden, taps, b2, gated)
    product(w3, b3, gated.flatten(1), out.flatten(1), base=out.flatten(1))
    w4, b4, w5, b5 = second
    product(w4, b4, out.flatten(1), gated.flatten(1), norm=True, gate=True)
    product(w5, b5, gated.flatten(1), out.flatten(1), base=out.flatten(1))
    return out
