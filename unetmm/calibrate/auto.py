"""Chooses a model by looking at the image: by its noise, and by how each candidate does on it.

A net for white noise is best where noise is white. Where noise is smeared, grows with the signal,
or is anything else, that net leaves much of it in, and one that knows such noise is taken. What is
estimated of the errors decides; where it is close, what is known of the noise does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.choice import Choice, choose_patches
from unetmm.calibrate.measure import Looking, look_by
from unetmm.calibrate.preparing import Asked
from unetmm.calibrate.risk import HARDLY_ANY, PROBE, Bench, Judged
from unetmm.intensities.colours import are_one_grey, colours_are_unlike, colours_share_noise
from unetmm.intensities.counts import TransformChoice, fewest_counts
from unetmm.intensities.doubts import Pairs, values_differ_much
from unetmm.intensities.drawn import is_drawn
from unetmm.intensities.image_noise import GROWS, ImageNoise, channels_looked_at, in_words
from unetmm.intensities.labels import labels_in_words
from unetmm.intensities.validity import NoData
from unetmm.io.image import Source
from unetmm.models.choice import ModelChoice, candidate_names
from unetmm.models.groups import sample_groups
from unetmm.models.weights import Model, load_model

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet

SMEARED = 0.45
"""Correlation of neighbours from which on the net for white noise is not taken."""
HARDLY_WHITE = 0.12
"""Share of the noise that is independent from pixel to pixel, below which it is not taken too."""
CLOSE, CLOSE_SHARE = 0.02, 0.05
"""Difference of estimated errors, as a share of the noise and of the error, that says nothing."""
GAIN = 0.03
"""Gain, as a share of the noise, from which on the second candidate is taken instead of the first;
twice of it for the third, which is made for any noise and not for white noise."""
LITTLE = 0.1
"""Gain, and what a candidate removes, as shares of the noise, up to which what is smeared may as
well be texture that the candidate keeps; where much is removed, the level was taken for too low."""
WEAK = 0.02
"""Level of noise, as a share of the range, below which fine texture is as strong."""
ANSWERED = 0.03
"""Smallest share of independent noise that the net for it removes where it can tell it."""
FAR_SHARE = 0.01
"""Share of an image near what lies far beyond its base range, from which on growth with the signal
says nothing."""
FEW_PHOTONS = 4.0
"""Photons of bright pixels below which the net for white noise leaves much of it, and errors are
estimated too roughly: those estimates are for noise that is normally distributed."""
TAKEN_FOR_CONTENT = 0.15
"""Share of the noise from which on it is more than a net for colours leaves for other reasons. Of
what is alike in all colours that net takes noise for content; a net for one colour does not. Clean
and compressed photographs, whose fine texture is alike in all colours too, have 0.1 at most."""
OWN_ERROR = 0.25 / 255
"""Deviation of what nets change in a clean image, as a share of the range: less noise than that
only grows."""
FAINT = 1 / 255
"""Level of smeared noise, as a share of the range, below which nobody sees it, and what looks like
it is mostly texture."""
MOSTLY_REMOVED = 0.5
"""Estimated error, as a share of the noise, below which a net removes most of it."""
PATTERN_TAKEN = 0.3
"""Correlation of far pixels in what a model removes, from which on that is a part of a pattern."""
REMOVED_SHARE = 0.7
"""Smallest share of what another removes in flat places that a candidate has to remove as well."""
DRAWN = (
    "it is a drawing, a text or a screenshot without noise, and is left as it is; --model NAME "
    "restores it all the same"
)
"""Reason for leaving an image alone."""
PATTERN = (
    "all models would take its regular pattern for noise in part, so it is left as it is; "
    "--model NAME restores it all the same"
)
"""Reason for leaving a pattern alone that no net keeps."""
CLEAN = (
    "it has less noise than a model changes by itself, so it is left as it is; --model NAME "
    "restores it all the same"
)
"""Reason for leaving an image alone that is clean."""
SHARED = "its colours have the same noise, so each is restored by itself"
"""Reason for restoring colours one by one whose noise a net for colours would leave."""
UNLIKE = "its colours show different things, so each is restored by itself"
"""Reason for the same where they have no content in common."""
LABELS = "{}, and is left as it is; --model NAME restores it all the same"
"""Reason for leaving labels alone, whose numbers are names."""


@dataclass(frozen=True)
class ChoiceTerms:
    """What a run was asked for that bears on the choice."""

    choice: str | None = None
    """Name of the choice, see `CANDIDATES`; None is auto."""
    fixed_range: tuple[float, float] | None = None
    """Stored values that become 0 and 1."""
    transform: TransformChoice = "auto"
    """Way in which counts are brought to a net."""
    outliers: bool = True
    """Whether outliers are left out of what nets see."""
    cores: int = 0
    """Most cores that are used; 0 for all."""


def choose_model(
    source: Source, fold: Callable[[Model], CompiledNet], terms: ChoiceTerms
) -> tuple[Model, ModelChoice]:
    """The model of the zoo that fits an image, by some patches of it.

    Depends on nothing but pixels: not on the cut, the number of cores or the budget.

    Parameters
    ----------
    fold : makes a model ready for the compiled kernels.
    """
    names = candidate_names(terms.choice, source.info)
    if len(names) == 1:
        return load_model(names[0]), ModelChoice(names[0], "the only model for such images")
    colours = tuple(range(source.info.samples - source.info.alpha))
    seen = next(iter(choose_patches(source, 0, [colours], False, terms.fixed_range)))
    if is_drawn([patch.pixels for patch in seen.patches]):
        return load_model(names[0]), ModelChoice(names[0], DRAWN, leaves_alone=True)
    one_channel = source.info.length("C") == 1
    if one_channel and (words := labels_in_words(*map(list, zip(*seen.pairs, strict=True)))):
        reason = LABELS.format(words)
        return load_model(names[0]), ModelChoice(names[0], reason, leaves_alone=True)
    nodata = source.info.nodata_of(0, colours)
    why, contest = _contest(source, fold, terms, seen, nodata)
    models, benches = contest.models, contest.benches
    if not benches:
        reason = why or "too small or too even to tell what its noise is like"
        return models[0], ModelChoice(models[0].name, reason)
    if why == SHARED and not all(bench.noise.is_white for bench in benches):
        chosen: int | None = 0
        reason = f"what else there is may be fine texture, which {models[0].name} keeps"
    else:
        chosen, reason = _decide(contest)
    left_alone = chosen is None
    chosen = chosen or 0
    errors = tuple((m.name, risk) for m, risk in zip(models, contest.risks, strict=True))
    reason = f"{why}; {reason}" if why else reason
    words = in_words([bench.noise for bench in benches])
    counts = None
    if source.info.dtype.kind != "f":
        counts = fewest_counts(
            (one.scale.fill, one.noise, one.levels) for one in (b.measured for b in benches)
        )
    model = models[chosen]
    return model, ModelChoice(model.name, reason, words, errors, left_alone, counts)


def _contest(
    source: Source,
    fold: Callable[[Model], CompiledNet],
    terms: ChoiceTerms,
    seen: Choice,
    nodata: NoData,
) -> tuple[str, Contest]:
    """The models that fit an image, and why it is restored colour by colour, if it is."""
    pairs = seen.pairs
    if why := _why_one_by_one(pairs, nodata):
        return why, _hold(source, fold, terms, seen, one_by_one=True)
    in_common = colours_share_noise(pairs, nodata)
    together = _hold(source, fold, terms, seen, in_common=in_common)
    if (in_common or colours_are_unlike(pairs, nodata)) and together.benches:
        alone = _hold(source, fold, terms, seen, one_by_one=True)
        margin = TAKEN_FOR_CONTENT if in_common else 0.0
        if alone.benches and alone.risks[0] < min(together.risks) - margin:
            return (SHARED if in_common else UNLIKE), alone
    return "", together


def _why_one_by_one(pairs: Pairs, nodata: NoData) -> str:
    """Why no net for colours fits an image, whatever its noise; empty if one may."""
    if pairs[0][0].shape[-1] < 2:
        return ""
    if values_differ_much(pairs, nodata):
        return "its colours span very different ranges, so each is restored by itself"
    if are_one_grey(pairs, nodata):
        return "its colours are the same or empty, so each is restored by itself"
    return ""


def _benches(source: Source, model: Model, terms: ChoiceTerms, first: Choice) -> list[Bench]:
    """Patches of some channels, as far as their noise can be told.

    first : patches of all colours of the first channel, which are not read again.
    """
    info, groups = source.info, sample_groups(model.config, source.info)
    found = []
    for channel in channels_looked_at(info.length("C")):
        if channel == 0 and len(groups) == 1:
            choices: Iterable[Choice] = (first,)
        else:
            choices = choose_patches(source, channel, groups, False, terms.fixed_range)
        for g, chosen in enumerate(choices):
            nodata = info.nodata_of(channel, groups[g])
            found.append(Bench.of(chosen, nodata, terms.fixed_range, terms.outliers))
    return [bench for bench in found if bench is not None]


@dataclass(frozen=True)
class Contest:
    """Models of one kind, and how they do on an image."""

    models: list[Model]
    """Models that an image may get; the first is the one for white noise."""
    benches: list[Bench]
    """Patches that they are judged on; none if no noise could be told."""
    found: list[list[Judged]]
    """Judgement of each model on each of these."""

    @property
    def risks(self) -> list[float]:
        """Estimated error of each model, as a share of the noise."""
        return self._means(lambda one: one.risk)

    @property
    def removed(self) -> list[float]:
        """Squared change by each, as a share of the noise."""
        return self._means(lambda one: one.removed)

    @property
    def removed_in_flats(self) -> list[float]:
        """Deviation of the change by each in flat places, as a share of the range."""
        return self._means(lambda one: one.removed_in_flats)

    def _means(self, figure: Callable[[Judged], float]) -> list[float]:
        return [float(np.mean([figure(one) for one in judged])) for judged in self.found]


def _hold(
    source: Source,
    fold: Callable[[Model], CompiledNet],
    terms: ChoiceTerms,
    seen: Choice,
    one_by_one: bool = False,
    in_common: bool = False,
) -> Contest:
    """Judge all models for an image.

    seen : patches of all colours of the first channel, which are not read again.
    one_by_one : models for one colour, instead of those for as many as there are.
    in_common : whether all colours have the same noise.
    """
    names = candidate_names(terms.choice, source.info, one_by_one)
    models = [load_model(name) for name in names]
    benches = _benches(source, models[0], terms, seen)
    ready = []
    for model in models if benches else []:
        asked = Asked(terms.transform, model.knows_counts, terms.fixed_range)
        ready.append(look_by(source.info, fold(model), terms.cores, asked, points=False))
    judged = [_judge_on(bench, ready, in_common) for bench in benches]
    return Contest(models, benches, [list(each) for each in zip(*judged, strict=True)])


def _judge_on(bench: Bench, ready: Sequence[Looking], in_common: bool) -> list[Judged]:
    """How each model does on one bench."""
    stats = [bench.statistics(looking) for looking in ready]
    changes = [bench.changes(r, s, bench.judged) for r, s in zip(ready, stats, strict=True)]
    # The net that changes most tells the signal that the noise belongs to.
    most = max(changes, key=_size)
    signal = [p.pixels + change for p, change in zip(bench.judged, most, strict=True)]
    probes = bench.probes(signal, in_common)
    probed = [
        patch._replace(pixels=patch.pixels + np.float32(PROBE) * probe.noise)
        for patch, probe in zip(bench.judged, probes, strict=True)
    ]
    found = []
    for looking, own, changed in zip(ready, stats, changes, strict=True):
        found.append(bench.judge(changed, probes, bench.changes(looking, own, probed)))
    return found


def _size(changes: Sequence[NDArray[np.floating[Any]]]) -> float:
    """Sum of the squares of what a net changes."""
    return sum(float(np.nansum(np.square(part, dtype=np.float64))) for part in changes)


def _decide(contest: Contest) -> tuple[int | None, str]:
    """Which of the models is taken, and why; the first is the one for white noise.

    None if all of them would harm.
    """
    benches, found = contest.benches, contest.found
    names = [model.name for model in contest.models]
    noise = [bench.noise for bench in benches]
    risks, removed, flats = contest.risks, contest.removed, contest.removed_in_flats
    other = _best_special(risks, flats)
    gain = risks[0] - risks[other]
    white = names[0]
    least = int(np.argmin(removed))
    if all(one.is_regular for one in noise):
        keeping = _keeping_patterns(found)
        if not keeping:
            return None, PATTERN
        least = min(keeping, key=lambda i: removed[i])
        return least, f"a regular pattern hides what noise there is; {names[least]} changes least"
    is_smeared = _is_smeared(noise)
    is_weak = max(flats) < HARDLY_ANY and not _is_sure(benches, risks)
    if is_weak and all(bench.level_share < OWN_ERROR for bench in benches):
        return None, CLEAN
    is_faint = all(bench.level_share < FAINT for bench in benches)
    if is_weak and (is_faint or not (is_smeared and removed[other] > LITTLE)):
        return least, f"no model finds much noise; {names[least]} changes least"
    if is_smeared:
        if max(gain, removed[other]) > LITTLE:
            return other, f"noise is smeared over several pixels, which {white} would leave in"
        return 0, f"what looks like smeared noise may be fine texture, which {white} keeps"
    if _may_be_texture(benches, found[0]):
        return 0, f"noise is weak, and what else there is may be fine texture, which {white} keeps"
    # The second candidate needs it once, the third twice; what lies in wider ranges was not judged.
    if gain > other * GAIN * (2 if _is_far(benches) else 1):
        share = f"{gain:.0%} of the noise"
        return other, f"its estimated error is smaller than that of {white} by {share}"
    grows = np.mean([one.growth for one in noise]) > GROWS
    if len(noise[0].models) == 1 and grows and max(n.photons for n in noise) < FEW_PHOTONS:
        return other, "there are few photons a pixel, whose chance is unlike white noise"
    close = min(CLOSE, CLOSE_SHARE * max(risks[0], 0.0))
    if len(noise[0].models) == 1 and grows and gain > -close and not _is_far(benches):
        return other, "noise grows with the signal"
    if any(max(one.reach_px) for one in noise):
        return 0, f"no other model is estimated to do better than {white}"
    return 0, "noise is independent from pixel to pixel"


def _keeping_patterns(found: Sequence[Sequence[Judged]]) -> list[int]:
    """Numbers of the models that remove no part of a regular pattern."""
    taken = [max(one.regular for one in judged) for judged in found]
    return [i for i, regular in enumerate(taken) if regular < PATTERN_TAKEN]


def _is_smeared(noise: Sequence[ImageNoise]) -> bool:
    """Whether noise is hardly independent from pixel to pixel."""
    neighbours = float(np.mean([one.neighbours for one in noise]))
    return neighbours > SMEARED or float(np.mean([n.white_share for n in noise])) < HARDLY_WHITE


def _is_sure(benches: Sequence[Bench], risks: Sequence[float]) -> bool:
    """Whether there is noise beyond doubt, however weak it is beside the range.

    It is white, which no texture is, and either is not that weak or a net removes most of it. In a
    wide range light of few photons is dark, and so are steps of a terrain beside its height.
    """
    if not all(bench.noise.is_white for bench in benches):
        return False
    strong = all(bench.level_share > HARDLY_ANY for bench in benches)
    return strong or min(risks) < MOSTLY_REMOVED


def _may_be_texture(benches: Sequence[Bench], white: Sequence[Judged]) -> bool:
    """Whether much of what is taken for noise may be fine texture, which others would remove.

    Then the level of the noise is taken for too high, and the errors of all that keep texture too.
    A net for white noise that finds none of it in what is said to be white is no help, though.
    """
    share = np.mean([bench.noise.white_share for bench in benches])
    return bool(
        all(bench.noise.may_be_texture for bench in benches)
        and np.mean([bench.level_share for bench in benches]) < WEAK
        and np.mean([one.removed for one in white]) > ANSWERED * share
    )


def _is_far(benches: Sequence[Bench]) -> bool:
    """Whether wider ranges hold much of the image, in which the first model does best."""
    return max(bench.far_share for bench in benches) >= FAR_SHARE


def _best_special(risks: Sequence[float], flats: Sequence[float]) -> int:
    """Which of the models after the first does best; an earlier one where it is close.

    One that leaves in flat places what another removes is none: where noise is smeared far, its
    level is taken for too low, and so is the error of what lets it through.
    """
    removing = [i for i in range(1, len(risks)) if flats[i] >= REMOVED_SHARE * max(flats[1:])]
    least = min((risks[i] for i in removing), default=math.nan)
    # Where nothing could be estimated, the first does as well as any.
    return next((i for i in removing if risks[i] <= least + GAIN), 1)
