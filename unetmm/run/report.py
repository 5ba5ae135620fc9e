"""What a run says while it goes on, and what it reports in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unetmm.calibrate.calibration import Calibration
from unetmm.models.choice import ModelChoice
from unetmm.plan.types import Plan
from unetmm.run.scales import counts_as_dict
from unetmm.version import __version__


@dataclass(frozen=True)
class Progress:
    """What a caller is told while a run goes on."""

    phase: str
    """Name of the phase: compile kernels, choose a model, calibrate, compute or finish."""
    done_px: int
    """Number of pixels that are done, in all planes."""
    total_px: int
    """Number of pixels of all planes."""
    seconds: float
    """Time in seconds since the compute phase began."""
    plan: Plan | None
    """Plan that the run follows; None before there is one."""
    resumed_px: int = 0
    """Number of the pixels done that were done before this run began."""


class Told:
    """Tells a caller how many pixels are computed; several threads may add some at once."""

    def __init__(self, tell: Callable[[Progress], None], total_px: int, plan: Plan) -> None:
        self._tell, self._total_px, self._plan = tell, total_px, plan
        self._lock, self._started = threading.Lock(), time.monotonic()
        self._done_px = self._resumed_px = 0
        self.left_px: list[int] = []
        """Pixels that were left each time that the run began, the first of them as it was found."""

    def begin(self, left_px: int) -> None:
        """Note how many pixels are left, at the start and where a run begins anew with less."""
        self.left_px.append(left_px)
        self._done_px = self._total_px - left_px
        self._resumed_px = self._total_px - self.left_px[0]
        self.add(0)

    def add(self, pixels: int) -> None:
        """Note that some are done."""
        with self._lock:
            self._done_px += pixels
            done_px, seconds = self._done_px, time.monotonic() - self._started
            self._tell(
                Progress("compute", done_px, self._total_px, seconds, self._plan, self._resumed_px)
            )


@dataclass
class Report:
    """What happened; `as_dict` is the file that `--report` writes."""

    input: str
    """Path of the image."""
    output: str
    """Path of the restored image."""
    model: str
    """Name of the model."""
    plan: Plan | None
    """Plan that the run followed; None where nothing was left to do."""
    megapixels: float
    """Number of pixels that this run restored, in millions."""
    calibration: Calibration = field(repr=False)
    """Statistics that the image was restored with."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time in seconds of each phase, by its name."""
    measured_peak_bytes: int = 0
    """Peak resident memory of the process in bytes, as measured."""
    resumed_rows: int = 0
    """Number of rows of the image that an earlier run had finished."""
    complete: bool = True
    """Whether the output is finished; not so while other shares of the run are to be done."""
    already_done: bool = False
    """Whether an earlier run had finished this very output, so that nothing was done."""
    ranges: dict[str, float] = field(default_factory=dict)
    """Share of this run's samples restored in each wider range, by its width in base ranges."""
    stored: dict[str, Any] = field(default_factory=dict)
    """Pixel type and rounding of the output, and how many values did not fit."""
    outliers: dict[str, Any] = field(default_factory=dict)
    """Number of pixels, columns and rows that no optics can make, and what became of them."""
    points: float = 0.0
    """Share of this run's samples that keep their stored value as parts of point sources."""
    guard: dict[str, Any] = field(default_factory=dict)
    """Findings of the comparison of input and output: in all of the image where this run finished
    it, and else in what this run restored."""
    warnings: tuple[str, ...] = ()
    """Lines of warning of this run, in the order in which they were said, each once."""
    not_kept: tuple[str, ...] = ()
    """Names of what the input says and the output has no place for."""
    choice: ModelChoice | None = None
    """Reason for the model, where it was chosen by looking at the image."""
    bands: tuple[str, ...] = ()
    """Names, or numbers from 1, of the bands that went through the net together, in their order."""
    holds: str = ""
    """Words for what the output holds where that is no image: then nothing was compared."""
    measured_device_peak_bytes: int | None = None
    """Peak of a GPU's memory in bytes as measured, libraries' own workspaces apart; None where the
    CPU computed."""

    def as_dict(self) -> dict[str, Any]:
        """For `--report`, whose field names this fixes."""
        compute_s = self.seconds.get("compute", 0.0)
        return {
            "version": __version__,
            "input": self.input,
            "output": self.output,
            "model": self.model,
            "model_choice": self.choice.as_dict() if self.choice else None,
            "plan": self.plan.as_dict() if self.plan else None,
            "measured_peak_bytes": self.measured_peak_bytes,
            **self._device_as_dict(),
            **({"holds": self.holds} if self.holds else {}),
            **({"bands": list(self.bands)} if self.bands else {}),
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "megapixels": self.megapixels,
            "megapixels_per_s": round(self.megapixels / compute_s, 3) if compute_s else None,
            "ranges": {k: round(v, 6) for k, v in self.ranges.items()},
            "counts": counts_as_dict(self.calibration),
            "resumed_rows": self.resumed_rows,
            "stored": self.stored,
            "outliers": self.outliers,
            "points": round(self.points, 6),
            "guard": self.guard,
            "complete": self.complete,
            "already_done": self.already_done,
            "not_kept": list(self.not_kept),
            "warnings": list(dict.fromkeys((*self.calibration.doubts, *self.warnings))),
        }

    def _device_as_dict(self) -> dict[str, Any]:
        peak_bytes = self.measured_device_peak_bytes
        return {} if peak_bytes is None else {"measured_device_peak_bytes": peak_bytes}


