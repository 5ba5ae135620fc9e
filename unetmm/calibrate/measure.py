"""Measures an image once, so that the answer does not depend on how the image is cut.

A seeded set of patches, placed where there is content, fixes the intensity range. They, or half of
them where the image is small, go through the net with their own global averages; the channel
attention of every block is
averaged over them. Nothing here depends on the budget, the strips or the number of workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.calibration import Calibration, ChannelStatistics, key
from unetmm.calibrate.choice import Choice, Observed, choose_patches
from unetmm.calibrate.content import COPIES
from unetmm.calibrate.patches import observed_patches, padded_patch_size, patch_count, patch_size
from unetmm.calibrate.places import READ_PX, Patch
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import frozen_bytes, observing_bytes
from unetmm.engine.layout import FLOAT_BYTES, observing_layout
from unetmm.engine.precision import Precision
from unetmm.geometry import mirrored
from unetmm.intensities.counts import (
    BlockMeans,
    TransformChoice,
    block_means,
    counted_scale,
    judge_counts,
    with_means_kept,
)
from unetmm.intensities.doubts import find_doubts
from unetmm.intensities.noise import NoiseModel, measure_noise
from unetmm.intensities.outliers import REACH_PX, search_bytes
from unetmm.intensities.range import ValueScale, measure_scale, normalise
from unetmm.intensities.validity import NoData, valid_mask
from unetmm.io.image import ImageInfo, Source
from unetmm.models.groups import Groups
from unetmm.nets.config import NetConfig
from unetmm.process import available_cores

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet
    from unetmm.engine.cpu.stream import ObservingStream

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Found = TypeVar("Found")

COLUMNS_PX = 32
"""Fewest columns of a patch for a thread; with fewer it would mostly wait."""
FEW_OUTLIERS = 1 / 2000
"""Share of a patch up to which outliers that the base range holds do not change what is measured;
photos have as many details like them."""
MARGIN_PX = 16
"""Rows and columns at the edges of a patch whose means are not compared."""
ENOUGH_VALUES = 2**16
"""Number of values of a sample by which it is told whether they are counts."""
STREAMS_BYTES = 48 * 10**6
"""Most memory of the streams over patches side by side; with more, the smallest budget would have
to be larger."""


def calibration_bytes(
    config: NetConfig, info: ImageInfo, cores: int = 0, precision: Precision = "fp32"
) -> int:
    """Most bytes that `calibrate` allocates at once."""
    height, width = padded_patch_size(config, info)
    streams = patch_streams(config, info, cores)
    matrices = frozen_bytes(observing_layout(config, height), LANES, precision)
    numbers = patch_count(info) * height * width * info.samples
    # Each with an answer in stored units, where its means are compared.
    answer_bytes = FLOAT_BYTES * height * width * info.samples
    observing = streams.count * (streams.each_bytes + answer_bytes) + matrices
    # The intensity range is found before that, in two copies of float64.
    ranging = 0 if info.dtype == np.uint8 else 2 * 8 * numbers
    # Before that, too, cells are measured, of a patch or of a box that is read to look at.
    looking = COPIES * 8 * height * width * info.samples
    # Later the search for outliers looks at one patch after the other.
    searched_px = (height + 2 * REACH_PX) * (width + 2 * REACH_PX)
    searching = (FLOAT_BYTES + 16) * searched_px * info.samples
    searching += 2 * search_bytes(height, width, info.samples)
    looking += min(READ_PX, info.height * info.width) * info.samples * info.dtype.itemsize
    # All the while the patches, once more their measured values side by side, and both patches and
    # the parts of them that go through the net without outliers.
    masks = 2 * numbers if info.has_mask else 0
    copies = 4 * numbers * info.dtype.itemsize
    return copies + masks + max(observing, ranging, looking, searching)


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


def calibrate(
    source: Source,
    net: CompiledNet,
    model: str,
    groups: Groups,
    fixed_range: tuple[float, float] | None = None,
    cores: int = 0,
    outliers: bool = True,
    transform: TransformChoice = "auto",
    knows_counts: bool = False,
) -> Calibration:
    """Measure an image once.

    Parameters
    ----------
    fixed_range : stored values that become 0 and 1, instead of the measured ones.
    cores : used at most; 0 for all.
    outliers : whether pixels that no optics can make are left out.
    transform : how counts of photons are brought to the net.
    knows_counts : whether it was trained on such counts.
    """
    entries = {}
    info = source.info
    doubts: dict[str, None] = {}
    (height, width), whole = patch_size(info), (info.height, info.width)
    margins = MARGIN_PX * (height < whole[0]), MARGIN_PX * (width < whole[1])
    streams, size = patch_streams(net.config, info, cores), padded_patch_size(net.config, info)
    for channel in range(info.length("C")):
        for g, chosen in enumerate(choose_patches(source, channel, groups)):
            nodata = info.nodata_of(channel, groups[g])
            pixels, masks = [p.pixels for p in chosen.patches], [p.given for p in chosen.patches]
            doubts |= dict.fromkeys(find_doubts(pixels, nodata, masks))
            scale, noise = _measured_by(chosen, nodata, fixed_range)
            nodata, seen = nodata.within(scale.low, scale.high), chosen
            if outliers:
                seen = _without_outliers(chosen, nodata, scale, noise)
            if seen is not chosen:
                scale, noise = _measured_by(seen, nodata, fixed_range)
            asked = _Asked(transform, knows_counts, fixed_range is not None)
            scale, keep_means = _for_counts(scale, noise, seen.patches, nodata, asked)
            through = _Through(net, size, nodata, scale, streams, margins)
            attention = _attention(seen.observed, through)
            if keep_means:
                scale = with_means_kept(scale, noise, through.means(seen.patches, attention))
            entries[key(channel, g)] = ChannelStatistics(
                scale.low, scale.high, scale.fill, attention, noise, samples=scale.samples
            )
    for doubt in doubts:
        log.warning("%s", doubt)
    return Calibration(model, entries, tuple(doubts))


def _measured_by(
    chosen: Choice, nodata: NoData, fixed_range: tuple[float, float] | None
) -> tuple[ValueScale, tuple[NoiseModel, ...]]:
    """The scale of the patches and the noise of each sample."""
    pixels, masks = [p.pixels for p in chosen.patches], [p.given for p in chosen.patches]
    scale = measure_scale(pixels, nodata, fixed_range, masks)
    return scale, measure_noise(pixels, nodata.within(scale.low, scale.high), masks)


def _without_outliers(
    chosen: Choice, nodata: NoData, scale: ValueScale, noise: Sequence[NoiseModel]
) -> Choice:
    """The same patches, and parts of them, with stand-ins for outliers, unless these are a few that
    the base range holds.
    """
    from unetmm.intensities.outlier_search import without_outliers

    matters = [False]

    def cleaned(patch: Patch) -> Patch:
        mask = valid_mask(patch.pixels, nodata, patch.given)
        pixels = without_outliers(patch.pixels, mask, scale, noise)
        if pixels is patch.pixels:
            return patch
        changed = np.abs(np.subtract(pixels, patch.pixels, dtype=np.float64))
        many = np.count_nonzero(changed) > FEW_OUTLIERS * changed.size
        matters[0] |= many or bool(changed.max() > scale.high - scale.low)
        return patch._replace(pixels=pixels)

    parts = [replace(one, patch=cleaned(one.patch)) for one in chosen.observed]
    patches = [cleaned(patch) for patch in chosen.patches]
    return Choice(patches, parts) if matters[0] else chosen


@dataclass(frozen=True)
class _Asked:
    """What was asked of the values' scale."""

    transform: TransformChoice
    """Way in which counts are brought to the net."""
    knows_counts: bool
    """Whether the net was trained on counts."""
    has_range: bool
    """Whether the range was given."""


