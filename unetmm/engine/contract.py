"""What an engine is to the rest: a net folded, streams of it, and what they take and cost.

Two fulfil it: `cpu` (compiled kernels) and `torch` (the same stream as torch operations, on the CPU
or on a GPU). Planning asks an engine for sizes and prices, which are integers and a few divisions;
only `fold` and what comes of it load kernels or torch.

    plan   Engine.footprint, .compute_s, .teams       before a pixel is read
    run    Engine.fold --> Net.open_stream --> Stream.push, Stream.drain
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.checks import Attention
from unetmm.engine.folding import Tensors
from unetmm.engine.layout import Layout
from unetmm.engine.precision import Precision
from unetmm.nets.config import NetConfig

Rows = NDArray[np.float32]
THREAD_BYTES = 256 * 1024
"""Cost of each further thread of a stream besides its scratch: its stack, as far as used."""


@dataclass(frozen=True)
class Pixels:
    """What of an image matters for memory."""

    height: int
    width: int
    samples: int
    """Interleaved samples per pixel as stored, alpha included."""
    itemsize: int
    """Bytes of one sample."""
    nets: int
    """Streams side by side on one strip: 1 for a colour net, the samples for a mono net."""
    written_itemsize: int = 0
    """Bytes of one sample as written; 0: as many as read."""
    mask_bytes: int = 0
    """Bytes of a pixel's place in the mask that comes with the pixels; 0 if none does."""
    may_have_gaps: bool = False
    """Whether pixels can be without a measurement, so that others stand in for them."""
    alpha: bool = False
    """Whether the last sample is opacity."""
    maps: int = 0
    """Values of a pixel of the output, where it is no image; 0: as many as read."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of a pixel that are kept while it is under way: as stored, or, of maps, flags."""
        if self.maps:
            return self.nets * self.may_have_gaps
        return self.samples * self.itemsize + self.mask_bytes

    @property
    def written_bytes(self) -> int:
        """Bytes of a pixel as written."""
        return (self.maps or self.samples) * (self.written_itemsize or self.itemsize)

    @property
    def widest_itemsize(self) -> int:
        """Bytes of one sample, read or written, whichever are more."""
        return max(self.itemsize, self.written_itemsize)


@dataclass(frozen=True)
class Scaling:
    """What brings rows as stored to the net's scale, where all of them are measured."""

    dtype: np.dtype[Any]
    """Type of the rows, integers of at most 16 bits."""
    low: float
    """Stored value that becomes 0."""
    factor: float
    """Factor of what is left above it."""


@dataclass(frozen=True)
class DeviceTerms:
    """Bytes of the projected peak of a device's memory; the peak is their sum."""

    weights: int
    """Matrices of the net, an image's attention folded in or not."""
    stream_state: int
    """Rows that layers keep."""
    skip: int
    """Rows held for the decoder."""
    image_rows: int
    """The input image kept for the global residual."""
    arena: int
    """Working set of one stage, and the band that leaves the stream."""
    transfers: int
    """Bands on their way to the device and back."""
    workspace: int
    """Memory of libraries and allocator, as stated."""

    @property
    def total(self) -> int:
        return sum(getattr(self, f.name) for f in fields(self))


@dataclass(frozen=True)
class Footprint:
    """Bytes of the process that an engine's live streams take together."""

    runtime: int
    """Libraries and threads, beyond what every run has."""
    weights: int
    """Matrices of the net, and those with an image's attention folded in."""
    stream_state: int
    """Rows that layers keep."""
    skip: int
    """Rows held for the decoder."""
    image_rows: int
    """The input image kept for the global residual."""
    arena: int
    """Working sets, bands that leave, and bands converted to the net's scale and back."""
    device: DeviceTerms | None = None
    """Memory of a GPU; None where the process's own memory is all."""

    @property
    def streaming(self) -> int:
        """Bytes that come with the streams, after the net has been folded."""
        return self.stream_state + self.skip + self.image_rows + self.arena


