"""Rows of a strip in, restored rows out, by torch operations on a device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from unetmm.engine.checks import Attention, check_rows, check_strip
from unetmm.engine.layout import Block, Guide, Product, make_layout
from unetmm.engine.torch.copies import Copies
from unetmm.engine.torch.footprint import shapes_of
from unetmm.engine.torch.net import DeviceNet, Pool, memory_errors
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
    with _settings, torch.no_grad(), cudnn_off, memory_errors():
        before = torch.get_float32_matmul_precision(), torch.get_num_threads()
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.set_num_threads(before[1])


class DeviceStream:
    """Restores one strip (or one segment of it), rows pushed in order from the top.

    As `stream.RowStream`, but a band comes out a push later, so that the host can work on it while
    the device computes the next.

    Parameters
    ----------
    attention : the image's channel factors of every block.
    width_px, height_px : of the strip, multiples of the net's stride.
    band_rows : rows per step, a multiple of the net's stride.
    threads : that share the work where the device is the CPU.
    """

    def __init__(
        self,
        net: DeviceNet,
        attention: Attention,
        width_px: int,
        height_px: int,
        band_rows: int,
        threads: int = 1,
    ) -> None:
        check_strip(width_px, height_px, net.config.stride_px)
        self.net, self.layout = net, make_layout(net.config, band_rows)
        self.width, self.height, self.band = width_px, height_px, band_rows
        self.threads = threads
        self.pushed = self.step_index = 0
        self.under_way: deque[tuple[int, int]] = deque()
        """First and last row, within their band, of the bands on their way to the host."""
        with exact(threads):
            self._allocate(attention)

    def _allocate(self, attention: Attention) -> None:
        net, layout = self.net, self.layout
        shapes = shapes_of(layout, self.width)
        numbers = Pool(shapes.numbers, net.dtype, net.device)
        floats = Pool(shapes.floats, torch.float32, net.device)
        maps = {}
        for ring in layout.rings:
            pool = floats if ring.name == "image" else numbers
            maps[ring.name] = Map(ring, pool.take(shapes.maps[ring.name]), self.height)
        kept = {name: numbers.take(shape) for name, shape in shapes.kept.items()}
        arena = Pool(0, net.dtype, net.device)
        arena.data = numbers.take((shapes.arena,))
        moments, self.out = floats.take((shapes.moments,)), floats.take(shapes.out)
        self.maps = maps
        self.stages = Stages(net, net.freeze(attention), maps, kept, arena, moments)
        self.copies = make_copies(
            net.device,
            (self.band, self.width, net.config.in_channels),
            (self.band, self.width, net.config.out_channels),
        )

    @property
    def last_step(self) -> int:
        """Steps until every row is finished."""
        return -(-(self.height + self.layout.lag_rows) // self.band)

    def push(self, rows: Rows) -> Iterator[Rows]:
        """Take the next rows of the strip, give bands of rows that are finished.

        Parameters
        ----------
        rows : float32, shape (n, width_px, in_channels), nominal range [0, 1]
            n may change from call to call.

        Yields
        ------
        (m, width_px, out_channels), m <= band_rows: a view that the band after the next overwrites.

        Raises
        ------
        ShapeError
            If the rows do not fit the strip or there are too many of them.
        """
        check_rows(rows.shape, self.width, self.net.config.in_channels, self.pushed, self.height)
        n, taken = len(rows), 0
        while taken < n:
            at = self.pushed % self.band
            count = min(n - taken, self.band - at)
            self.copies.inbox()[at : at + count] = rows[taken : taken + count]
            self.pushed += count
            taken += count
            if self.pushed % self.band == 0:
                self._step()
                if len(self.under_way) > 1:
                    yield self._fetched()

    def drain(self) -> Iterator[Rows]:
        """One step after the last row of the strip was pushed; gives at most one band."""
        assert self.pushed == self.height, "drain comes after the last row"
        more = self.step_index < self.last_step
        if more:
            self._step()
        if len(self.under_way) > more:
            yield self._fetched()

    def flush(self) -> Iterator[Rows]:
        """All rows that are still held back, after the last row of the strip was pushed."""
        while self.step_index < self.last_step or self.under_way:
            yield from self.drain()

    def _fetched(self) -> Rows:
        start, stop = self.under_way.popleft()
        return self.copies.fetched()[start:stop]

    def _step(self) -> None:
        """Carry every stage one band further."""
        with exact(self.threads):
            self._take_band()
            for stage in self.layout.stages:
                if isinstance(stage, Product):
                    self.stages.product(stage, self.step_index)
                elif isinstance(stage, Block):
                    self.stages.block(stage, self.step_index)
                elif isinstance(stage, Guide):
                    self.stages.guide(stage, self.step_index)
                else:
                    self.stages.ending(stage, self.step_index, self.out)
            first = self.step_index * self.band - self.layout.lag_rows
            start, stop = max(0, first), min(self.height, first + self.band)
            if stop > start:
                self.copies.download(self.out.permute(1, 2, 0))
                self.under_way.append((start - first, stop - first))
        self.step_index += 1

    def _take_band(self) -> None:
        """Move all maps up, and the band that was pushed last into the image's."""
        if self.step_index:
            for each in self.maps.values():
                each.advance()
        image, first = self.maps["image"], self.step_index * self.band
        if first < self.height:
            self.copies.upload(image.rows(first, self.band).permute(1, 2, 0))
        image.clear_outside(first, self.band)


def make_copies(
    device: torch.device, taken: tuple[int, int, int], given: tuple[int, int, int]
) -> Copies:
    """The copies to and from a device."""
    if device.type == "cuda":
        from unetmm.engine.torch.cuda import CudaCopies

        return CudaCopies(device, taken, given)
    return Copies(device, taken, given)
