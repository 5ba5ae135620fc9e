"""Estimates how wrong a net is on an image, without a clean one.

The squared change that a net makes, and how the net answers to a little more of the noise that the
image has, together tell its squared error: noise that it lets through comes back in the answer.

Source: C. Stein, Estimation of the mean of a multivariate normal distribution, 1981, for any
covariance; S. Ramani, T. Blu, M. Unser, Monte-Carlo SURE, 2008, for nets as black boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.calibration import ChannelStatistics
from unetmm.calibrate.choice import Choice, Observed
from unetmm.calibrate.measure import Looking
from unetmm.calibrate.places import Patch
from unetmm.calibrate.preparing import Prepared, prepare
from unetmm.calibrate.through import Floats, Through
from unetmm.intensities.counts import holding_noise
from unetmm.intensities.image_noise import ImageNoise, noise_of
from unetmm.intensities.range import BYTES, ValueScale, fits_float32
from unetmm.intensities.smear import BLOCK_PX, block_view, measure_smear
from unetmm.intensities.validity import NOTHING, NoData, valid_mask

JUDGED_PX = 2**17
"""Number of pixels of a channel from which on no more patches are judged."""
PROBE = 0.25
"""Noise that is added to see how a net answers, as a share of what there is."""
FLAT_QUANTILE = 0.2
"""Quantile of what a net changes in blocks, which tells what it takes for noise in flat places."""
HARDLY_ANY = 0.6 / 255
"""Noise in flat places, as a share of the range, below which there is hardly any."""
BEYOND = 0.5
"""Distance from the base range, as a share of its width, from which on content is not judged: it is
restored in wider ranges, which the bare net knows nothing of."""
MOST_DEVIATIONS = 6.0
"""Largest change that counts, in deviations of the noise; sources that nets dim are given back."""
MASKED_SHARE = 0.5
"""Smallest measured share of a patch that is judged."""


class Probe(NamedTuple):
    """Noise that is added to a patch."""

    noise: Floats
    """Noise in stored units, (height, width, samples)."""
    deviation: Floats
    """Deviation of the noise of each pixel."""


@dataclass(frozen=True)
class Judged:
    """How a net does on one channel and group of samples."""

    risk: float
    """Estimated squared error as a share of the noise's variance; chance may take it below 0."""
    removed: float
    """Squared change, as a share of the noise's variance."""
    removed_in_flats: float
    """Deviation of the change in flat places, as a share of the range."""
    regular: float = 0.0
    """Correlation of far pixels in what is removed, where the image has a regular pattern."""


