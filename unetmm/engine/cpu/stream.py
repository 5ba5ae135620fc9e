"""Rows of a strip in, restored rows out: a compiled net carried out band by band."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from unetmm.compiling.processor import LANES
from unetmm.engine.checks import check_rows, check_strip
from unetmm.engine.clock import BandClock
from unetmm.engine.cpu.compiled import CompiledNet, Frozen, aligned_zeros
from unetmm.engine.cpu.footprint import (
    LINE_FLOATS,
    memory_map,
    observed_answer,
    observed_channels,
    observed_numbers,
)
from unetmm.engine.cpu.program import ring_table, stage_table
from unetmm.engine.cpu.shares import Shares
from unetmm.engine.cpu.stages import run_stages
from unetmm.engine.cpu.sync import LINE
from unetmm.engine.cpu.team import Team
from unetmm.engine.layout import FLOAT_BYTES, Block, Layout, Product, padded
from unetmm.engine.layouts import make_layout, observing_layout
from unetmm.geometry import round_up

Rows = NDArray[np.float32]


class RowStream:
    """Restores one strip (or one segment of it), rows pushed in order from the top.

    Parameters
    ----------
    frozen : the net's matrices that depend on the image, from `CompiledNet.freeze`.
    width_px, height_px : of the strip, multiples of the net's stride.
    band_rows : rows per step, a multiple of the net's stride.
    threads : they share the columns; the result does not depend on their number. More than
        `width_px` / stride would have nothing to do and are not started.

    Everything is allocated here; `push` allocates nothing that grows with the image.
    """

    def __init__(
        self,
        net: CompiledNet,
        frozen: Frozen,
        width_px: int,
        height_px: int,
        band_rows: int,
        threads: int = 1,
    ) -> None:
        layout = make_layout(net.config, band_rows)
        self._allocate(net, frozen, layout, width_px, height_px, threads, in_parts=True)

    def _allocate(
        self,
        net: CompiledNet,
        frozen: Frozen,
        layout: Layout,
        width_px: int,
        height_px: int,
        threads: int,
        in_parts: bool,
        within: RowStream | None = None,
    ) -> None:
        """in_parts: whether the fine stages divide a step; within: whose memory is used."""
        check_strip(width_px, height_px, net.config.stride_px)
        self.net, self.frozen, self.layout = net, frozen, layout
        self.width, self.height, self.band = width_px, height_px, layout.band_rows
        self.cells = width_px // net.config.stride_px
        self.threads = max(1, min(threads, self.cells))
        places = memory_map(self.layout, width_px, LANES, self.threads)
        floats = places.size_floats - LINE_FLOATS
        self.memory: Rows = aligned_zeros(floats) if within is None else within.memory[:floats]
        assert len(self.memory) == floats, "no larger than the stream it lies in"
        self.program = stage_table(self.layout, net, places, in_parts)
        self.rings = ring_table(self.layout, places, width_px, height_px)
        self.scratch = np.array(places.scratch, np.int64)
        taps = max(s.taps for s in self.layout.stages if isinstance(s, Product))
        self.starts = np.zeros((self.threads, round_up(max(3, taps), LINE)), np.int64)
        self.out_at = places.out
        self.team: Team = Team(self.threads) if within is None else within.team
        self.shares = Shares(self.cells, self.threads)
        self.sums, self.seen, self.factors = np.zeros(1, np.float64), *np.zeros((2, 1), np.float32)
        self.clock = BandClock(layout.band_rows, layout.lag_rows, height_px)
        channels, ring = net.config.answer_channels, self.layout.rings[0]
        self.out = self._view(places.out, (self.band, width_px, channels))
        across = width_px + 2 * ring.pad_px
        image = self._view(places.rings[ring.name], (ring.rows, across, net.config.in_channels))
        self.image_rows = image[:, ring.pad_px : ring.pad_px + width_px]

    def _view(self, start: int, shape: tuple[int, ...]) -> Rows:
        return self.memory[start : start + int(np.prod(shape))].reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes allocated; equals `footprint.stream_bytes`."""
        return self.memory.nbytes + LINE_FLOATS * FLOAT_BYTES

    def push(self, rows: Rows) -> Iterator[Rows]:
        """As `contract.Stream` says; a band is a view that the next band overwrites."""
        clock = self.clock
        check_rows(rows.shape, self.width, self.net.config.in_channels, clock.pushed, self.height)
        for new, first, is_full in clock.take(len(rows)):
            index = np.arange(first, clock.pushed) % len(self.image_rows)
            self.image_rows[index] = rows[new]
            if is_full:
                yield from self._finished()

    def drain(self) -> Iterator[Rows]:
        """One step after the last row of the strip was pushed; gives at most one band."""
        assert self.clock.pushed == self.height, "drain comes after the last row"
        if self.clock.steps_left:
            yield from self._finished()

    def flush(self) -> Iterator[Rows]:
        """All rows that are still held back, after the last row of the strip was pushed."""
        while self.clock.steps_left:
            yield from self.drain()

    def _finished(self) -> Iterator[Rows]:
        rows = self.step()
        if rows is not None:
            yield self.out[rows]

    def step(self) -> slice | None:
        """Carry every stage one band further; gives the finished rows of the band that leaves."""
        self._run(0, len(self.program))
        self.shares.learn(self.team.take_busy())
        return self.clock.tick()

    def _run(self, first: int, last: int, observed: int = -1, resumed: int = -1) -> None:
        """Stages first to last, on all threads; see `run_stages`."""
        program, rings, scratch, starts = self.program, self.rings, self.scratch, self.starts
        memory, weights, matrices = self.memory, self.net.weights, self.net.matrices
        frozen = self.frozen
        samples, cuts, out = self.net.config.answer_channels, self.shares.cuts, self.out_at
        step, progress = self.clock.step, self.team.progress
        sums, seen, factors = self.sums, self.seen, self.factors

        # The threads must not hold the stream itself, or it would never end.
        def share(thread: int) -> bool:
            done: bool = run_stages(
                program, rings, scratch, starts, memory, weights, matrices, frozen, out, samples,
                cuts, first, last, step, thread, progress, sums, seen, factors,
                observed, resumed,
            )  # fmt: skip
            return done

        self.team.run(share)


