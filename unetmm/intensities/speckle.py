"""Whether noise multiplies the signal, as that of radar, ultrasound and laser light does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from unetmm.intensities.noise import NoiseLevels

LEAST_SHARE = 0.2
"""Deviation of the noise, as a share of the signal, from which on it is spoken of: that of
amplitudes of seven looks."""
SPAN = 3.0
"""Least factor between dark and bright places by which it can be told how noise grows: that of
photons falls by 1.7 as a share of the signal."""
EVEN = 1.35
"""Largest factor between such shares where they are the same all over."""
LEAST_GROUPS = 4
"""Fewest groups of places of different brightness."""


def find_speckle(levels: Sequence[NoiseLevels]) -> Iterator[str]:
    """A line if noise is the same share of the signal everywhere; `levels` are by sample."""
    shares = [_share(one) for one in levels]
    if min(shares, default=0.0) > 0:
        yield (
            f"noise is about {max(shares):.0%} of the signal everywhere, as speckle of radar or "
            "laser light is, of which much stays in bright places; restore decibels or logarithms"
        )


def _share(levels: NoiseLevels) -> float:
    """Deviation of the noise as a share of the signal; 0 where that is not the same all over."""
    some = ~levels.clipped
    means, variances = levels.means[some], levels.variances[some]
    if len(means) < LEAST_GROUPS or means[0] <= 0 or means[-1] < SPAN * means[0]:
        return 0.0
    shares = np.sqrt(variances) / means
    is_even = shares.max() < EVEN * shares.min() and shares.min() > LEAST_SHARE
    return float(np.median(shares)) if is_even else 0.0