@dataclass(frozen=True)
class Bench:
    """Patches of one channel and group of samples, for nets to be judged on."""

    measured: Prepared
    """Patches that statistics are measured by, without outliers."""
    noise: ImageNoise
    """Noise that was found."""
    judged: list[Patch]
    """Patches that are restored, as floats, with the mask of what is measured."""
    counted: list[NDArray[np.bool_]]
    """Pixels (height, width, samples) of each that count: measured, and far from what lies beyond
    the base range."""
    far_share: float
    """Share of all pixels looked at that are near what lies beyond it, and do not count."""

    @classmethod
    def of(
        cls,
        chosen: Choice,
        nodata: NoData,
        fixed_range: tuple[float, float] | None,
        outliers: bool,
    ) -> Bench | None:
        """Make one of an image's patches; None where noise cannot be told from them."""
        measured = prepare(chosen, nodata, fixed_range, outliers)
        pixels, masks = [p.pixels for p in measured.patches], [p.given for p in measured.patches]
        noise = noise_of(measured.noise, pixels, nodata, masks)
        judged = _floats(measured.observed, nodata)
        if noise is None or not judged:
            return None
        # Many times as far as all others may some pixels of few photons be, by chance.
        base = holding_noise(measured.scale, measured.noise, pixels[0].dtype)
        far = [_beside_far(patch, base) for patch in judged]
        pairs = zip(judged, far, strict=True)
        counted = [_known(patch) & ~beside[..., None] for patch, beside in pairs]
        looked_at = [_beside_far(patch, base).mean() for patch in measured.patches]
        share = float(np.mean(looked_at))
        return cls(measured, noise, judged, counted, share)

    @property
    def level_share(self) -> float:
        """Level of the noise as a share of the range; of all 8 bits where the image has these:
        cameras and compression leave as much in dark images as in bright ones."""
        is_bytes = self.measured.patches[0].pixels.dtype == np.uint8
        low, high = BYTES if is_bytes else (self.measured.scale.low, self.measured.scale.high)
        return self.noise.level / float(high - low)

    def statistics(self, looking: Looking) -> ChannelStatistics:
        """What a net is given of this channel."""
        return looking.measure(self.measured)

    def changes(
        self, looking: Looking, stats: ChannelStatistics, patches: list[Patch]
    ) -> list[Floats]:
        """What a net changes in patches, in stored units."""
        through = Through(
            looking.net, looking.size, NOTHING, stats, looking.streams, looking.margins
        )
        return through.changes(patches, stats.attention)

    def probes(self, signal: list[Floats], in_common: bool = False) -> list[Probe]:
        """Noise as the patches have it, where their signal is about this.

        in_common : whether all samples have the same noise, each with its own deviation.
        """
        found = []
        for k, values in enumerate(signal):
            deviation = np.asarray(self.noise.deviation(values), np.float32)
            drawn = [
                smear.draw(values.shape[:2], np.random.default_rng((k, 0 if in_common else i)))
                for i, smear in enumerate(self.noise.smears)
            ]
            noise = np.asarray(np.stack(drawn, -1) * deviation, np.float32)
            found.append(Probe(noise, deviation))
        return found

    def judge(self, changes: list[Floats], probes: list[Probe], probed: list[Floats]) -> Judged:
        """How a net does, by what it changes in the patches, and with some of the noise added."""
        width = np.float32(self.measured.scale.high - self.measured.scale.low)
        squares = answers = variance = 0.0
        flats = []
        for known, changed, probe, other in zip(self.counted, changes, probes, probed, strict=True):
            # As shares of the range, whose squares any scale of values leaves in their type.
            change, noise = changed / width, probe.noise / width
            most = MOST_DEVIATIONS * (probe.deviation[known] / width)
            drawn, moved = noise[known], ((other - changed)[known] / width) / PROBE
            seen = np.minimum(np.abs(change[known]), most)
            squares += float(np.square(seen, dtype=np.float64).sum())
            answers += float((drawn * (drawn + moved)).sum(dtype=np.float64))
            variance += float(np.square(drawn, dtype=np.float64).sum())
            for i in range(change.shape[-1]):
                expected = block_view(noise[..., i]).var((1, 2))
                noisy = expected > HARDLY_ANY**2
                flats.append(block_view(change[..., i]).var((1, 2))[noisy])
        if not variance:
            return Judged(0.0, 0.0, 0.0)
        in_flats = np.concatenate(flats)
        in_flats = in_flats[np.isfinite(in_flats)]
        flat = float(np.quantile(in_flats, FLAT_QUANTILE)) if in_flats.size else 0.0
        return Judged(
            (squares + 2 * answers) / variance - 1,
            squares / variance,
            float(np.sqrt(flat)),
            self._regular(changes),
        )

    def _regular(self, changes: list[Floats]) -> float:
        """Correlation of far pixels in changes of an image with a regular pattern."""
        if not self.noise.is_regular:
            return 0.0
        finite = [np.nan_to_num(change) for change in changes]
        return max((smear.far for smear in measure_smear(finite) if smear), default=0.0)


def _beside_far(patch: Patch, base: ValueScale) -> NDArray[np.bool_]:
    """Pixels of blocks, and of those beside them, that hold values far beyond the base range."""
    margin = BEYOND * (base.high - base.low)
    with np.errstate(invalid="ignore"):
        pixels = patch.pixels
        far = ((pixels > base.high + margin) | (pixels < base.low - margin)).any(-1)
    height, width = far.shape
    rows, columns = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    whole = np.zeros((rows * BLOCK_PX, columns * BLOCK_PX), bool)
    whole[:height, :width] = far
    blocks = np.pad(whole.reshape(rows, BLOCK_PX, columns, BLOCK_PX).any((1, 3)), 1)
    blocks = blocks[:-2] | blocks[1:-1] | blocks[2:]
    blocks = blocks[:, :-2] | blocks[:, 1:-1] | blocks[:, 2:]
    return blocks.repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)[:height, :width]


def _known(patch: Patch) -> NDArray[np.bool_]:
    """Where a patch of floats holds a measurement."""
    found: NDArray[np.bool_] = np.isfinite(patch.pixels)
    return found if patch.given is None else found & patch.given[..., None]


def _floats(observed: Sequence[Observed], nodata: NoData) -> list[Patch]:
    """Patches as floats, each with the mask of what all its samples measure; not more than are
    worth it.
    """
    found: list[Patch] = []
    count_px = 0
    for patch in (one.patch for one in observed):
        if count_px >= JUDGED_PX:
            break
        mask = valid_mask(patch.pixels, nodata, patch.given)
        given = None if mask is None else np.asarray(mask.all(-1))
        if given is not None and given.mean() < MASKED_SHARE:
            continue
        dtype = np.float32 if fits_float32(patch.pixels.dtype) else np.float64
        found.append(Patch(patch.pixels.astype(dtype), given))
        count_px += patch.pixels[..., 0].size
    return found
