"""Is an output still what was written? Every chunk is read again and compared with its checksum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.calibration import Calibration
from unetmm.errors import ImageError, ResumeError
from unetmm.io.answered import Answer, answered_info
from unetmm.io.enlarged import chunk_px, enlarged
from unetmm.io.formats import find_format
from unetmm.io.image import ImageInfo, SinkOptions, Source
from unetmm.io.joined import joined_info
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.levels import Level
from unetmm.io.output.output import Output, is_intact
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import Place
from unetmm.io.retyped import retype
from unetmm.io.select import Selection
from unetmm.options import Options
from unetmm.provenance.facts import (
    answer_of_job,
    crop_of,
    encoding_of,
    nodata_of,
    selection_of,
)
from unetmm.provenance.record import find_begun, remove_leftovers


@dataclass(frozen=True)
class Verification:
    """What a comparison with the checksums found."""

    output: Place
    """Path of the output."""
    chunks: int
    """Number of chunks of the finest level, all of which were read."""
    damaged: tuple[str, ...]
    """Plane and pixels of each chunk that differs or cannot be read, in words."""


def verify(path: Place) -> Verification:
    """Compare an output of ours with the checksums that it carries; nothing is changed.

    Raises
    ------
    ImageError
        If it cannot be opened, carries no checksums or is not finished.
    """
    if find_begun(path) is not None:
        raise ImageError(
            f"{path}: is not finished, so there is nothing to compare yet; unetmm status tells "
            "how far it is, and the command that began it goes on with it"
        )
    source = open_source(path, Selection(labels=True))
    try:
        expected = _checksums(path, source)
        level = Level(source.info.height, source.info.width, source.info.chunk)
        planes = source.info.planes
        if expected.size != len(planes) * level.grid[0] * level.grid[1]:
            raise ImageError(f"{path}: its checksums are for other chunks; it was rewritten since")
        table = expected.reshape(len(planes), *level.grid)
        damaged = tuple(_damaged(source, level, table))
    finally:
        source.close()
    return Verification(path, expected.size, damaged)


def _checksums(path: Place, source: Source) -> NDArray[np.uint32]:
    """Checksums of the chunks of the finest level."""
    format = find_format(source.info.format)
    found = format.checksums(path) if format and format.checksums else None
    if found is None:
        raise ImageError(
            f"{path}: carries no checksums of unetmm; it puts them into OME-Zarr and TIFF"
        )
    return found[0]


def _damaged(source: Source, level: Level, table: NDArray[np.uint32]) -> list[str]:
    found = []
    for plane, expected in zip(source.info.planes, table, strict=True):
        for (row, column), crc in np.ndenumerate(expected):
            box = level.box(row, column)
            if not is_intact(partial(source.read, plane, box), int(crc)):
                found.append(f"plane {plane}, rows {box.y0}:{box.y1}, columns {box.x0}:{box.x1}")
    return found


def finalize(path: Place) -> bool:
    """Finish an output if its chunks are all there; returns whether that was so.

    For job arrays whose last share was lost after its work.

    Raises
    ------
    ResumeError
        If no such output is under way.
    """
    if remove_leftovers(path):
        return True
    job = workspace_of(path).read_job()
    if job is None:
        raise ResumeError(f"{path}: no run of this output is under way; nothing to finish")
    with reopened(path, job) as output:
        with output.workspace.locked("job"):
            if output.workspace.read_job() != job:
                raise ResumeError(f"{path}: another run has begun it anew just now; try again")
            output.join("finalize")
        return output.complete()


@contextmanager
def reopened(path: Place, job: Mapping[str, Any]) -> Iterator[Output]:
    """An output under way as its job describes it; nothing is written by this."""
    with closing(open_source(job["input"], selection_of(job), nodata_of(job))) as source:
        scale = int(job.get("output_scale", 1))
        answer, joined = answer_of_job(job), bool(job.get("together"))
        seen = joined_info(source.info) if joined else source.info
        options = SinkOptions(
            path, overwrite=True, chunk_px=chunk_px(SinkOptions.chunk_px, scale),
            encoding=encoding_of(job),
            maps=(len(seen.joined) or 1) if answer is None else answer.maps(seen),
        )  # fmt: skip
        written = enlarged(Options(crop=crop_of(job)).framed(source), scale)
        shown = joined_info(written.info) if joined and answer is not None else written.info
        info = _written_info(shown, answer, job.get("dtype"))
        output: Output = open_sink(options, info, job["format"], written)
        if answer is None:
            output.halving.set_range(*Calibration.from_json(job["calibration"]).span)
        yield output


def _written_info(info: ImageInfo, answer: Answer | None, dtype: str | None) -> ImageInfo:
    """Facts of an output, from those of an image of its size."""
    if answer is None:
        return retype(info, dtype)
    return answered_info(info, answer, np.dtype(dtype))
