"""What is said at the end of a run about values that the output could not keep as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from unetmm.run.job import Job
from unetmm.run.report import doubts

FEW_OUTLIERS = 10
"""Number of single pixels up to which nothing is said of them."""
FEW_STORED = 100
"""Number of pixels up to which nothing is said of those that are not sharpened."""
WAY_ON = "use --dtype float32 or --rounding dither"
"""Words on what to do where whole numbers cannot hold what was restored."""
log = logging.getLogger(__name__)

_ISOLATED = {
    "pixels": ("isolated pixels", "isolated pixel"),
    "columns": ("columns", "column"),
    "rows": ("rows", "row"),
}
"""Names of outliers, of several and of one."""


def say_remarks(job: Job, name: str) -> None:
    """Log a warning for each thing that a reader of the output should know.

    name : the output's, as the reader knows it.
    """
    for remark in remarks_of(job):
        log.warning("%s: %s", name, remark)


def remarks_of(job: Job) -> Iterator[str]:
    """The same as text, one line each."""
    yield from _losses(job)
    yield from _outliers(job)
    yield from _beyond(job)
    yield from _rounding(job)
    yield from doubts(job.guard_as_dict())


def _rounding(job: Job) -> Iterator[str]:
    dim, worst = job.dimness, job.dimness.worst
    if worst is not None:
        yield (
            f"rounding to whole counts changes the mean by {worst.change:+.0%} where the image has "
            f"about {worst.mean:.2g} counts a pixel{_above(job)}, which is "
            f"{worst.share:.0%} of it: {WAY_ON}"
        )
    elif dim.loses:
        yield (
            f"the image has about {abs(dim.exact) / dim.dim_px:.2g} counts a pixel{_above(job)} in "
            f"{dim.dim_px / dim.seen_px:.0%} of it, and rounding to whole counts loses them: "
            f"{WAY_ON}"
        )


def _above(job: Job) -> str:
    """Offset of the camera, from which counts are counted, in words."""
    models = (model for entry in job.calibration.entries.values() for model in entry.noise)
    dark = [model.dark for model in models]
    return f" above the {min(dark):.4g} of no light" if dark and all(dark) else ""


def _losses(job: Job) -> Iterator[str]:
    losses, dtype = job.losses, job.storing.type_of(job.source.info.dtype)
    if losses.clipped and dtype.kind == "f" and job.answer is not None:
        yield f"{losses.clipped} values are too large for {dtype.name}; --dtype float32 keeps them"
    elif losses.clipped and job.answer is not None:
        most = np.iinfo(dtype).max
        yield (
            f"{losses.clipped} values lie outside of 0 to 1, which {dtype.name} stores as 0 to "
            f"{most}, and became 0 or {most}; --dtype float32 keeps them"
        )
    elif losses.clipped:
        yield (
            f"{losses.clipped} values do not fit into {dtype.name} and became its least or its "
            "largest value; a wider --dtype keeps them"
        )
    if losses.unmeasured and job.answer is not None:
        yield (
            f"{losses.unmeasured} values are of pixels that hold no measurement and became 0, as "
            f"{dtype.name} has no other; --dtype float32 writes NaN"
        )
    elif losses.unmeasured:
        yield (
            f"{losses.unmeasured} values are NaN or infinite, which {dtype.name} cannot hold, and "
            "became 0; --dtype float32 keeps them"
        )


def _outliers(job: Job) -> Iterator[str]:
    count = job.outlier_count.as_dict()
    found = [f"{n} {_ISOLATED[kind][n == 1]}" for kind, n in count.items() if n]
    if sum(count.values()) <= FEW_OUTLIERS and not (count["columns"] or count["rows"]):
        return  # the report has them; as few are in many a photo
    listed = found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"
    done = (
        "kept as they are; --outliers replace restores them"
        if job.outliers == "keep"
        else "restored from their surroundings; --outliers keep keeps them"
    )
    were = "was" if sum(count.values()) == 1 else "were"
    yield f"{listed} that no optics can make {were} left out of the net's input and {done}"


def _beyond(job: Job) -> Iterator[str]:
    """What a run that is to sharpen left as it is."""
    stored_px = job.excess.stored_px
    if job.removes_noise or stored_px <= max(FEW_STORED, sum(job.excess.rungs)):
        return  # as the rims of what was sharpened are
    low, high = job.calibration.span
    yield (
        f"{stored_px} pixels of stars, spots and lines far beyond the range that the net sees "
        f"({low:.6g} to {high:.6g}) stay as they are; --range LOW,HIGH sharpens them, but faint "
        "ones less"
    )
