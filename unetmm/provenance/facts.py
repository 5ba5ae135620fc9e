"""What an output is made from: recorded when it is begun, compared when a run goes on with it.

The result depends on nothing else, in particular not on budget, strips or the number of workers,
so a run may go on with another plan than it was begun with and still give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from unetmm.calibrate.calibration import Calibration
from unetmm.compiling.processor import LANES, LANES_VARIABLE
from unetmm.errors import ImageError, ResumeError, WidthError
from unetmm.intensities.validity import Values
from unetmm.io.answered import Answer
from unetmm.io.framed import crop_text
from unetmm.io.hdf5.arrays import split_place
from unetmm.io.image import Box, Encoding, ImageInfo
from unetmm.io.open import output_format
from unetmm.io.output.output import Output
from unetmm.io.places import Place, RemotePath
from unetmm.io.select import Selection
from unetmm.models.choice import ModelChoice
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.version import __version__

METADATA_FILES = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
"""Names of files that stand for the content of a folder: they change when it does."""
PROBE_BYTES = 2**16
"""Number of bytes read at either end of an input. They tell files of one name, size and time
apart."""
UNSAID = {
    "output": "an image",
    "dtype": "of the input",
    "rounding": "nearest",
    "outliers": "keep",
    "no data": "as the input says",
    "files beside": "none",
    "transform": "auto",
    "crop": "none",
}
"""Facts that are only stated where they are not these, because older outputs state none."""
VECTORS = "vectors"
"""Name of the fact that says how many floats a vector had; older outputs do not state it."""
_STATE = re.compile(r"(\d+) bytes of (\d+) ns, ends [0-9a-f]{8}")
"""Pattern of what `_file_state` makes."""


def make_facts(
    path: Place, info: ImageInfo, model: Model, options: Options, output: Output
) -> dict[str, str]:
    """Everything the pixels of an output depend on, as words that a message can show.

    The width of vectors is one of them: sums differ by it in the last bits. A finished output is
    not made anew for that, and a run on another kind of node goes on in the width that was begun.
    """
    given = options.calibration
    assert not isinstance(given, Path), "the caller has read it"
    calibration = "measured" if given is None else _short_hash(given.to_json().encode())
    return _validity_facts(info, options) | {
        "input": _input_state(path, info),
        "image": f"{info.axes} {info.shape} {info.dtype}",
        "part of the image": options.select.part if options.select else "all",
        "model": f"{model.name} {model.checksum[:16]}",
        "calibration": calibration,
        "range": "measured" if options.seen_range is None else str(options.seen_range),
        "strength": str(options.strength),
        "precision": options.engine.recorded,
        "format": output_format(output.path, options.format),
        "encoding": str(options.encoding),
        "chunks": f"{output.chunk}, {len(output.store.levels)} levels",
        "unetmm": __version__,
        **_storing_facts(info, options),
        **_crop_fact(info, options),
        VECTORS: f"{LANES} floats",
    }


def _crop_fact(info: ImageInfo, options: Options) -> dict[str, str]:
    """Which part of each plane is written, where that is not all of it."""
    frame = options.frame(info)
    return {} if frame is None else {"crop": crop_text(frame)}


def _storing_facts(info: ImageInfo, options: Options) -> dict[str, str]:
    """How values are stored, where that is not as usual; older outputs have no such facts."""
    storing, found = options.storing, {}
    if options.answer is not None:
        found["output"] = options.answer.fact
    dtype = storing.type_of(info.dtype)
    if dtype != info.dtype:
        found["dtype"] = dtype.name
    if dtype.kind != "f" and storing.rounding != "nearest":
        found["rounding"] = storing.rounding
    if options.outliers != "keep":
        found["outliers"] = options.outliers
    if options.transform != "auto":
        found["transform"] = options.transform
    return found


def _validity_facts(info: ImageInfo, options: Options) -> dict[str, str]:
    """What tells pixels without a measurement, where it is more than the input itself says."""
    found = {}
    if options.nodata is not None:
        found["no data"] = ", ".join(map(str, options.nodata)) or "none"
    if info.metadata.reading.sidecars:
        found["files beside"] = ", ".join(
            f"{Path(path).name} {_file_state(Path(path))}"
            for path in info.metadata.reading.sidecars
        )
    return found


def _input_state(path: Place, info: ImageInfo) -> str:
    """Name, size, time of change and checksum of the ends of a file, or of a folder's metadata.

    For a set of files, the same of each. The folders above are left out: they may have other names
    on another machine.
    """
    if isinstance(path, RemotePath):
        marks = (path / name for name in METADATA_FILES)
        return ", ".join([path.name, *(mark.version() for mark in marks if mark.exists())])
    if path.is_dir():
        files = [path / name for name in METADATA_FILES if (path / name).is_file()]
        return ", ".join([path.resolve().name, *map(_file_state, files)])
    file, within = split_place(path.resolve())
    files = [file, *map(Path, info.metadata.reading.other_files)]
    return ", ".join([f"{file.name}/{within}".rstrip("/"), *map(_file_state, files)])


def _file_state(path: Path) -> str:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        crc = zlib.crc32(file.read(PROBE_BYTES))
        file.seek(max(0, found.st_size - PROBE_BYTES))
        crc = zlib.crc32(file.read(PROBE_BYTES), crc)
    return f"{found.st_size} bytes of {found.st_mtime_ns} ns, ends {crc:08x}"


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def make_record(
    facts: Mapping[str, str], calibration: Calibration, choice: ModelChoice | None = None
) -> dict[str, Any]:
    """How an image was made, for its metadata: `facts` tell whether a run would make it again.

    choice : why the model was chosen, where a run chose it.
    """
    chosen = {} if choice is None else {"model_choice": choice.as_dict()}
    made = {"software": "unetmm", "facts": dict(facts), "calibration": calibration.to_json()}
    return made | chosen


def make_job_record(
    path: Place,
    facts: Mapping[str, str],
    options: Options,
    output: Output,
    calibration: Calibration,
    together: bool = False,
) -> dict[str, Any]:
    """What another process needs to go on with an output, as JSON holds it.

    together : whether the net takes the image's channels together.
    """
    return {
        "input": str(path.resolve()),
        "format": output_format(output.path, options.format),
        "select": asdict(options.select) if options.select else None,
        "encoding": asdict(options.encoding),
        "dtype": output.info.dtype.name,
        "output_scale": options.output_scale,
        "answer": None if options.answer is None else asdict(options.answer),
        "together": together,
        "nodata": None if options.nodata is None else list(map(repr, options.nodata)),
        "crop": None if options.crop is None else asdict(options.crop),
        "facts": dict(facts),
        "calibration": calibration.to_json(),
        "model_choice": options.choice.as_dict() if options.choice else None,
    }


def selection_of(job: Mapping[str, Any]) -> Selection | None:
    """The part of the input that a job restores; None: all of it."""
    found = job.get("select")
    if found is None:
        return None
    planes = {axis: (first, last) for axis, (first, last) in found["planes"].items()}
    bands = found["rgb_bands"]
    return Selection(
        tuple(found["channels"]), planes, tuple(bands) if bands else None,
        found.get("palette", "auto"), found.get("axes", ""), tuple(found.get("bands", ())),
        found.get("series"), found.get("labels", False),
    )  # fmt: skip


def nodata_of(job: Mapping[str, Any]) -> Values | None:
    """Values for "no data" that a job's user gave; None: as the input says."""
    found = job.get("nodata")
    return None if found is None else tuple(map(float, found))


