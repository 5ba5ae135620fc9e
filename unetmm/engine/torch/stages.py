"""One band of one map by torch operations, written where it belongs.

Maps are (channels, rows, columns), and `flat` sees some of their rows as a matrix of channels by
pixels. What a stage needs beside its maps it takes from the arena.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unetmm.engine.layout import Block, Ending, Guide, MaxPool, Pointwise, Product, Ring
from unetmm.engine.torch.folded import BlockWeights, FoldedNet, ProductWeights, TensorPool
from unetmm.engine.torch.footprint import joins_cells
from unetmm.nets.constants import LAYER_NORM_EPS
from unetmm.nets.layers import BORDERS, NetLayer


class Map:
    """A ring's rows on the device, the oldest first.

    The rows move up by a band before each step, so every row that a stage reads or writes has the
    same address in every step.
    """

    def __init__(self, ring: Ring, data: Tensor, height_px: int) -> None:
        self.data, self.band = data, ring.band
        self.first = -max(ring.reach, ring.lag)
        """Number of the oldest row."""
        self.height = height_px // ring.scale

    def advance(self) -> None:
        """Forget the oldest band. In parts of a band, which do not overlap."""
        kept = self.data.shape[1] - self.band
        for start in range(0, kept, self.band):
            count = min(self.band, kept - start)
            self.data.narrow(1, start, count).copy_(self.data.narrow(1, start + self.band, count))
        self.first += self.band

    def rows(self, start: int, count: int) -> Tensor:
        """(channels, count, columns) from row `start` on; zeros outside the image."""
        return self.data.narrow(1, start - self.first, count)

    def misses(self, start: int, count: int) -> bool:
        """Whether all of these rows are outside the image."""
        return start + count <= 0 or start >= self.height

    def clear_outside(self, start: int, count: int) -> None:
        """Make those of the rows zero that are outside the image."""
        above = min(max(0, -start), count)
        if above:
            self.rows(start, above).zero_()
        below = min(max(0, start + count - self.height), count)
        if below:
            self.rows(start + count - below, below).zero_()


@dataclass(frozen=True)
class Around:
    """What a convolution sees around a map, where that is not zeros."""

    border: str
    """Way in which it sees it, a name of BORDERS but the first."""
    first: int
    """Number of the first row that it reads."""
    height: int
    """Rows of the map."""

    def fill_columns(
        self, patch: Tensor, rows: Tensor, start: int, stop: int, step: int, shift: int
    ) -> None:
        """Columns of one tap that lie beside the map; from `start` to `stop` they do not."""
        width = rows.shape[2]
        for x in (*range(start), *range(stop, patch.shape[2])):
            patch[:, :, x].copy_(rows[:, :, self._inside(step * x + shift, width)])

    def fill_rows(self, patches: Tensor) -> None:
        """Rows that lie above and below the map."""
        for i in range(patches.shape[2]):
            row = self.first + i
            taken = self._inside(row, self.height) - self.first
            if taken != i and 0 <= taken < patches.shape[2]:
                patches[:, :, i].copy_(patches[:, :, taken])

    def _inside(self, place: int, length: int) -> int:
        if self.border == "reflect":
            place = abs(place)
            place = min(place, 2 * (length - 1) - place)
        return min(max(place, 0), length - 1)


def flat(rows: Tensor) -> Tensor:
    """(channels, rows, columns) -> (channels, pixels), the same memory."""
    return rows.view(rows.shape[0], -1)


def split_pixels(rows: Tensor, ratio: int) -> Tensor:
    """(c, n * ratio, w * ratio) -> (ratio, ratio, c, n, w), the same memory."""
    c, n, w = rows.shape
    cells = rows.view(c, n // ratio, ratio, w // ratio, ratio)
    return cells.permute(2, 4, 0, 1, 3)


class Stages:
    """Carries out the stages of one stream.

    Parameters
    ----------
    maps : of every ring, by its name.
    kept : the two rows of every block, by its name.
    arena, moments : scratch for one stage, in the maps' precision and in float32.
    frozen : from `FoldedNet.freeze`.
    """

    def __init__(
        self,
        net: FoldedNet,
        frozen: dict[str, Tensor],
        maps: dict[str, Map],
        kept: dict[str, Tensor],
        arena: TensorPool,
        moments: Tensor,
    ) -> None:
        self.net, self.frozen, self.maps, self.kept = net, frozen, maps, kept
        self.arena, self.moments = arena, moments
        self.eps = torch.full((), LAYER_NORM_EPS, device=net.device)

    def product(self, stage: Product, step: int) -> None:
        """A strided matrix product."""
        self.arena.end = 0
        source, target = self.maps[stage.source.name], self.maps[stage.target.name]
        count = target.band // stage.repeat
        j = step * count - stage.lag
        first, rows = j * stage.repeat, target.band
        if not target.misses(first, rows):
            read = stage.step * j - stage.pad
            taken = source.rows(read, stage.step * (count - 1) + stage.taps)
            around = None
            if stage.border != BORDERS[0]:
                around = Around(stage.border, read, source.height)
            self._multiplied(stage, taken, target.rows(first, rows), around)
        target.clear_outside(first, rows)

    def _multiplied(
        self, stage: Product, taken: Tensor, out: Tensor, around: Around | None
    ) -> None:
        """The rows `out` of a product by those that it reads."""
        weights = self.net.products[stage.name]
        if joins_cells(stage):
            self._one(weights, self._gathered(taken, stage.step), out, stage)
        else:
            self._square(weights, taken, out, stage, around)
        if stage.rectify:
            out.relu_()

    def pool(self, stage: MaxPool, step: int) -> None:
        """The largest value of each 2x2 pixels."""
        source, target = self.maps[stage.source.name], self.maps[stage.target.name]
        first, rows = step * target.band - stage.lag, target.band
        if not target.misses(first, rows):
            out = target.rows(first, rows)
            cells = split_pixels(source.rows(2 * first, 2 * rows), 2)
            torch.maximum(cells[0, 0], cells[0, 1], out=out)
            torch.maximum(out, cells[1, 0], out=out)
            torch.maximum(out, cells[1, 1], out=out)
        target.clear_outside(first, rows)

    def _gathered(self, rows: Tensor, ratio: int) -> Tensor:
        """(c, n * ratio, w * ratio) -> (ratio * ratio * c, n * w): pixels become channels."""
        if ratio == 1:
            return flat(rows)
        cells = split_pixels(rows, ratio)
        patches = self.arena.take(tuple(cells.shape))
        return patches.copy_(cells).view(-1, cells.shape[3] * cells.shape[4])

    def _one(self, weights: ProductWeights, x: Tensor, out: Tensor, stage: Product) -> None:
        """A product that reads each pixel once; with a repeat its outputs become pixels."""
        matrix = weights.matrix.flatten(1)  # outputs, taps * depth
        if stage.repeat == 1:
            _multiply(matrix, x, weights.bias, flat(out), stage.accumulate)
            return
        cells = split_pixels(out, stage.repeat)
        made = self.arena.take(tuple(cells.shape))
        _multiply(matrix, x, weights.bias, made.view(len(matrix), -1), False)
        if stage.accumulate:
            cells.add_(made)
        else:
            cells.copy_(made)

    def _square(
        self,
        weights: ProductWeights,
        rows: Tensor,
        out: Tensor,
        stage: Product,
        around: Around | None,
    ) -> None:
        """A square convolution; with a repeat its outputs become pixels."""
        if stage.repeat == 1:
            self._taps(weights, rows, flat(out), stage.step, stage.pad, stage.accumulate, around)
            return
        # The part for the result lies behind those that `_taps` takes.
        at, c, width = self.arena.end, len(rows), rows.shape[2] // stage.step
        self.arena.take((stage.taps, c, rows.shape[1], width))
        cells = split_pixels(out, stage.repeat)
        made = self.arena.take(tuple(cells.shape))
        self.arena.end = at
        flat_out = made.view(-1, cells.shape[3] * width)
        self._taps(weights, rows, flat_out, stage.step, stage.pad, around=around)
        if stage.accumulate:
            cells.add_(made)
        else:
            cells.copy_(made)

    def _taps(
        self,
        weights: ProductWeights,
        rows: Tensor,
        out: Tensor,
        step: int,
        pad: int,
        accumulate: bool = False,
        around: Around | None = None,
    ) -> None:
        """A square convolution: its columns' taps side by side, its rows' one after another.

        rows: (c, step * (n - 1) + taps, step * w), of any precision; out: (outputs, n * w).
        """
        c, count, width = rows.shape
        taps, across = weights.matrix.shape[1], width // step
        n = (count - taps) // step + 1
        patches = self.arena.take((taps, c, count, across))
        for k in range(taps):
            shift = k - pad
            # Columns x of the result whose step * x + shift lie inside.
            a = min(across, max(0, -(shift // step)))
            b = max(a, min(across, (width - 1 - shift) // step + 1))
            patches[k, :, :, :a].zero_()
            patches[k, :, :, b:].zero_()
            inside = rows[:, :, a * step + shift : (b - 1) * step + shift + 1 : step]
            patches[k, :, :, a:b].copy_(inside[:, :, : b - a])
            if around is not None:
                around.fill_columns(patches[k], rows, a, b, step, shift)
        if around is not None:
            around.fill_rows(patches)
        side = patches.view(taps * c, count, across)
        gathered = self.arena.take((taps * c, n, across)) if step > 1 else None
        for i in range(taps):
            if gathered is None:
                x = flat(side.narrow(1, i, n))
            else:
                x = flat(gathered.copy_(side[:, i : i + step * (n - 1) + 1 : step]))
            bias = weights.bias if i == 0 else None
            _multiply(weights.matrix[:, i], x, bias, out, accumulate=accumulate or i > 0)

    def pointwise(self, stage: Pointwise, step: int) -> None:
        """Values of one or two maps, each by itself."""
        self.arena.end = 0
        target = self.maps[stage.target.name]
        first, rows = step * target.band - stage.lag, target.band
        if not target.misses(first, rows):
            out = target.rows(first, rows)
            sources = [self.maps[ring.name].rows(first, rows) for ring in stage.sources]
            if stage.multiplies:
                torch.mul(*sources, out=out)
            elif stage.layer.kind == "add":
                torch.mul(sources[0], stage.factors[0], out=out)
                for factor, source in zip(stage.factors[1:], sources[1:], strict=True):
                    out.add_(source, alpha=factor)
                if stage.layer.shift:
                    out.add_(stage.layer.shift)
            self._activate(stage.layer, out)
        target.clear_outside(first, rows)

    def _activate(self, layer: NetLayer, x: Tensor) -> None:
        """Apply a layer's activation in place."""
        kind = layer.activation
        if kind == "prelu":
            below = self.arena.take(tuple(x.shape))
            torch.clamp(x, max=0, out=below).mul_(self.net.slopes[layer.name])
            x.clamp_(min=0).add_(below)
        elif kind == "leaky":
            F.leaky_relu_(x, layer.numbers[0])
        elif kind == "clip":
            x.clamp_(*layer.numbers)
        elif kind == "silu":
            F.silu(x, inplace=True)
        elif kind == "gelu":
            torch.ops.aten.gelu.out(x, out=x)
        elif kind:
            {"relu": x.relu_, "sigmoid": x.sigmoid_, "tanh": x.tanh_, "erf": x.erf_}[kind]()

    def block(self, stage: Block, step: int) -> None:
        """A NAFNet block in place: new rows are prepared, the rows one above them finished."""
        self.arena.end = 0
        x, band = self.maps[stage.ring.name], stage.ring.band
        new = step * band - stage.lag
        if not (x.misses(new, band) and x.misses(new - 1, band)):
            self._blocked(stage, x, new)
        x.clear_outside(new - 1, band)

    def _blocked(self, stage: Block, x: Map, new: int) -> None:
        """The rows of a block one above those from `new` on."""
        w, kept, c = self.net.blocks[stage.name], self.kept[stage.name], stage.channels
        band, width = x.band, x.data.shape[2]
        norm = self.arena.take((c, band, width))
        hidden = self.arena.take((2 * c, band + 2, width))
        self._normalise(x.rows(new, band), norm)
        hidden[:, :2].copy_(kept)
        _multiply(w.first, flat(norm), w.first_bias, flat(hidden[:, 2:]), False)
        # What lies outside the image is zero for the convolution, not the bias.
        above = min(max(0, -new), band)
        below = min(max(0, new + band - x.height), band)
        hidden[:, 2 : 2 + above].zero_()
        hidden[:, 2 + band - below :].zero_()
        kept.copy_(hidden[:, band:])
        self._finish(w, self.frozen[stage.name], hidden, norm, x.rows(new - 1, band))

    def _finish(
        self, w: BlockWeights, third: Tensor, hidden: Tensor, gated: Tensor, out: Tensor
    ) -> None:
        """Everything from the depthwise convolution on, added to `out`."""
        c, band, width = gated.shape
        convolved = F.conv2d(
            hidden[None], w.depthwise, w.depthwise_bias, padding=(0, 1), groups=2 * c
        )[0]  # 2c, band, width
        torch.mul(convolved[:c], convolved[c:], out=gated)
        del convolved
        _multiply(third, flat(gated), w.third_bias, flat(out), accumulate=True)
        norm = gated
        self._normalise(out, norm)
        wide = hidden.view(-1)[: 2 * c * band * width].view(2 * c, band * width)
        _multiply(w.fourth, flat(norm), w.fourth_bias, wide, False)
        torch.mul(wide[:c], wide[c:], out=flat(gated))
        _multiply(w.fifth, flat(gated), w.fifth_bias, flat(out), accumulate=True)

    def _normalise(self, x: Tensor, out: Tensor) -> None:
        """LayerNorm over the channels of each pixel, without its affine part."""
        c, count, width = x.shape
        mean, scale = self.moments[: 2 * count * width].view(2, count, width)
        torch.mean(x, 0, dtype=torch.float32, out=mean)
        torch.sub(x, mean, out=out)
        torch.linalg.vector_norm(out, dim=0, dtype=torch.float32, out=scale)
        torch.addcmul(self.eps, scale, scale, value=1 / c, out=scale)
        out.mul_(scale.rsqrt_())

    def guide(self, stage: Guide, step: int) -> None:
        """E' at full resolution beside the image."""
        aggregate, image = self.maps[stage.aggregate.name], self.maps[stage.image.name]
        target, scale = self.maps[stage.target.name], stage.aggregate.scale
        j = step * aggregate.band - stage.lag
        first, rows = j * scale, target.band
        if not target.misses(first, rows):
            out, e = target.rows(first, rows), aggregate.rows(j, aggregate.band)
            shared = e.shape[0] // scale**2
            cells = split_pixels(out[:shared], scale)
            cells.copy_(e.view(scale, scale, shared, *e.shape[1:]))
            out[shared:].copy_(image.rows(first, rows))
        target.clear_outside(first, rows)

    def ending(self, stage: Ending, step: int, out: Tensor) -> None:
        """The last convolution and the global residual, to `out` in float32."""
        self.arena.end = 0
        source = self.maps[stage.source.name]
        first, band = step * source.band - stage.lag, source.band
        if not source.misses(first, band):
            image = None if stage.image is None else self.maps[stage.image.name].rows(first, band)
            self._ended(stage, source.rows(first - 1, band + 2), image, out)

    def _ended(self, stage: Ending, taken: Tensor, image: Tensor | None, out: Tensor) -> None:
        """The band `out` by the rows that its convolution reads, and those of the image."""
        # The part for the result lies behind the one that `_taps` takes.
        self.arena.take((3, *taken.shape))
        made = self.arena.take(tuple(out.shape))
        self.arena.end = 0
        self._taps(self.net.products["ending"], taken, flat(made), step=1, pad=1)
        if image is None:
            out.copy_(made)
        else:
            # Several values for each pixel of a channel, where the net enlarges.
            parts = len(image), -1, *made.shape[1:]
            torch.add(image[:, None], made.view(parts), out=out.view(parts))


def _multiply(
    matrix: Tensor, x: Tensor, bias: Tensor | None, out: Tensor, accumulate: bool
) -> None:
    """out (+)= matrix @ x + bias, without a temporary: (n, k), (k, pixels), (n, 1)."""
    if accumulate:
        out.addmm_(matrix, x)
        if bias is not None:
            out.add_(bias)
    elif bias is None:
        torch.mm(matrix, x, out=out)
    else:
        torch.addmm(bias, matrix, x, out=out)
