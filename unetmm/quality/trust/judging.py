"""Figures -> what is wrong with a restoration, in words that say what it means and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from unetmm.quality.trust.figures import SURE, LayerFigures
from unetmm.quality.trust.noise import LayerNoise

Verdict = Literal["good", "doubtful", "wrong", "unknown"]
"""Verdict on an output: to be used, looked at, not used; unknown where it could not be told."""
Code = Literal[
    "other_image", "shifted", "warped", "values_changed", "clipped", "emptied", "gaps_changed",
    "detail_removed", "sharpened", "invented", "removed_too_much", "noise_left", "nothing_changed",
    "noise_unknown", "unlike_training", "too_small",
]  # fmt: skip
"""Names of findings."""
ORDER: tuple[Verdict, ...] = ("wrong", "doubtful", "unknown", "good")
"""Verdicts, the one that counts most first."""

LEAST_BLOCKS = 16
"""Fewest blocks by which an image is judged."""
ALIKE, MOST_GAIN = 0.3, 2.0
"""Share of power in common, and change of the slope of the means, of pictures of different things:
less than one and more than the other."""
SHIFTED_PX, LEAST_ALIKE = 0.1, 0.1
"""Smallest shift that is said, of images with all power in common, and smallest share in common by
which one can be told."""
WARPED_PX = 0.25
"""Smallest distance between the shifts of a region and of the whole that is said."""
BIASED, WRONG_BIAS = 0.01, 0.03
"""Shares of the range by which means may differ until it is doubtful, and until it is wrong."""
BENT = 0.4
"""Share of a change of means that no straight line explains, from which on it is bent."""
CLIPPED, WRONG_CLIPPED = 0.001, 0.005
"""Shares of pixels that were clipped until it is doubtful, and until it is wrong."""
SEEN = 0.15
"""Structure of a band, as a multiple of noise, from which on its loss is believed."""
LOST_SHARE = 0.004
"""Share of structure's strength that has to be missing besides, so that images without noise are
not taken at their word."""
GAINED = 1.12
"""Strength of structure from which on that is sharpening, not invention."""
SMALLEST_SHARE = 0.0005
"""Smallest share of an image that is told."""
SUSPICIOUS = 4
"""Number of blocks that the input hardly bears out, from which on something was made up."""
OVERDONE = -0.05
"""Noise left, as a share of its amplitude, below which more was removed than there was."""
LEFT = 0.25
"""Noise left, as a share of its amplitude, from which on it is said."""
UNCHANGED = 0.05
"""Share of noise removed below which nothing was restored."""


@dataclass(frozen=True)
class Limits:
    """What is borne of what noise alone may explain."""

    detail: tuple[float, float]
    """Power of what was removed where there is structure, as a multiple of noise: until it is
    doubtful, and until it is wrong."""
    kept: tuple[float, float]
    """Strength of structure below which it is doubtful, and below which it is wrong."""
    suspicious: tuple[float, float]
    """Share of blocks that the input hardly bears out, from which on something was made up:
    doubtful, and wrong."""
    impossible: tuple[float, float]
    """Share of blocks that it does not bear out at all, above which something was."""
    excess: tuple[float, float]
    """Power of the output, as a share of what it has in common with the input, above which it was
    made stronger than it is."""


LIMITS = Limits((1.45, 2.5), (0.9, 0.75), (0.004, 0.004), (0, 0), (1.05, 1.15))
"""Limits where the noise is known by the flattest places."""
PHOTO_LIMITS = Limits((3.2, 16), (0.75, 0.4), (0.05, 0.15), (0.02, 0.1), (1.05, 1.15))
"""Limits for photographs, whose cameras leave more noise where there is structure."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or doubtful, about an output."""

    code: Code
    """Name of it."""
    verdict: Verdict
    """Verdict that follows from it."""
    text: str
    """Sentence that says what it means, and what to do."""
    layer: str = ""
    """Name of the channel or colour; empty where there is only one."""