def merged(reports: Sequence[Report]) -> dict[str, Any]:
    """What the parts of a run found, as fields of a report of all of them."""
    total = sum(r.megapixels for r in reports) or 1.0
    ranges: dict[str, float] = {}
    for r in reports:
        for width, share in r.ranges.items():
            ranges[width] = ranges.get(width, 0.0) + share * r.megapixels / total
    stored = dict(reports[0].stored) if reports else {}
    for lost in ("clipped", "unmeasured"):
        if lost in stored:
            stored[lost] = sum(r.stored[lost] for r in reports)
    whole = next((r.guard for r in reports if r.complete and r.guard), {})
    said = dict.fromkeys(line for r in reports for line in r.warnings)
    return {
        "ranges": ranges, "stored": stored, "guard": whole, "warnings": tuple(said),
        "bands": reports[0].bands if reports else (),
    }  # fmt: skip


def verdict(guard: Mapping[str, Any]) -> str:
    """What the guard found, for a reader: a line, or a few where there are doubts."""
    blocks, few = guard["blocks"], guard["doubtful"]
    if not blocks:
        return "nothing was compared: the image, or its chunks, are too small"
    said = [f"{line[0].upper()}{line[1:]}." for line in doubts(guard)]
    if said:
        return " ".join(said)
    but = f"; {few} of them differ a little more, which is few" if few else ""
    return f"means and details of all {blocks} blocks are as in the input, within its noise{but}"


def is_by_rounding(guard: Mapping[str, Any]) -> bool:
    """Whether the mean changed because whole numbers cannot hold what was restored."""
    rounding = guard.get("rounding", {})
    share = abs(guard.get("mean_change") or 0.0) / 2
    return bool(
        guard.get("is_changed")
        and rounding.get("is_lossy")
        and abs(rounding["mean_change"]) > share
    )


def planes_changed(guard: Mapping[str, Any]) -> int:
    """Number of planes whose mean changed; 0 of an image that is one plane."""
    several = guard.get("planes", 1) > 1
    return int(guard.get("changed_planes_count", 0)) if several else 0


def doubts(guard: Mapping[str, Any]) -> Iterator[str]:
    """What the guard found in plain words, with what to do; nothing if there are no more than a few
    doubtful blocks.
    """
    by_rounding = is_by_rounding(guard)
    if guard.get("is_doubtful") and not by_rounding:
        worst = guard["worst"]
        yield (
            f"{guard['doubtful']} of {guard['blocks']} blocks of the output differ from the input "
            f"by more than its noise allows, most in plane {worst['plane']} at row {worst['row']}, "
            f"column {worst['column']}; compare them there, and give --range if values lie beyond "
            "the measured one"
        )
    planes = planes_changed(guard)
    if planes and not by_rounding:
        first = guard["changed_planes"][0]
        yield (
            f"the mean of {planes} of {guard['planes']} planes changed by more than their noise "
            f"explains, most that of plane {first['plane']}, by {first['mean_change']:+.1%} of "
            "what it lies above the dark end; measure brightness, and how it changes, in the input"
        )
    elif guard.get("is_changed") and not by_rounding:
        yield (
            f"the mean of the image changed by {guard['mean_change']:+.1%} of what it lies above "
            "the dark end; measure brightness in the input, and see whether a few values set the "
            "range (--range gives another)"
        )
    if guard.get("is_left"):
        yield (
            f"{guard['noise_left']} of {guard['noisy']} noisy blocks still have their noise; try "
            "another --model (a mono one takes each colour by itself), or --calibration from a "
            "part of the image that shows something"
        )