class Stream(Protocol):
    """Restores one strip (or one segment of it), rows pushed in order from the top."""

    def push(self, rows: NDArray[Any]) -> Iterator[Rows]:
        """Take the next rows of the strip, give bands of rows that are finished.

        Parameters
        ----------
        rows : float32, shape (n, width_px, in_channels), nominal range [0, 1]
            n may change from call to call. A stream with a scaling takes them as stored.

        Yields
        ------
        (m, width_px, answer_channels), m <= band_rows: a view that later bands overwrite. Of a net
        that enlarges, each pixel has all those of the output that come of it.

        Raises
        ------
        ShapeError
            If the rows do not fit the strip or there are too many of them.
        DeviceError
            If a GPU fails.
        """

    def drain(self) -> Iterator[Rows]:
        """One step after the last row of the strip was pushed; gives at most one band."""

    def flush(self) -> Iterator[Rows]:
        """All rows that are still held back, after the last row of the strip was pushed."""


class Net(Protocol):
    """A net folded by an engine: shared by all its streams, read-only."""

    config: NetConfig
    takes_stored: bool
    """Whether its streams bring rows to the net's scale, given a scaling; bit by bit as the host
    does."""

    def open_stream(
        self,
        attention: Attention,
        width_px: int,
        height_px: int,
        band_rows: int,
        threads: int = 1,
        scaling: Scaling | None = None,
    ) -> Stream:
        """A stream of a strip, whose sides are multiples of the net's stride.

        scaling : of rows as stored; None: they are on the net's scale.

        Raises
        ------
        ShapeError
            If sides or attention do not fit the net.
        """

    def limited(self, device_budget_bytes: int) -> AbstractContextManager[None]:
        """For a run: a GPU's memory is measured anew, and never above the budget."""

    def peak_bytes(self) -> int | None:
        """The most memory of a GPU that the last run took; None where there is no GPU."""

    def exclusive(self) -> AbstractContextManager[object]:
        """Held while a strip is live where the engine has memory for one strip only."""

    @property
    def library_bytes(self) -> int:
        """Bytes of libraries that only this engine loads, as a plan counts them."""


class Engine(Protocol):
    """One way to compute a row stream, in one precision."""

    @property
    def label(self) -> str:
        """Name that users give it: cpu, torch or cuda:N."""

    @property
    def precision(self) -> Precision:
        """Precision of the matrix products."""

    @property
    def calibrator(self) -> Engine:
        """Engine that measures an image for it: the compiled kernels, whatever computes then."""

    @property
    def device_name(self) -> str:
        """Name of the GPU; empty where there is none."""

    @property
    def default_device_budget_bytes(self) -> int:
        """Bytes of a GPU's memory that a run may take when nothing is said; 0 without a GPU."""

    @property
    def recorded(self) -> str:
        """What pixels depend on, in words: a run that goes on has to have the same."""

    @property
    def band_steps(self) -> tuple[int, ...]:
        """Band heights worth trying, in strides of the net."""

    @property
    def delay_bands(self) -> int:
        """Bands that are under way beyond the net's lag."""

    @property
    def one_strip_at_once(self) -> bool:
        """Whether all cores, or the GPU, work on a single strip."""

    def fits(self, layout: Layout, width_px: int) -> bool:
        """Whether it can count the numbers of such a stream."""

    def teams(self, cores: int, tasks: int, cells: int) -> Iterator[tuple[int, int]]:
        """(workers, threads of each) that may share so many cores.

        tasks, cells : strips to do, and columns of a strip in strides of the net.
        """

    def footprint(
        self, layout: Layout, width_px: int, pixels: Pixels, workers: int, threads: int
    ) -> Footprint:
        """What `workers` live strips `width_px` wide take, `threads` on each stream."""

    def net_bytes(self, layout: Layout) -> int:
        """Bytes of the process's memory that a folded net takes."""

    def stream_bytes(self, layout: Layout, width_px: int, threads: int) -> int:
        """What one stream takes where its memory is: on the GPU, or in the process."""

    def least_s(self, config: NetConfig, pixels: int) -> float:
        """Seconds that the arithmetic of so many pixels takes one core at the very least."""

    def compute_s(
        self, layout: Layout, rows: int, width_px: int, workers: int, threads: int
    ) -> float:
        """Seconds of one stream over `rows` new rows of a strip, of `workers` side by side."""

    def prepare(self, told: Callable[[], None]) -> None:
        """Have the kernels compiled aside; `told` is called before that is waited for."""

    def fold(self, config: NetConfig, tensors: Tensors) -> Net:
        """A net ready to stream; its tensors are not needed afterwards.

        Raises
        ------
        ShapeError
            If there is no row stream for this net.
        WeightsError
            If a tensor is missing.
        """