def find(
    figures: LayerFigures,
    noise: LayerNoise,
    strength: float = 1.0,
    unlike: str = "",
    limits: Limits = LIMITS,
) -> list[Finding]:
    """Everything that is wrong with one layer; what explains the rest comes first, and alone.

    Parameters
    ----------
    strength : share of the change that was kept, as the output says.
    unlike : in what the input is unlike what nets are trained on.
    """
    found = _find(figures, noise, strength, limits)
    return [*found, Finding("unlike_training", "good", unlike)] if unlike else found


def _find(
    figures: LayerFigures, noise: LayerNoise, strength: float, limits: Limits
) -> list[Finding]:
    if figures.blocks < LEAST_BLOCKS:
        return [
            Finding(
                "too_small", "unknown",
                f"Only {figures.blocks} blocks of 32 px could be compared, which says nothing.",
            )
        ]  # fmt: skip
    if not figures.changed_share:
        text = "Input and output are the same, pixel by pixel; nothing was restored."
        return [Finding("nothing_changed", "good", text)]
    if figures.is_emptied:
        text = (
            "All pixels of the output have one value, and those of the input do not: nothing of "
            "the image is left. Restore to a pixel type that holds it, as float32."
        )
        return [Finding("emptied", "wrong", text)]
    # Noise with its sign turned looks like a shift, and structure like nothing that was there.
    found = list(_noise(figures, noise, strength)) if figures.noise_left < OVERDONE else []
    found = found or list(_place(figures))
    if found:
        return found
    found = [*_values(figures), *_gaps(figures)]
    if not any(one.code == "values_changed" for one in found):
        found += _invented(figures, limits)
    found += _detail(figures, limits)
    if noise.is_known:
        found += _noise(figures, noise, strength)
    else:
        text = "The input has no noise that can be told, so what was removed is not compared to it."
        found.append(Finding("noise_unknown", "good", text))
    return found


def _place(figures: LayerFigures) -> Iterator[Finding]:
    """Whether both images show the same thing at the same place."""
    shift = figures.shift
    is_alike = 1 / MOST_GAIN < figures.gain < MOST_GAIN or figures.bias_sure < SURE
    if shift.coherence < ALIKE and not is_alike:
        yield Finding(
            "other_image", "wrong",
            "Input and output have next to nothing in common. Check that the output was made of "
            "this input.",
        )  # fmt: skip
        return
    # With little in common, chance of a few photons looks like a small shift.
    far = max(SHIFTED_PX / max(shift.coherence, LEAST_ALIKE), SURE * shift.error_px)
    if shift.coherence > LEAST_ALIKE and shift.distance_px > far:
        yield Finding(
            "shifted", "wrong",
            f"The output is shifted by {shift.down_px:+.2f} px down and {shift.right_px:+.2f} px "
            "to the right. Do not measure places in it; move it back, or restore again.",
        )  # fmt: skip
    if figures.warp_px > max(WARPED_PX, SURE * shift.error_px):
        yield Finding(
            "warped", "wrong",
            f"Regions are shifted differently, by up to {figures.warp_px:.2f} px: the output is "
            "scaled, turned or bent. Do not measure places in it.",
        )  # fmt: skip


def _values(figures: LayerFigures) -> Iterator[Finding]:
    """Whether values mean what they meant."""
    share, sure = figures.bias_share, figures.bias_sure
    low, high = figures.clipped
    clipped = max(low, high)
    if clipped > CLIPPED:
        end = "bright" if high >= low else "dark"
        yield Finding(
            "clipped", "wrong" if clipped > WRONG_CLIPPED else "doubtful",
            f"{clipped:.2%} of the pixels were cut off at the {end} end. Do not measure there; "
            "restore to a pixel type that holds them.",
        )  # fmt: skip
    if share > BIASED and sure > SURE:
        if figures.bend_share > BENT * share:
            what = "not in proportion, as by a gamma curve or by clipping"
        elif abs(figures.gain - 1) > BIASED:
            what = f"multiplied by {figures.gain:.3g}, {figures.offset:+.3g} added"
        else:
            what = f"{figures.offset:+.3g} added"
        yield Finding(
            "values_changed", "wrong" if share > WRONG_BIAS else "doubtful",
            f"Means differ by up to {share:.1%} of the range: {what}. Do not compare intensities "
            "with the input's before that is mended.",
        )  # fmt: skip


