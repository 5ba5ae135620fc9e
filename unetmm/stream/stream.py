"""Rows of a strip in, restored rows out: a compiled net carried out band by band."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.stream import kernels
from unetmm.stream.compiled import CompiledNet, Frozen
from unetmm.stream.folding import Packed
from unetmm.stream.lanes import LANES
from unetmm.stream.layout import (
    FLOAT_BYTES,
    Block,
    Ending,
    Guide,
    Product,
    Ring,
    kept_floats,
    make_layout,
    observing_band_rows,
    padded,
    panel_px,
    scratch_floats,
)

Rows = NDArray[np.float32]
Offsets = NDArray[np.int64]


class RingBuffer:
    """The memory of a ring: rows addressed by their number in the strip, by modulo."""

    def __init__(self, ring: Ring, width_px: int, height_px: int) -> None:
        self.ring, self.count = ring, ring.rows
        self.height = height_px // ring.scale
        self.pixels = width_px // ring.scale
        self.channels = padded(ring.channels, LANES, ring)
        self.row_floats = ring.row_floats(width_px, LANES)
        self.data = np.zeros(ring.size_floats(width_px, LANES), np.float32)
        self.zero_row = self.count * self.row_floats
        self.edge = ring.pad_px * self.channels

    def written(self, rows: NDArray[np.int64]) -> Offsets:
        """Offsets of the first pixel of rows; -1 outside the image."""
        inside = (rows >= 0) & (rows < self.height)
        return np.where(inside, rows % self.count * self.row_floats + self.edge, -1)

    def read(self, rows: NDArray[np.int64], back_px: int = 0) -> Offsets:
        """Offsets of rows to be read, `back_px` columns to the left; zeros outside the image."""
        inside = (rows >= 0) & (rows < self.height)
        at = np.where(inside, rows % self.count * self.row_floats, self.zero_row)
        return at + self.edge - back_px * self.channels

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


class RowStream:
    """Restores one strip (or one segment of it), rows pushed in order from the top.

    Parameters
    ----------
    frozen : the net's matrices that depend on the image, from `CompiledNet.freeze`.
    width_px, height_px : of the strip, multiples of the net's stride.
    band_rows : rows per step, a multiple of the net's stride.

    Everything is allocated here; `push` allocates nothing that grows with the image.
    """

    def __init__(
        self, net: CompiledNet, frozen: Frozen, width_px: int, height_px: int, band_rows: int
    ) -> None:
        stride = net.config.stride_px
        if width_px % stride or height_px % stride or min(width_px, height_px) < stride:
            raise ShapeError(
                f"a strip needs positive multiples of {stride} px, found {height_px} x {width_px}"
            )
        self.net, self.frozen = net, frozen
        self.layout = make_layout(net.config, band_rows)
        self.width, self.height, self.band = width_px, height_px, band_rows
        self.buffers = {r.name: RingBuffer(r, width_px, height_px) for r in self.layout.rings}
        self.kept = {
            b.name: np.zeros(kept_floats(b, width_px, LANES), np.float32)
            for b in self.layout.blocks
        }
        taps, norm, hidden, gated = scratch_floats(self.layout, LANES)
        self.scratch = tuple(np.zeros(max(1, n), np.float32) for n in (taps, norm, hidden, gated))
        self.out_row = width_px * net.config.out_channels
        self.out = np.zeros(band_rows * self.out_row, np.float32)
        self.masks = {b.channels: _mask(b.channels) for b in self.layout.blocks}
        self.pushed = 0
        self.step_index = 0
        image = self.buffers["image"]
        self.image_rows = image.data[: image.zero_row].reshape(
            image.count, width_px + 2, net.config.in_channels
        )[:, 1:-1]

    @property
    def nbytes(self) -> int:
        """Bytes allocated; equals layout.stream_bytes."""
        return (
            sum(b.nbytes for b in self.buffers.values())
            + sum(k.nbytes for k in self.kept.values())
            + sum(s.nbytes for s in self.scratch)
            + self.out.nbytes
        )

    def push(self, rows: Rows) -> Iterator[Rows]:
        """Take the next rows of the strip, give bands of rows that are finished.

        Parameters
        ----------
        rows : float32, shape (n, width_px, in_channels), nominal range [0, 1]
            n may change from call to call.

        Yields
        ------
        (m, width_px, out_channels), m <= band_rows: a view that the next band overwrites.

        Raises
        ------
        ShapeError
            If the rows do not fit the strip or there are too many of them.
        """
        n, width, channels = rows.shape
        if width != self.width or channels != self.net.config.in_channels:
            raise ShapeError(
                f"this stream takes rows of {self.width} px and {self.net.config.in_channels} "
                f"channels, found {width} px and {channels}"
            )
        if self.pushed + n > self.height:
            raise ShapeError(f"this strip has {self.height} rows, {self.pushed + n} were pushed")
        taken = 0
        while taken < n:
            end = min(n, taken + self.band - self.pushed % self.band)
            index = np.arange(self.pushed, self.pushed + end - taken) % len(self.image_rows)
            self.image_rows[index] = rows[taken:end]
            self.pushed += end - taken
            taken = end
            if self.pushed % self.band == 0:
                yield from self._finished()

    def drain(self) -> Iterator[Rows]:
        """One step after the last row of the strip was pushed; gives at most one band."""
        assert self.pushed == self.height, "drain comes after the last row"
        if self.step_index * self.band < self.height + self.layout.lag_rows:
            yield from self._finished()

    def flush(self) -> Iterator[Rows]:
        """All rows that are still held back, after the last row of the strip was pushed."""
        while self.step_index * self.band < self.height + self.layout.lag_rows:
            yield from self.drain()

    def _finished(self) -> Iterator[Rows]:
        first = self.step_index * self.band - self.layout.lag_rows
        self.step()
        start, stop = max(0, first), min(self.height, first + self.band)
        if stop > start:
            band = self.out.reshape(self.band, self.width, -1)
            yield band[start - first : stop - first]

    def step(self) -> None:
        """Carry every stage one band further."""
        t = self.step_index
        for stage in self.layout.stages:
            if isinstance(stage, Block):
                self._block(stage, t)
            elif isinstance(stage, Product):
                self._product(stage, t)
            elif isinstance(stage, Guide):
                self._guide(stage, t)
            else:
                self._ending(stage, t)
        self.step_index += 1

    def _product(self, stage: Product, t: int) -> None:
        source, target = self.buffers[stage.source.name], self.buffers[stage.target.name]
        band = stage.target.band // stage.repeat
        j = np.arange(t * band - stage.lag, (t + 1) * band - stage.lag)
        window = stage.step * j[:, None] - stage.pad + np.arange(stage.taps)
        # A 3x3 reads three pixels from one to the left, a strided product `step` pixels.
        depth = source.channels * (stage.taps if stage.taps > 1 else 1)
        x_rows = source.read(window, stage.pad)
        pixels = min(source.pixels // stage.step, target.pixels)
        out_step = target.channels * stage.repeat
        for dy, packed in enumerate(self.net.products[stage.name]):
            kernels.product_rows(
                source.data, x_rows, stage.step * source.channels, depth,
                packed.weight, packed.bias,
                target.data, target.written(stage.repeat * j + dy), out_step, out_step,
                pixels, stage.accumulate,
            )  # fmt: skip

    def _block(self, stage: Block, t: int) -> None:
        self._run_block(stage, t, self.frozen[stage.name], _NO_SUMS, observe=False)

    def _run_block(
        self, stage: Block, t: int, third: Packed, sums: NDArray[np.float64], observe: bool
    ) -> None:
        buffer, weights = self.buffers[stage.ring.name], self.net.blocks[stage.name]
        band = stage.ring.band
        rows = np.arange(t * band - stage.lag, (t + 1) * band - stage.lag)
        kernels.block_rows(
            buffer.data, buffer.written(rows), buffer.written(rows - 1),
            buffer.pixels, stage.channels, buffer.channels, panel_px(stage, LANES),
            self.masks[stage.channels], self.kept[stage.name], *self.scratch,
            weights.first.weight, weights.first.bias,
            weights.depthwise, weights.depthwise_bias,
            third.weight, third.bias,
            weights.fourth.weight, weights.fourth.bias,
            weights.fifth.weight, weights.fifth.bias,
            sums, observe,
        )  # fmt: skip

    def _guide(self, stage: Guide, t: int) -> None:
        aggregate, image = self.buffers[stage.aggregate.name], self.buffers[stage.image.name]
        target, scale = self.buffers[stage.target.name], stage.aggregate.scale
        first = (t * stage.aggregate.band - stage.lag) * scale
        rows = np.arange(first, first + self.band)
        shared = stage.aggregate.channels // scale**2
        a_rows = aggregate.read(rows // scale) + rows % scale * (scale * shared)
        kernels.guide_rows(
            aggregate.data, a_rows, image.data, image.read(rows),
            target.data, target.written(rows),
            shared, image.channels, scale, aggregate.channels, self.width,
        )  # fmt: skip

    def _ending(self, stage: Ending, t: int) -> None:
        source = self.buffers[stage.source.name]
        rows = np.arange(t * self.band - stage.lag, (t + 1) * self.band - stage.lag)
        window = source.read(rows[:, None] - 1 + np.arange(3), 1)
        window[(rows < 0) | (rows >= self.height)] = -1
        image = self.buffers["image"]
        image_rows = image.read(rows) if stage.image is not None else np.full(len(rows), -1)
        kernels.ending_rows(
            source.data, window, source.channels, self.net.ending.weight, self.net.ending.bias,
            image.data, image_rows, self.out, self.out_row,
            self.net.config.out_channels, self.width,
        )  # fmt: skip


class ObservingStream(RowStream):
    """A stream over a whole patch in one step, which sees each block's global average.

    Every block runs twice: once to add up its gated map, then with the attention this gives. The
    factors are left in `attention`.
    """

    def __init__(self, net: CompiledNet, width_px: int, height_px: int) -> None:
        super().__init__(net, {}, width_px, height_px, observing_band_rows(net.config, height_px))
        self.attention: dict[str, Rows] = {}

    def observe(self, patch: Rows) -> dict[str, Rows]:
        """Channel factors of every block for a patch (height_px, width_px, in_channels)."""
        self.image_rows[: self.height] = patch
        self.step()
        return self.attention

    def _block(self, stage: Block, t: int) -> None:
        weights = self.net.blocks[stage.name]
        sums = np.zeros(padded(stage.channels, LANES), np.float64)
        # Any third matrix will do for observing; the fifth has its shape.
        self._run_block(stage, t, weights.fifth, sums, observe=True)
        pixels = self.height * self.width // stage.ring.scale**2
        factors = self.net.attention(
            stage.name, (sums[: stage.channels] / pixels).astype(np.float32)
        )
        self.attention[stage.name] = factors
        self._run_block(stage, t, weights.with_attention(factors, LANES), sums, observe=False)


def _mask(channels: int) -> Rows:
    """Ones for the real channels of a pixel's last vector."""
    last = padded(channels, LANES) - LANES
    return (np.arange(last, last + LANES) < channels).astype(np.float32)


_NO_SUMS = np.zeros(1, np.float64)

assert np.dtype(np.float32).itemsize == FLOAT_BYTES