class ObservingStream(RowStream):
    """A stream over whole patches, which sees every block's global average.

    A net with blocks does a patch in one step. Every block stops at its gated map, which is added
    up, and goes on with the attention that follows. The sums are kept by column, so they do not
    depend on the number of threads either.

    Parameters
    ----------
    unattended : the net's matrices without any attention, from `CompiledNet.unattended`.
    within : a stream over larger patches whose memory is used; `clear` before each change between
        the two. Both have one thread.
    """

    def __init__(
        self,
        net: CompiledNet,
        unattended: Frozen,
        width_px: int,
        height_px: int,
        threads: int = 1,
        within: ObservingStream | None = None,
    ) -> None:
        layout = observing_layout(net.config, height_px)
        self._allocate(
            net, unattended, layout, width_px, height_px, threads, in_parts=False, within=within
        )
        self.answer: Rows = (
            aligned_zeros(observed_answer(layout, width_px, height_px))
            if within is None
            else within.answer
        )
        numbers = observed_numbers(layout, width_px, LANES)
        if within is not None:
            self.sums, self.seen, self.factors = within.sums, within.seen, within.factors
            return
        self.sums = np.zeros(numbers, np.float64)
        self.seen = aligned_zeros(numbers * height_px)
        self.factors = aligned_zeros(observed_channels(layout, LANES))

    def clear(self) -> None:
        """Zeros everywhere, as what lies outside a patch has to be."""
        self.memory[:] = 0

    def observe(self, patch: Rows, given: Mapping[str, Rows] | None = None) -> dict[str, Rows]:
        """Channel factors of every block for a patch (height_px, width_px, in_channels).

        given : factors to go on with, instead of the patch's own.
        """
        if not self.layout.blocks:
            return {}
        self.image_rows[: self.height] = patch
        attention = {}
        done = -1
        for i, stage in enumerate(self.layout.stages):
            if isinstance(stage, Block):
                self.sums[:] = 0
                self._go_on(done, i + 1, observed=i)
                attention[stage.name] = factors = (
                    given[stage.name] if given else self._attention(stage)
                )
                self.factors[: stage.channels] = factors
                self.factors[stage.channels :] = 0
                done = i
        return attention

    def restore(self, patch: Rows, given: Mapping[str, Rows] | None = None) -> Rows:
        """The restored patch, by the attention of its own averages; a view until the next call.

        given : attention to use instead.
        """
        if not self.layout.blocks:
            return self._in_bands(patch)
        self.observe(patch, given)
        last = max(
            (i for i, s in enumerate(self.layout.stages) if isinstance(s, Block)), default=-1
        )
        self._go_on(last, len(self.layout.stages))
        lag = self.layout.lag_rows
        return self.out[lag : lag + self.height]

    def _in_bands(self, patch: Rows) -> Rows:
        """The restored patch of a net without blocks."""
        self.clock = BandClock(self.band, self.layout.lag_rows, self.height)
        shape = self.height, self.width, self.net.config.answer_channels
        answer: Rows = self.answer[: int(np.prod(shape))].reshape(shape)
        row = 0
        for bands in (self.push(patch), self.flush()):
            for band in bands:
                answer[row : row + len(band)] = band
                row += len(band)
        return answer

    def _go_on(self, block: int, end: int, observed: int = -1) -> None:
        """Finish a block that was observed, if there is one, and what comes before stage `end`.

        Several threads finish it in a run of its own: its gated map lies where the next block's
        will, so all of them have to be done with it.
        """
        if block >= 0 and self.threads == 1:
            self._run(block, end, observed=observed, resumed=block)
            return
        if block >= 0:
            self._run(block, block + 1, resumed=block)
        self._run(block + 1, end, observed=observed)

    def _attention(self, stage: Block) -> Rows:
        """The factors that follow from a block's sums."""
        columns = self.width // stage.ring.scale
        by_column = self.sums[: columns * padded(stage.channels, LANES)].reshape(columns, -1)
        pixels = columns * (self.height // stage.ring.scale)
        mean = by_column.sum(0)[: stage.channels] / pixels
        return self.net.attention(stage.name, mean.astype(np.float32))