def crop_of(job: Mapping[str, Any]) -> Box | None:
    """The part of each plane that a job's output is; None: all of it."""
    found = job.get("crop")
    return None if found is None else Box(**found)


def encoding_of(job: Mapping[str, Any]) -> Encoding:
    """How a job's output stores its pixels."""
    return Encoding(**job.get("encoding", {}))


def answer_of_job(job: Mapping[str, Any]) -> Answer | None:
    """What a job's output holds where that is no image."""
    found = job.get("answer")
    return None if found is None else Answer(**found | {"names": tuple(found["names"])})


def check_same(output: Output, begun: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to go on with an output that was begun differently.

    Raises
    ------
    ResumeError
        It names what differs.
    WidthError
        If that is nothing but the width of vectors.
    """
    if difference := _first_difference(begun, now):
        raise ResumeError(
            f"{output.path}: a run was begun with {difference}; give the same to go on, or "
            "--overwrite to begin anew"
        )
    lanes = int(begun.get(VECTORS, now[VECTORS]).split()[0])
    if lanes != LANES:
        raise WidthError(
            f"{output.path}: a run was begun with vectors of {lanes} floats, here they have "
            f"{LANES}; set {LANES_VARIABLE}={lanes} before the process starts to go on",
            lanes=lanes,
        )


def check_record(path: Place, record: Mapping[str, Any], facts: Mapping[str, str]) -> None:
    """Refuse a finished output that was made from something else.

    Raises
    ------
    ImageError
        It names what differs.
    """
    if difference := _first_difference(record["facts"], facts):
        raise ImageError(
            f"{path}: exists and was made with {difference}; give --overwrite to replace it, or "
            "another name"
        )


def _first_difference(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The first fact that has changed, in words; empty if none has."""
    then, now = {**UNSAID, **then}, {**UNSAID, **now}
    changed = (name for name in now if name != VECTORS and then.get(name) != now[name])
    return next((f"{name} {_versus(str(then.get(name)), now[name])}" for name in changed), "")


def _versus(then: str, now: str) -> str:
    """Two facts for a reader, as they are where he would not see what differs."""
    told = _readable(then), _readable(now)
    before, after = (then, now) if told[0] == told[1] else told
    return f"{before}, now it is {after}"


def _readable(fact: str) -> str:
    """A fact with the states of files as size and local time, and parts of images in words."""
    if (part := Selection.of_part(fact)) is not None:
        return part.in_words
    return _STATE.sub(lambda m: f"{int(m[1]):,} bytes of {_time(int(m[2]))}", fact)


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9).isoformat(" ")
