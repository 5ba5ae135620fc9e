"""Takes patches of an image through the net, as many at once as there are streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.patches import observed_patches, padded_patch_size
from unetmm.calibrate.places import Patch
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import observing_bytes
from unetmm.engine.layout import FLOAT_BYTES
from unetmm.engine.layouts import observing_layout
from unetmm.geometry import mirrored
from unetmm.intensities.brackets import CLIPPED
from unetmm.intensities.counts import BlockMeans, block_means
from unetmm.intensities.range import ValueScale, normalise
from unetmm.intensities.validity import NoData, valid_mask
from unetmm.io.image import ImageInfo
from unetmm.nets.config import NetConfig
from unetmm.process import available_cores

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet
    from unetmm.engine.cpu.stream import ObservingStream

Floats = NDArray[np.float32]
Found = TypeVar("Found")

COLUMNS_PX = 32
"""Fewest columns of a patch for a thread; with fewer it would mostly wait."""
STREAMS_BYTES = 48 * 10**6
"""Most memory of the streams over patches side by side; with more, the smallest budget would have
to be larger."""


@dataclass(frozen=True)
class PatchStreams:
    """How the patches are shared out among cores; the statistics do not depend on it."""

    count: int
    """Number of patches that go through the net at once."""
    threads: int
    """Number of threads that share the columns of each."""
    each_bytes: int
    """Memory of each in bytes."""


def patch_streams(config: NetConfig, info: ImageInfo, cores: int = 0) -> PatchStreams:
    """A patch for every core, as far as there is room; then cores share columns."""
    height, width = padded_patch_size(config, info)
    cores = cores or available_cores()
    layout = observing_layout(config, height)
    patch_bytes = FLOAT_BYTES * height * width * config.in_channels
    most = max(1, width // max(config.stride_px, COLUMNS_PX))

    def bytes_of(threads: int) -> int:
        return observing_bytes(layout, width, height, LANES, threads) + patch_bytes

    count = min(cores, len(observed_patches(info)), STREAMS_BYTES // bytes_of(1)) or 1
    threads = min(cores // count, most)
    return PatchStreams(count, threads, bytes_of(threads))


@dataclass(frozen=True)
class Through:
    """Takes patches through the net, as many at once as there are streams."""

    net: CompiledNet
    """Net without attention."""
    size: tuple[int, int]
    """Height and width of a stream; patches that are smaller are continued."""
    nodata: NoData
    """Statement on values without a measurement."""
    scale: ValueScale
    """Scale on which the net sees values."""
    streams: PatchStreams
    """Number of patches at once, and of threads."""
    margins: tuple[int, int]
    """Rows and columns at the edges of a patch that lack their surroundings."""

    def factors(self, patches: Sequence[Patch]) -> list[dict[str, Floats]]:
        """Channel factors of every block for each patch."""
        return self._map(lambda stream, patch, padded, mask: stream.observe(padded), patches)

    def means(self, patches: Sequence[Patch], attention: Mapping[str, Floats]) -> list[BlockMeans]:
        """Means of blocks of each patch, before and after the net with this attention."""

        def compare(stream: ObservingStream, patch: Patch, padded: Floats, mask: Any) -> BlockMeans:
            made = self._stored(stream.restore(padded, attention), patch)
            inner = tuple(slice(m, n - m) for m, n in zip(self.margins, made.shape, strict=False))
            return block_means(
                patch.pixels[inner], made[inner], None if mask is None else mask[inner]
            )

        return self._map(compare, patches, clips=False)

    def changes(self, patches: Sequence[Patch], attention: Mapping[str, Floats]) -> list[Floats]:
        """What the net with this attention changes in each patch, in stored units."""

        def change(stream: ObservingStream, patch: Patch, padded: Floats, mask: Any) -> Floats:
            answer = stream.restore(padded, attention)
            if self.scale.samples:
                return np.asarray(self._stored(answer, patch) - patch.pixels, np.float32)
            h, w = patch.pixels.shape[:2]
            width = np.float32(self.scale.high - self.scale.low)
            return (answer[:h, :w] - padded[:h, :w]) * width

        return self._map(change, patches)

    def _stored(self, answer: Floats, patch: Patch) -> Floats:
        """The answer in stored units."""
        from unetmm.intensities.kernel import move_bent

        with np.errstate(over="ignore", invalid="ignore"):
            values = patch.pixels.astype(np.float32, order="C")  # which it is moved in place by
            move_bent(values, answer, 0, self.scale.samples, 1.0, values.dtype)
        return values

    def _has_zeros(self, height: int, width: int) -> bool:
        """Whether a patch is continued by zeros: a whole image of a net that wants it so. What
        lies beyond a window of an image is not the end of the image.
        """
        config = self.net.config
        beyond = max(self.size[0] - height, self.size[1] - width)
        return config.padding == "zeros" and beyond < config.stride_px

    def _map(
        self,
        work: Callable[[ObservingStream, Patch, Floats, NDArray[np.bool_] | None], Found],
        patches: Sequence[Patch],
        clips: bool = True,
    ) -> list[Found]:
        """What is made of patches; clips: of what a run sees of them, without wider ranges."""
        from unetmm.engine.cpu.stream import ObservingStream

        (height, width), samples = self.size, patches[0].pixels.shape[2]
        unattended = self.net.unattended()
        clips = clips and self.net.config.output_scale == 1
        idle: SimpleQueue[tuple[ObservingStream, Floats]] = SimpleQueue()
        for _ in range(self.streams.count):
            stream = ObservingStream(self.net, unattended, width, height, self.streams.threads)
            idle.put((stream, np.zeros((height, width, samples), np.float32)))

        def take(patch: Patch) -> Found:
            stream, padded = idle.get()
            h, w = patch.pixels.shape[:2]
            try:
                mask = valid_mask(patch.pixels, self.nodata, patch.given)
                normalise(patch.pixels, mask, self.scale, padded[:h, :w])
                if clips:
                    np.clip(padded[:h, :w], 1 - CLIPPED, CLIPPED, out=padded[:h, :w])
                if self._has_zeros(h, w):
                    padded[:h, w:] = padded[h:] = 0
                else:
                    padded[:h, w:] = padded[:h, mirrored(w, width - w)]
                    padded[h:] = padded[mirrored(h, height - h)]
                return work(stream, patch, padded, mask)
            finally:
                idle.put((stream, padded))

        with ThreadPoolExecutor(self.streams.count) as pool:
            return list(pool.map(take, patches))
