"""Measures an image once, so that the answer does not depend on how the image is cut.

A seeded set of patches, placed where there is content, fixes the intensity range. They, or half of
them where the image is small, go through the net with their own global averages; the channel
attention of every block is
averaged over them. Nothing here depends on the budget, the strips or the number of workers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.calibration import Calibration, ChannelStatistics, key
from unetmm.calibrate.choice import Choice, Observed, choose_patches
from unetmm.calibrate.content import COPIES
from unetmm.calibrate.patches import observed_patches, padded_patch_size, patch_count
from unetmm.calibrate.places import READ_PX, Patch
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import frozen_bytes, observing_bytes
from unetmm.engine.layout import FLOAT_BYTES, observing_layout
from unetmm.engine.precision import Precision
from unetmm.geometry import mirrored
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

log = logging.getLogger(__name__)

COLUMNS_PX = 32
"""Fewest columns of a patch for a thread; with fewer it would mostly wait."""
FEW_OUTLIERS = 1 / 2000
"""Share of a patch up to which outliers that the base range holds do not change what is measured;
photos have as many details like them."""
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
    observing = streams.count * streams.each_bytes + matrices
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
) -> Calibration:
    """Measure an image once.

    Parameters
    ----------
    fixed_range : stored values that become 0 and 1, instead of the measured ones.
    cores : used at most; 0 for all.
    outliers : whether pixels that no optics can make are left out.
    """
    entries = {}
    info = source.info
    doubts: dict[str, None] = {}
    streams, size = patch_streams(net.config, info, cores), padded_patch_size(net.config, info)
    for channel in range(info.length("C")):
        for g, chosen in enumerate(choose_patches(source, channel, groups)):
            nodata = info.nodata_of(channel, groups[g])
            pixels, masks = [p.pixels for p in chosen.patches], [p.given for p in chosen.patches]
            doubts |= dict.fromkeys(find_doubts(pixels, nodata, masks))
            scale = measure_scale(pixels, nodata, fixed_range, masks)
            nodata = nodata.within(scale.low, scale.high)
            noise = measure_noise(pixels, nodata, masks)
            seen = chosen.observed
            if outliers:
                patches, seen = _without_outliers(chosen, nodata, scale, noise)
                if any(a is not b for a, b in zip(patches, chosen.patches, strict=True)):
                    pixels = [patch.pixels for patch in patches]
                    scale = measure_scale(pixels, nodata, fixed_range, masks)
                    noise = measure_noise(pixels, nodata, masks)
            attention = _attention(seen, size, nodata, net, scale, streams)
            entries[key(channel, g)] = ChannelStatistics(
                scale.low, scale.high, scale.fill, attention, noise
            )
    for doubt in doubts:
        log.warning("%s", doubt)
    return Calibration(model, entries, tuple(doubts))


def _without_outliers(
    chosen: Choice, nodata: NoData, scale: ValueScale, noise: Sequence[NoiseModel]
) -> tuple[list[Patch], list[Observed]]:
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
    return (patches, parts) if matters[0] else (list(chosen.patches), list(chosen.observed))


def _attention(
    observed: Sequence[Observed],
    size: tuple[int, int],
    nodata: NoData,
    net: CompiledNet,
    scale: ValueScale,
    streams: PatchStreams,
) -> dict[str, NDArray[np.float32]]:
    """Every block's channel factors, averaged over patches."""
    found = _observe([one.patch for one in observed], size, nodata, net, scale, streams)
    weights = [one.weight for one in observed]
    return {name: _mean([factors[name] for factors in found], weights) for name in found[0]}


def _mean(vectors: list[NDArray[np.float32]], weights: list[int]) -> NDArray[np.float32]:
    """The mean by weight. Equal weights are left out, so they round nothing."""
    different = weights if len(set(weights)) > 1 else None
    numbers = np.stack(vectors).astype(np.float64)
    return np.asarray(np.average(numbers, axis=0, weights=different), np.float32)


def _observe(
    patches: Sequence[Patch],
    size: tuple[int, int],
    nodata: NoData,
    net: CompiledNet,
    scale: ValueScale,
    streams: PatchStreams,
) -> list[dict[str, NDArray[np.float32]]]:
    """Channel factors of every block for each patch; what is smaller than a patch is mirrored."""
    from unetmm.engine.cpu.stream import ObservingStream

    height, width = size
    samples = patches[0].pixels.shape[2]
    unattended = net.unattended()

    idle: SimpleQueue[tuple[ObservingStream, NDArray[np.float32]]] = SimpleQueue()
    for _ in range(streams.count):
        stream = ObservingStream(net, unattended, width, height, streams.threads)
        idle.put((stream, np.zeros((height, width, samples), np.float32)))

    def observe(patch: Patch) -> dict[str, NDArray[np.float32]]:
        stream, padded = idle.get()
        h, w = patch.pixels.shape[:2]
        try:
            mask = valid_mask(patch.pixels, nodata, patch.given)
            normalise(patch.pixels, mask, scale, padded[:h, :w])
            padded[:h, w:] = padded[:h, mirrored(w, width - w)]
            padded[h:] = padded[mirrored(h, height - h)]
            return stream.observe(padded)
        finally:
            idle.put((stream, padded))

    with ThreadPoolExecutor(streams.count) as pool:
        return list(pool.map(observe, patches))
