"""Measures an image once, so that the answer does not depend on how the image is cut.

A seeded set of patches, placed where there is content, fixes the intensity range. They, or half of
them where the image is small, go through the net with their own global averages; the channel
attention of every block is
averaged over them. Nothing here depends on the budget, the strips or the number of workers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from unetmm.calibrate.bands import band_doubts
from unetmm.calibrate.calibration import Calibration, ChannelStatistics, key
from unetmm.calibrate.choice import Choice, Observed, choose_patches
from unetmm.calibrate.content import COPIES
from unetmm.calibrate.patches import padded_patch_size, patch_count, patch_size
from unetmm.calibrate.places import READ_PX
from unetmm.calibrate.preparing import (
    Asked,
    Prepared,
    even_values,
    lie_in_0_to_1,
    noise_share,
    not_below,
    point_rules,
    prepare,
    saturated_levels,
    scale_of_counts,
)
from unetmm.calibrate.through import Floats, PatchStreams, Through, patch_streams
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import frozen_bytes
from unetmm.engine.layout import FLOAT_BYTES
from unetmm.engine.layouts import observing_layout
from unetmm.engine.precision import Precision
from unetmm.intensities.colours import are_one_grey, colours_share_noise
from unetmm.intensities.counts import WHITE, TransformChoice, with_means_kept
from unetmm.intensities.doubts import (
    find_doubts,
    find_measured_opacity,
    find_narrow_planes,
    without_repeats,
)
from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.outliers import REACH_PX, search_bytes
from unetmm.intensities.speckle import find_speckle
from unetmm.intensities.validity import NoData
from unetmm.io.image import ImageInfo, Source
from unetmm.io.joined import as_bands
from unetmm.models.groups import Groups
from unetmm.nets.config import NetConfig

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet

log = logging.getLogger(__name__)

MARGIN_PX = 16
"""Rows and columns at the edges of a patch whose means are not compared."""
MUCH_NOISE = 0.05
"""Deviation of noise, as a share of the range, that is worth a word where none is removed."""
NOISY = (
    "its noise is about {:.0%} of the range of its values, and much of it is taken for detail; "
    "denoise it first, and sharpen or enlarge the result"
)
"""Words for it."""
SHARED = (
    "the colours have the same noise, as of a grey image saved as RGB, which a model for colours "
    "leaves; --model tiny-mono restores each by itself"
)
"""Words for a model that takes colours together which have their noise in common."""
BY_VALUE = (
    "the model sees {:.6g} to {:.6g} as 0 to 1, which is the range of this image; if it was "
    "trained on another, --range LOW,HIGH gives that (fixed_range in Python)"
)
"""Words for a range that was measured where the answer depends on it."""


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


def choosing_bytes(config: NetConfig, info: ImageInfo, net_bytes: int, nets: int) -> int:
    """Most bytes that choosing among so many nets allocates beyond `calibrate` with one of them.

    The other nets, and of every patch what each of them changes, in it and in a probe of it.
    """
    height, width = padded_patch_size(config, info)
    numbers = patch_count(info) * height * width * info.samples
    return (nets - 1) * net_bytes + (nets + 1) * FLOAT_BYTES * numbers


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
    removes_noise: bool = True,
    takes_noise: bool = False,
    by_value: bool = False,
) -> Calibration:
    """Measure an image once.

    Parameters
    ----------
    fixed_range, cores : stored values that become 0 and 1; those used at most, 0 for all.
    outliers : whether pixels that no optics can make are left out, and point sources looked for.
    transform, knows_counts : way of counts of photons to the net; whether it was trained on such.
    removes_noise : whether it is to; if not, uneven noise and point sources are not looked for.
    takes_noise : whether it was trained on noise all the same: nothing is said of much noise then.
    by_value : whether it is to see floats of 0 to 1 as they are; a measured range is said then.
    """
    info, asked = source.info, Asked(transform, knows_counts, fixed_range)
    looking = look_by(info, net, cores, asked, outliers and removes_noise)
    entries, noise = {}, 0.0
    doubts = dict.fromkeys(find_narrow_planes(info.height, info.width, len(info.planes)))
    for channel in range(info.length("C")):
        choices = choose_patches(source, channel, groups, removes_noise, fixed_range)
        for g, chosen in enumerate(choices):
            nodata = info.nodata_of(channel, groups[g])
            asked_range = fixed_range
            if by_value and fixed_range is None and lie_in_0_to_1(chosen, nodata):
                asked_range = 0.0, 1.0
            doubts |= dict.fromkeys(_doubts(chosen, nodata, info, asked_range))
            found = prepare(chosen, nodata, asked_range, outliers)
            entry = looking.measure(found)
            if by_value and asked_range is None and info.dtype != np.uint8:
                doubts[BY_VALUE.format(entry.low, entry.high)] = None
            if removes_noise:
                doubts |= dict.fromkeys(_noise_doubts(chosen, nodata, info, found))
            else:
                noise = max(noise, noise_share(found))
                entry = replace(entry, not_below=not_below(found))
            entries[key(channel, g)] = entry
    if noise > MUCH_NOISE and not takes_noise:
        doubts[NOISY.format(noise)] = None
    return Calibration(model, entries, _say(doubts))


def _say(doubts: Iterable[str]) -> tuple[str, ...]:
    """Log lines on what is doubtful, each kind once; gives them."""
    said = without_repeats(doubts)
    for doubt in said:
        log.warning("%s", doubt)
    return said


def _doubts(
    chosen: Choice, nodata: NoData, info: ImageInfo, seen: tuple[float, float] | None
) -> Iterator[str]:
    """What is doubtful in patches of a group of samples.

    seen : stored values that the net sees as 0 and 1; None where they are measured.
    """
    pixels, masks = [p.pixels for p in chosen.patches], [p.given for p in chosen.patches]
    is_grey = info.samples - info.alpha == 1
    yield from find_doubts(pixels, nodata, masks, is_grey, not info.joined, chosen.even)
    if info.alpha:
        yield from find_measured_opacity(chosen.opacity, info.samples, as_bands(info))
    if info.joined:
        yield from band_doubts(chosen, nodata, info, seen)


def _noise_doubts(
    chosen: Choice, nodata: NoData, info: ImageInfo, found: Prepared
) -> Iterator[str]:
    """What is doubtful in the noise of a group of samples, where it is to be removed."""
    yield from find_speckle(found.levels)
    if not info.joined and _share_noise(chosen, nodata, found.noise):
        yield SHARED


def _share_noise(chosen: Choice, nodata: NoData, noise: Sequence[NoiseModel]) -> bool:
    """Whether colours that go through a net together have their noise in common."""
    pairs = chosen.pairs
    if pairs[0][0].shape[-1] < 2:
        return False
    is_white = all((n.gain or n.read) and n.correlation <= WHITE for n in noise)
    return are_one_grey(pairs, nodata) or (is_white and colours_share_noise(pairs, nodata))


def look_by(info: ImageInfo, net: CompiledNet, cores: int, asked: Asked, points: bool) -> Looking:
    """What measures the channels of an image by a net."""
    (height, width), whole = patch_size(info), (info.height, info.width)
    margins = MARGIN_PX * (height < whole[0]), MARGIN_PX * (width < whole[1])
    size, streams = padded_patch_size(net.config, info), patch_streams(net.config, info, cores)
    return Looking(net, size, streams, margins, asked, points)


@dataclass(frozen=True)
class Looking:
    """How patches are looked at, whatever their channel and group of samples."""

    net: CompiledNet
    """Net without attention."""
    size: tuple[int, int]
    """Height and width of what goes through it."""
    streams: PatchStreams
    """Number of patches at once, and of threads."""
    margins: tuple[int, int]
    """Rows and columns at the edges of a patch that lack their surroundings."""
    asked: Asked
    """Choices of a user."""
    points: bool
    """Whether point sources are looked for."""

    def measure(self, found: Prepared) -> ChannelStatistics:
        """Statistics of one channel and group of samples."""
        patches, nodata, noise = found.patches, found.nodata, found.noise
        scale, keep_means = scale_of_counts(found.scale, noise, patches, nodata, self.asked)
        through = Through(self.net, self.size, nodata, scale, self.streams, self.margins)
        attention = _attention(found.observed, through)
        if keep_means:
            scale = with_means_kept(scale, noise, through.means(patches, attention))
        points = point_rules(patches, nodata, scale.as_line, noise) if self.points else ()
        return ChannelStatistics(
            scale.low, scale.high, scale.fill, attention, noise, points,
            samples=scale.samples, even=even_values(patches, nodata, noise),
            saturated=saturated_levels(patches, nodata, noise),
        )  # fmt: skip


def _attention(observed: Sequence[Observed], through: Through) -> dict[str, Floats]:
    """Every block's channel factors, averaged over patches; a local net's are known."""
    constant = through.net.constant_attention()
    if constant is not None:
        return constant
    found = through.factors([one.patch for one in observed])
    weights = [one.weight for one in observed]
    return {name: _mean([factors[name] for factors in found], weights) for name in found[0]}


def _mean(vectors: list[Floats], weights: list[int]) -> Floats:
    """The mean by weight. Equal weights are left out, so they round nothing."""
    different = weights if len(set(weights)) > 1 else None
    numbers = np.stack(vectors).astype(np.float64)
    return np.asarray(np.average(numbers, axis=0, weights=different), np.float32)
