"""Rows of a strip in, restored rows out, by torch operations on a device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetmm.engine.checks import Attention, check_rows, check_strip
from unetmm.engine.clock import BandClock
from unetmm.engine.contract import Scaling
from unetmm.engine.layout import Block, Guide, MaxPool, Pointwise, Product
from unetmm.engine.layouts import make_layout
from unetmm.engine.torch.copies import FLOAT32, Copies, Shape
from unetmm.engine.torch.failures import translated
from unetmm.engine.torch.folded import FoldedNet, TensorPool
from unetmm.engine.torch.footprint import shapes_of
from unetmm.engine.torch.stages import Map, Stages

Rows = NDArray[np.float32]

_settings = threading.Lock()


@contextmanager
def exact(threads: int) -> Iterator[None]:
    """Torch's settings for a step: no TF32, nothing kept for gradients, and no cuDNN, which takes
    as much memory as it likes. They are the process's, so it is one step at a time.

    threads: that torch uses on the CPU.
    """
    cudnn_off = torch.backends.cudnn.flags(enabled=False)
    with _settings, torch.no_grad(), cudnn_off:
        before = torch.get_float32_matmul_precision(), torch.get_num_threads()
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.set_num_threads(before[1])


class TorchStream:
    """Restores one strip (or one segment of it), rows pushed in order from the top.

    As `stream.RowStream`, but a band comes out a push later, so that the host can work on it while
    the device computes the next.

    Parameters
    ----------
    attention : the image's channel factors of every block.
    width_px, height_px : of the strip, multiples of the net's stride.
    band_rows : rows per step, a multiple of the net's stride.
    threads : that share the work where the device is the CPU.
    scaling : what brings rows to the net's scale, which are pushed as stored; None: they have it.

    Raises
    ------
    DeviceError
        If the GPU fails, there and in each step.
    """

    def __init__(
        self,
        net: FoldedNet,
        attention: Attention,
        width_px: int,
        height_px: int,
        band_rows: int,
        threads: int = 1,
        scaling: Scaling | None = None,
    ) -> None:
        check_strip(width_px, height_px, net.config.stride_px)
        self.net, self.layout = net, make_layout(net.config, band_rows)
        self.width, self.height, self.band = width_px, height_px, band_rows
        self.threads, self.scaling = threads, scaling
        self.clock = BandClock(band_rows, self.layout.lag_rows, height_px)
        self.under_way: deque[slice] = deque()
        """Finished rows, within their band, of the bands on their way to the host."""
        with translated(net.device), exact(threads):
            self._allocate(attention)

    def _allocate(self, attention: Attention) -> None:
        net, layout = self.net, self.layout
        shapes = shapes_of(layout, self.width, net.fusing)
        numbers = TensorPool(shapes.numbers, net.dtype, net.device)
        floats = TensorPool(shapes.floats, torch.float32, net.device)
        maps = {}
        for ring in layout.rings:
            pool = floats if ring.name == "image" else numbers
            maps[ring.name] = Map(ring, pool.take(shapes.maps[ring.name]), self.height)
        kept = {name: numbers.take(shape) for name, shape in shapes.kept.items()}
        arena = TensorPool(0, net.dtype, net.device)
        arena.data = numbers.take((shapes.arena,))
        moments, self.out = floats.take((shapes.moments,)), floats.take(shapes.out)
        self.maps = maps
        self.stages = stages_of(net)(net, net.freeze(attention), maps, kept, arena, moments)
        self.copies = make_copies(
            net.device,
            (self.band, self.width, net.config.in_channels),
            (self.band, self.width, net.config.answer_channels),
            FLOAT32 if self.scaling is None else self.scaling.dtype,
        )

    def push(self, rows: NDArray[Any]) -> Iterator[Rows]:
        """As `contract.Stream` says; a band is a view that the band after the next overwrites."""
        clock = self.clock
        check_rows(rows.shape, self.width, self.net.config.in_channels, clock.pushed, self.height)
        for new, first, is_full in clock.take(len(rows)):
            at = first % self.band
            with translated(self.net.device):
                inbox = self.copies.inbox()
            inbox[at : at + new.stop - new.start] = rows[new]
            if is_full:
                self._step()
                if len(self.under_way) > 1:
                    yield self._fetched()

    def drain(self) -> Iterator[Rows]:
        """One step after the last row of the strip was pushed; gives at most one band."""
        assert self.clock.pushed == self.height, "drain comes after the last row"
        more = self.clock.steps_left
        if more:
            self._step()
        if len(self.under_way) > more:
            yield self._fetched()

    def flush(self) -> Iterator[Rows]:
        """All rows that are still held back, after the last row of the strip was pushed."""
        while self.clock.steps_left or self.under_way:
            yield from self.drain()

    def _fetched(self) -> Rows:
        rows = self.under_way.popleft()
        with translated(self.net.device):
            return self.copies.fetched()[rows]

    def _step(self) -> None:
        """Carry every stage one band further."""
        step = self.clock.step
        with translated(self.net.device), exact(self.threads):
            self._take_band(step)
            for stage in self.layout.stages:
                if isinstance(stage, Product):
                    self.stages.product(stage, step)
                elif isinstance(stage, MaxPool):
                    self.stages.pool(stage, step)
                elif isinstance(stage, Pointwise):
                    self.stages.pointwise(stage, step)
                elif isinstance(stage, Block):
                    self.stages.block(stage, step)
                elif isinstance(stage, Guide):
                    self.stages.guide(stage, step)
                else:
                    self.stages.ending(stage, step, self.out)
            rows = self.clock.tick()
            if rows is not None:
                self.copies.download(self.out.permute(1, 2, 0))
                self.under_way.append(rows)

    def _take_band(self, step: int) -> None:
        """Move all maps up, and the band that was pushed last into the image's."""
        if step:
            for each in self.maps.values():
                each.advance()
        image, first = self.maps["image"], step * self.band
        if first < self.height:
            rows = image.rows(first, self.band)
            self.copies.upload(rows.permute(1, 2, 0))
            if self.scaling is not None:  # the roundings of `intensities.range`, one by one
                if self.scaling.low:
                    rows.sub_(float(np.float32(self.scaling.low)))
                rows.mul_(float(np.float32(self.scaling.factor)))
        image.clear_outside(first, self.band)


def stages_of(net: FoldedNet) -> type[Stages]:
    """Stages by torch operations, or with fused kernels for the blocks, which need Triton."""
    if net.fusing is None:
        return Stages
    from unetmm.engine.torch.fused import FusedStages

    return FusedStages


def make_copies(
    device: torch.device, taken: Shape, given: Shape, dtype: np.dtype[Any] = FLOAT32
) -> Copies:
    """The copies to and from a device."""
    if device.type == "cuda":
        from unetmm.engine.torch.cuda import CudaCopies

        return CudaCopies(device, taken, given, dtype)
    return Copies(device, taken, given, dtype)
