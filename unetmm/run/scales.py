"""Says on which scale counts of photons were restored."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from unetmm.calibrate.calibration import Calibration, ChannelStatistics
from unetmm.intensities.counts import fewest_counts
from unetmm.intensities.rounding import RoundingChoice
from unetmm.io.image import ImageInfo
from unetmm.options import Options

log = logging.getLogger(__name__)


def say_scales(calibration: Calibration) -> None:
    """Log a line for each channel whose values are taken for counts of photons."""
    for name, entry in calibration.entries.items():
        if any(sample.gain for sample in entry.samples):
            channel = f"channel {name.split('.')[0]}: " if len(calibration.entries) > 1 else ""
            log.info(
                "%snoise grows with the signal (%s); restored on a square-root scale",
                channel,
                _in_words(entry),
            )


def say_few(calibration: Calibration, dtype: np.dtype[Any], rounding: RoundingChoice) -> None:
    """Log that whole numbers will not hold the answer, before hours are spent on it."""
    if dtype.kind == "f" or rounding != "nearest":
        return
    entries = calibration.entries.values()
    counts = fewest_counts((entry.fill, entry.noise, ()) for entry in entries)
    if counts is not None:
        log.info(
            "a signal of about %.2g counts a pixel: %s will not hold what is restored; "
            "--dtype float32 does",
            counts, dtype,
        )  # fmt: skip


def say_bands(info: ImageInfo, options: Options) -> None:
    """Log which bands go through the net together, where nobody chose them, and on which scale."""
    if not info.joined:
        return
    if not (options.select and options.select.bands):
        log.info(
            "bands %s go through the net together, in this order; --bands gives another",
            ", ".join(bands_in(info)),
        )
    if options.fixed_range is None and options.seen_range is not None:
        log.info(
            "the net sees the stored values %g to %g as it was made for them; --range gives others",
            *options.seen_range,
        )


def bands_in(info: ImageInfo) -> tuple[str, ...]:
    """Names, or numbers from 1, of bands that go through a net together; none of other images."""
    return tuple(name or str(i) for i, name in enumerate(info.joined, 1))


def say_unused(calibration: Calibration, wanted: int) -> None:
    """Warn of given statistics that are of more channels than the image has.

    wanted : channels of the image, counted with the groups of samples of each.
    """
    count = len(calibration.entries)
    if count > wanted:
        log.warning(
            "the calibration is of %d channels and the image has %d: the first of them %s used, "
            "whichever channels were chosen; calibrate on an image with the same channels",
            count,
            wanted,
            "is" if wanted == 1 else "are",
        )


def _in_words(entry: ChannelStatistics) -> str:
    """Gain and noise of all samples."""
    gains = ", ".join(f"{sample.gain:.3g}" for sample in entry.samples)
    dark = ", ".join(f"{noise.read:.3g}" for noise in entry.noise)
    told = f"a photon is worth {gains}"
    return f"{told}, the darkest noise {dark}" if dark else told


def counts_as_dict(calibration: Calibration) -> dict[str, Any]:
    """Scales of counts for a report, by channel and group of samples; empty where there are none.

    `shift` and `slope` say what is added to the answer so that its means are those of the input.
    """
    return {
        name: [
            {
                "transform": "anscombe" if sample.gain else "none",
                "gain": sample.gain,
                "shift": sample.shift,
                "slope": sample.slope,
            }
            for sample in entry.samples
        ]
        for name, entry in calibration.entries.items()
        if entry.samples
    }
