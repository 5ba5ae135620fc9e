"""What a page or a sheet shows of a preview: facts, and pictures with words to each of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unetmm.calibrate.crops import Crop
from unetmm.io.image import ImageInfo
from unetmm.io.places import Place
from unetmm.plan.cost import START_S
from unetmm.plan.types import Plan
from unetmm.run.preview import Preview, Take
from unetmm.sizes import format_size
from unetmm_cli.display.preview.pictures import (
    COLOURS,
    Picture,
    at_height,
    difference_range,
    shown_samples,
    stretch_of,
    to_difference,
    to_picture,
)
from unetmm_cli.display.text import plain, seconds_text


@dataclass(frozen=True)
class FullRun:
    """What a run over all of the image would take, with one model."""

    model: str
    """Name of the model."""
    plan: Plan | None
    """Plan of the run; None where it cannot be."""
    refusal: str
    """Reason why it cannot be."""
    words: Sequence[str]
    """Command line of the run."""

    @property
    def in_words(self) -> str:
        """Time and memory for a reader."""
        if self.plan is None:
            return f"a full run cannot be: {self.refusal}"
        plan = self.plan
        on = plan.device if plan.device_terms is not None else _cores(plan.cores)
        return (
            f"a full run takes about {seconds_text(START_S + plan.estimated_s)} on {on} and "
            f"at most {format_size(plan.projected_peak_bytes)} of memory"
        )

    @property
    def command(self) -> str:
        """The command line as one types it."""
        return shlex.join(self.words)


@dataclass(frozen=True)
class ShownTake:
    """One crop as one model at one strength leaves it."""

    name: str
    """Name of model and strength."""
    after: Picture
    """Crop as restored."""
    difference: Picture
    """Change of each pixel."""


@dataclass(frozen=True)
class ShownCrop:
    """One crop with all of its pictures."""

    title: str
    """Reason why it is shown, or what it is."""
    place: str
    """Place in the image."""
    stretch: str
    """Meaning of black and white."""
    change: str
    """Meaning of black and white in the pictures of differences."""
    before: Picture
    """Crop as it is stored."""
    takes: tuple[ShownTake, ...]
    """Crop as the models leave it."""


@dataclass(frozen=True)
class Shown:
    """All that is shown of a preview, apart from the pictures."""

    path: Place
    """Path of the image."""
    preview: Preview
    """Crops, and what models make of them."""
    runs: Sequence[FullRun]
    """Full run with each of the models."""

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and text of each fact."""
        info = self.preview.info
        rows = [("Image", f"{self.path.name}: {size_text(info)}")]
        if info.joined:
            rows.append(("Shown", _bands_shown(info)))
        rows.append(("Noise", self.preview.noise or "could not be told"))
        for run in self.runs:
            reason = self.reason_for(run.model)
            rows.append(("Model", f"{run.model}: {reason}; {run.in_words}"))
        rows += [("Note", line) for line in self.preview.warnings]
        return rows

    def reason_for(self, model: str) -> str:
        """Why a model was taken."""
        takes = [take for take in self.preview.takes if take.model == model]
        choices = [take.choice for take in takes if take.choice is not None]
        return choices[0].reason if choices else "as asked for"

    def crops(self) -> Iterator[ShownCrop]:
        """Each crop with its pictures."""
        for number in range(len(self.preview.crops)):
            yield _shown_crop(self.preview, number)


def size_text(info: ImageInfo) -> str:
    """Size and kind of an image."""
    planes = len(info.planes)
    parts = [f"{info.width} x {info.height} px"]
    parts += [f"{planes} planes"] if planes > 1 else []
    kind = "bands" if info.joined else "samples"
    parts += [f"{info.samples} {kind}"] if info.samples > 1 else []
    return ", ".join([*parts, info.dtype.name])


def _bands_shown(info: ImageInfo) -> str:
    """Which bands of an image the pictures show."""
    names = [name or f"band {number}" for number, name in enumerate(info.joined, 1)]
    if len(names) < COLOURS:
        return names[0]
    red, green, blue = names[:COLOURS]
    return f"{red} as red, {green} as green and {blue} as blue, on one scale"


def take_name(take: Take) -> str:
    """Model and strength."""
    return f"{take.model}, strength {take.strength:g}"


def as_dict(shown: Shown, output: Place) -> dict[str, Any]:
    """A preview for `--json`, without its pixels."""
    preview = shown.preview
    return {
        "input": str(shown.path),
        "output": str(output),
        "noise": preview.noise,
        "crops": [
            {
                "plane": dict(zip("TCZ", crop.plane, strict=True)),
                "left": crop.box.x0,
                "top": crop.box.y0,
                "width": crop.box.width,
                "height": crop.box.height,
                "reason": crop.reason,
            }
            for crop in preview.crops
        ],
        "takes": [
            {
                "model": take.model,
                "strength": take.strength,
                "model_choice": take.choice.as_dict() if take.choice else None,
                "seconds": round(take.seconds, 3),
            }
            for take in preview.takes
        ],
        "full_runs": [_run_as_dict(run) for run in shown.runs],
        "warnings": plain(preview.warnings),
    }


def _run_as_dict(run: FullRun) -> dict[str, Any]:
    return {
        "model": run.model,
        "estimated_s": round(run.plan.estimated_s, 3) if run.plan else None,
        "projected_peak_bytes": run.plan.projected_peak_bytes if run.plan else None,
        "refusal": run.refusal or None,
        "command": run.command,
    }


def _shown_crop(preview: Preview, number: int) -> ShownCrop:
    info, crop, measured = preview.info, preview.crops[number], preview.measured[number]
    before = shown_samples(preview.before[number], info.alpha)
    afters = [shown_samples(take.pixels[number], info.alpha) for take in preview.takes]
    if (height := max(map(len, afters))) > len(before):  # some models enlarge
        before, *afters = (at_height(pixels, height) for pixels in (before, *afters))
        measured = None if measured is None else at_height(measured, height)
    stretch, limit = stretch_of(before, measured), difference_range(before, afters, measured)
    takes = (
        ShownTake(
            take_name(take),
            to_picture(after, stretch, measured),
            to_difference(before, after, limit, measured),
        )
        for take, after in zip(preview.takes, afters, strict=True)
    )
    gaps = "" if measured is None else " Pixels without a measurement are black."
    change = (
        f"Differences are grey where nothing changed, white where {limit:.3g} or more was added, "
        "and black where as much was taken away."
        if limit
        else "Nothing changed."
    )
    return ShownCrop(
        f"{number + 1}. {(crop.reason or 'as asked for').capitalize()}",
        place_text(info, crop),
        stretch.in_words + gaps,
        change,
        to_picture(before, stretch, measured),
        tuple(takes),
    )


def place_text(info: ImageInfo, crop: Crop) -> str:
    """Where a crop lies."""
    box, (t, c, z) = crop.box, crop.plane
    parts = [f"Left {box.x0}, top {box.y0}, {box.width} x {box.height} px"]
    if info.length("C") > 1:
        name = info.channel_names[c] if info.channel_names else ""
        parts.append(f"channel {c}{f' ({name})' if name else ''}")
    parts += [f"time {t}"] if info.length("T") > 1 else []
    parts += [f"depth {z}"] if info.length("Z") > 1 else []
    return ", ".join(parts)


def _cores(count: int) -> str:
    return f"{count} core{'s' * (count > 1)} of this machine"