def _gaps(figures: LayerFigures) -> Iterator[Finding]:
    if figures.gap_share > 0:
        yield Finding(
            "gaps_changed", "doubtful",
            f"{figures.gap_share:.2%} of the pixels are measured in one of the images only. Values "
            "were filled in there, or lost.",
        )  # fmt: skip


def _invented(figures: LayerFigures, limits: Limits) -> Iterator[Finding]:
    """Whether the output shows what the input does not bear out."""
    gains = figures.strong_gains
    if max(gains, default=0) > GAINED and figures.excess > limits.excess[0]:
        yield Finding(
            "sharpened", "wrong",
            f"Structure is up to {max(gains):.2f} times as strong as in the input: the output is "
            "sharpened. Its edges are not to be measured; use a model that only removes noise.",
        )  # fmt: skip
        return
    doubtful, wrong = (_is_invented(figures, limits, i) for i in (0, 1))
    if doubtful:
        where = ""
        if figures.spots:
            spot = figures.spots[0]
            where = f" Look at row {spot.row}, column {spot.column} first."
        share = max(figures.unlikely_share, figures.impossible / max(1, figures.blocks))
        more = figures.excess - 1
        if share < SMALLEST_SHARE and 0 < more < math.inf:
            what = f"Structure has {more:.0%} more power than the input bears out"
        else:
            place = f"In {share:.1%} of" if share >= SMALLEST_SHARE else "All over"
            what = f"{place} the image the output has structure that the input does not bear out"
        yield Finding(
            "invented", "wrong" if wrong else "doubtful",
            f"{what}: it is made up, or made stronger.{where}",
        )  # fmt: skip


def _is_invented(figures: LayerFigures, limits: Limits, level: int) -> bool:
    """Whether more is in the output than a limit bears: 0 until it is doubtful, 1 wrong."""
    count = figures.unlikely_share * figures.blocks
    return bool(
        count >= max(SUSPICIOUS, limits.suspicious[level] * figures.blocks)
        or figures.impossible > limits.impossible[level] * figures.blocks
        or figures.excess > limits.excess[level]
    )


def _detail(figures: LayerFigures, limits: Limits) -> Iterator[Finding]:
    """Whether structure went with the noise."""
    kept = min(figures.strong_gains, default=1.0)
    bands = (b for b in figures.bands[1:] if b.structure > SEEN and b.gain < 1 - LOST_SHARE)
    removed = max((band.removed for band in bands), default=0.0)
    (most, wrong_most), (least, wrong_least) = limits.detail, limits.kept
    if removed <= most and kept >= least:
        return
    is_wrong = removed > wrong_most or kept < wrong_least
    what = (
        f"{1 - kept:.0%} of fine structure is gone"
        if kept < least
        else f"where there is structure, {removed:.1f} times as much was removed as noise explains"
    )
    yield Finding(
        "detail_removed", "wrong" if is_wrong else "doubtful",
        f"Detail went with the noise: {what}. Use a lower --strength, or another model.",
    )  # fmt: skip


def _noise(figures: LayerFigures, noise: LayerNoise, strength: float) -> Iterator[Finding]:
    """Whether noise was removed, and no more than that."""
    left = figures.noise_left
    if left < OVERDONE:
        yield Finding(
            "removed_too_much", "wrong",
            f"More was removed than there was: noise is back with its sign turned "
            f"({-left:.0%} of it). Use a strength of 1 at most.",
        )  # fmt: skip
    elif figures.noise_removed < UNCHANGED and not noise.is_sure:
        text = "Hardly anything was changed."
        yield Finding("nothing_changed", "good", text)
    elif left > LEFT + (1 - strength):
        yield Finding(
            "noise_left", "doubtful",
            f"{left:.0%} of the noise is still there, in flat places. Use a higher --strength, or "
            "another model.",
        )  # fmt: skip


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of several."""
    return next((v for v in ORDER if v in verdicts), "good")
