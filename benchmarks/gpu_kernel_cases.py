"""The fused kernels one by one: a map of the size that nets give them, and what is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from unetmm.engine.folding import fold_block
from unetmm.engine.torch.folded import DTYPES
from unetmm.engine.torch.kernels.backward import finished_backward, gate_backward
from unetmm.engine.torch.kernels.launch import depthwise_band, gated_depthwise, pointwise, product
from unetmm.engine.torch.kernels.tiles import Fusing, Kind, Measured, Tile
from unetmm.nets.blocks import NAFBlock

PIXELS, WARPS, ROWS, RESIDENT = (32, 64, 128), (4, 8), (4, 8, 16), (1, 2, 3, 4, 6)
"""Values that are tried of each field of a tile."""
Work = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """Size of the maps at a net's finest scale; each scale below has a quarter of the pixels."""

    rows: int
    width: int
    images: int
    """Images of a batch in training."""
    patch_px: int
    """Side of them."""


@dataclass(frozen=True)
class Case:
    """A kernel for maps of so many channels, in a precision."""

    kind: Kind | Literal["wide"]
    """Kind of the kernel; wide: one kernel an operation."""
    channels: int
    precision: str
    size: Size
    fusing: Fusing
    device: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.channels} {self.precision}"

    @property
    def tile(self) -> Tile | None:
        """Tile as the table has it; none for wide maps."""
        return None if self.kind == "wide" else self.fusing.tile(self.kind, self.channels)

    def measured(self, tile: Tile) -> Measured:
        """A tile that is to take its place."""
        assert self.kind != "wide", "wide maps have no tiles"
        return Measured(self.kind, self.fusing.item_bytes, self.channels, tile)

    @cached_property
    def block(self) -> NAFBlock:
        """Block whose residuals count."""
        torch.manual_seed(self.channels)
        block = NAFBlock(self.channels)
        nn.init.normal_(block.beta, 0, 0.1)
        nn.init.normal_(block.gamma, 0, 0.1)
        block.sca.frozen = torch.linspace(0.5, 1.5, self.channels)
        return block

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """Folded weights in the order of the kernels, in the maps' precision."""
        named = self.block.named_parameters()
        f = fold_block({f"b.{name}": weights.detach().numpy() for name, weights in named}, "b")
        third = f.third * np.linspace(0.5, 1.5, self.channels, dtype=np.float32)
        arrays = (
            f.first, f.first_bias, f.depthwise, f.depthwise_bias, third, f.third_bias,
            f.fourth, f.fourth_bias, f.fifth, f.fifth_bias,
        )  # fmt: skip
        dtype = torch.float32 if self.kind == "gradient" else DTYPES[self.precision]  # type: ignore[index]
        return tuple(torch.from_numpy(a).to(self.device, dtype).contiguous() for a in arrays)

    def map(self, rows: int, width: int) -> Tensor:
        torch.manual_seed(0)
        x = torch.randn((self.channels, rows, width)) + 0.3
        return x.to(self.device, DTYPES[self.precision])  # type: ignore[index]

    def work(self, tile: Tile | None) -> tuple[Work, int, int]:
        """(what is timed, pixels of its map, bytes that it has to move at least)."""
        if self.kind == "gradient":
            assert tile is not None
            return self._gradient(tile)
        finer = max(1, self.channels // 16)
        rows, width = max(2, self.size.rows // finer), max(2, self.size.width // finer)
        x = self.map(rows, width)
        pixels, least_bytes = rows * width, 2 * x.nbytes
        return self._forward(x, tile), pixels, least_bytes

    def _forward(self, x: Tensor, tile: Tile | None) -> Work:
        c, rows, width = x.shape
        first, second = self.weights[:6], self.weights[6:]
        above, out = torch.zeros_like(x[:, :2]), torch.empty_like(x)
        if self.kind == "depthwise":
            assert tile is not None
            cut = self.fusing.cut(tile, c, rows, width)
            scratch = x.new_empty(cut.scratch)
            return lambda: depthwise_band(x, above, out, scratch, first, -2, rows, tile, cut)
        if self.kind == "pointwise":
            assert tile is not None
            programs = self.fusing.programs(tile)
            return lambda: pointwise(x.flatten(1), out.flatten(1), second, tile, programs)
        padded = torch.cat((above[:, :1], x, above[:, :1]), 1).flatten(1)
        return lambda: by_operation(padded, x, self.weights, out)

    def _gradient(self, tile: Tile) -> tuple[Work, int, int]:
        finer, c, b = max(1, self.channels // 16), self.channels, self.size.images
        side, dtype = max(2, self.size.patch_px // finer), DTYPES[self.precision]  # type: ignore[index]
        x, given = (
            torch.randn((b, c, side, side), device=self.device).contiguous(
                memory_format=torch.channels_last
            )
            for _ in "xg"
        )
        gated = x.to(dtype)
        third = self.weights[4].repeat(b, 1, 1)
        last = third, *self.weights[5:]
        means = torch.ones((b, c), device=self.device)

        def work() -> None:
            _, of_gated, *_ = finished_backward(x, gated, last, given, dtype, self.fusing, tile)
            gate_backward(x, self.weights[:4], of_gated, means, dtype, self.fusing, tile)

        return work, b * side**2, 3 * x.nbytes + 2 * gated.nbytes

    def candidates(self, best: Callable[[], Tile]) -> Iterator[Tile]:
        """Tiles to try, field by field, each with the best of the fields before."""
        known = best()
        for pixels in PIXELS:
            for warps in WARPS:
                yield replace(known, pixels=pixels, warps=warps)
        if self.kind == "depthwise":
            known = best()
            yield from (replace(known, rows=rows) for rows in ROWS if rows != known.rows)
        known = best()
        yield from (replace(known, resident=n) for n in RESIDENT if n != known.resident)


def by_operation(padded: Tensor, x: Tensor, weights: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """A block as one kernel an operation; `padded` are its rows with one more at both ends."""
    w1, b1, taps, b2, w3, b3, w4, b4, w5, b5 = weights
    c, rows, width = x.shape
    hidden = x.new_empty((2 * c, rows + 2, width))
    product(w1, b1, padded, hidden.flatten(1), norm=True, rows=(-1, rows, width))
    gated = torch.empty_like(x)
    gated_depthwise(hidden, taps, b2, gated)
    flat_out, flat_gated = out.flatten(1), gated.flatten(1)
    product(w3, b3, flat_gated, flat_out, base=x.flatten(1))
    product(w4, b4, flat_out, flat_gated, norm=True, gate=True)
    product(w5, b5, flat_gated, flat_out, base=flat_out)
    return out


def difference(case: Case, rows: int, width: int) -> float:
    """Largest difference of a block from the reference in float32, as a share of its range."""
    x = case.map(rows, width)
    c, halves = case.channels, case.fusing.halves(case.channels)
    out, first, second = torch.empty_like(x), case.weights[:6], case.weights[6:]
    if halves is None or case.kind == "wide":
        padded = torch.cat((x[:, :1], x, x[:, :1]), 1).flatten(1)
        by_operation(padded, x, case.weights, out)
    else:
        cut = case.fusing.cut(halves[0], c, rows + 1, width)
        taken = torch.cat((x, torch.zeros_like(x[:, :1])), 1)  # the last row comes out one late
        made, scratch = torch.empty_like(taken), x.new_empty(cut.scratch)
        above = torch.zeros_like(x[:, :2])
        depthwise_band(taken, above, made, scratch, first, -2, rows, halves[0], cut)
        out = made[:, 1:].contiguous()
        pointwise(
            out.flatten(1), out.flatten(1), second, halves[1], case.fusing.programs(halves[1])
        )
    with torch.no_grad():
        expected = case.block(x.float().cpu()[None])[0]
    return float((out.float().cpu() - expected).abs().max() / (expected.max() - expected.min()))


def cases(precision: str, widths: list[int], size: Size, fusing: Fusing, device: str) -> list[Case]:
    """All kernels of all widths, the most frequent first."""
    found: list[Any] = []
    kinds: tuple[Kind | Literal["wide"], ...] = "depthwise", "pointwise", "gradient", "wide"
    for kind in kinds:
        for channels in widths:
            case = Case(kind, channels, precision, size, fusing, device)
            if case.tile is not None or kind == "wide":
                found.append(case)
    return found