def _for_counts(
    scale: ValueScale,
    noise: tuple[NoiseModel, ...],
    patches: Sequence[Patch],
    nodata: NoData,
    asked: _Asked,
) -> tuple[ValueScale, bool]:
    """The scale of counts if values are, and whether the answer's means are to be kept."""
    if asked.transform == "none" or not all(n.gain for n in noise):
        return scale, False
    some = max(1, sum(patch.pixels[..., 0].size for patch in patches) // ENOUGH_VALUES)
    values = [
        np.concatenate([_measured(patch, nodata, i)[::some] for patch in patches])
        for i in range(len(noise))
    ]
    counting = judge_counts(noise, values, asked.transform, asked.knows_counts)
    if not counting:
        return scale, False
    is_fixed = asked.has_range or patches[0].pixels.dtype == np.uint8
    return counted_scale(scale, noise, values, counting, is_fixed), counting.keep_means


def _measured(patch: Patch, nodata: NoData, sample: int) -> NDArray[Any]:
    """The measured values of one sample of a patch."""
    mask = valid_mask(patch.pixels, nodata, patch.given)
    values = patch.pixels[..., sample]
    return values.ravel() if mask is None else values[mask[..., sample]]


def _attention(observed: Sequence[Observed], through: _Through) -> dict[str, Floats]:
    """Every block's channel factors, averaged over patches."""
    found = through.factors([one.patch for one in observed])
    weights = [one.weight for one in observed]
    return {name: _mean([factors[name] for factors in found], weights) for name in found[0]}


def _mean(vectors: list[Floats], weights: list[int]) -> Floats:
    """The mean by weight. Equal weights are left out, so they round nothing."""
    different = weights if len(set(weights)) > 1 else None
    numbers = np.stack(vectors).astype(np.float64)
    return np.asarray(np.average(numbers, axis=0, weights=different), np.float32)


@dataclass(frozen=True)
class _Through:
    """Takes patches through the net, as many at once as there are streams."""

    net: CompiledNet
    """Net without attention."""
    size: tuple[int, int]
    """Height and width of a stream; patches that are smaller are mirrored."""
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

        return self._map(compare, patches)

    def _stored(self, answer: Floats, patch: Patch) -> Floats:
        """The answer in stored units."""
        from unetmm.intensities.kernel import move_bent

        with np.errstate(over="ignore", invalid="ignore"):
            values = patch.pixels.astype(np.float32)
            move_bent(values, answer, 0, self.scale.samples, 1.0, values.dtype)
        return values

    def _map(
        self,
        work: Callable[[ObservingStream, Patch, Floats, NDArray[np.bool_] | None], Found],
        patches: Sequence[Patch],
    ) -> list[Found]:
        from unetmm.engine.cpu.stream import ObservingStream

        (height, width), samples = self.size, patches[0].pixels.shape[2]
        unattended = self.net.unattended()
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
                padded[:h, w:] = padded[:h, mirrored(w, width - w)]
                padded[h:] = padded[mirrored(h, height - h)]
                return work(stream, patch, padded, mask)
            finally:
                idle.put((stream, padded))

        with ThreadPoolExecutor(self.streams.count) as pool:
            return list(pool.map(take, patches))
