"""Outputs that are there already: whether a run would make them again, and what killed runs left.

An output carries the facts that it was made from (`facts.make_record`); .npy has no place for them,
so such an output is only known to exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from unetmm.calibrate.calibration import Calibration
from unetmm.errors import ImageError, LockedError, ShapeError
from unetmm.io.failures import translated
from unetmm.io.output.destination import output_exists
from unetmm.io.output.local_workspace import Workspace
from unetmm.io.output.records import JOB, JOURNAL, LOCK, REPLACED
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import Place, RemotePath
from unetmm.io.sniff import sniff_format

_NO_PIXELS = (JOB, f".{JOB}.", JOURNAL, LOCK, "record.json")
"""Beginnings of the names of a workspace's files that are not the output's pixels."""
_FILE_STATE = re.compile(r", \d+ bytes of \d+ ns")
"""Pattern of what a record says of a file after its name."""
_COPIED = ("pixels", "tiles", REPLACED)
"""Names in a workspace of pixels that are copied into the output in the end."""


def read_record(path: Place) -> dict[str, Any] | None:
    """How an output was made; None if it does not say so, as one of other software."""
    try:
        read = sniff_format(path).record
        if read is None:
            return None
        with translated(path, "read how it was made"):
            record = read(path)
    except ImageError:
        return None
    ours = isinstance(record, dict) and isinstance(record.get("facts"), dict)
    return record if ours else None


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file, or the statistics that an OME-Zarr or TIFF of ours was made with.

    Raises
    ------
    ShapeError
        If it cannot be read or is not a calibration.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        record = read_record(path) if path.exists() else None
        if record is None:
            raise ShapeError(f"calibration {path} cannot be read: {error}") from error
        text = record["calibration"]
    try:
        return Calibration.from_json(text)
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from error


def find_begun(path: Place) -> dict[str, Any] | None:
    """The job of an output that is under way and not there yet; None if there is none."""
    return None if output_exists(path) else workspace_of(path).read_job()


def summary(record: Mapping[str, Any], finished: bool) -> dict[str, Any]:
    """What a record or a job says of an output, in few words."""
    facts = record["facts"]
    source = str(facts.get("input", ""))
    stated = _FILE_STATE.search(source)
    return {
        "finished": finished,
        "unetmm": facts.get("unetmm"),
        "model": facts.get("model"),
        "model_choice": record.get("model_choice"),
        "input": source[: stated.start()] if stated else source,
        "holds": facts.get("output"),
        "strength": facts.get("strength"),
        "precision": facts.get("precision"),
        "calibration": bool(record.get("calibration")),
        "guard": record.get("guard"),
    }


def remove_leftovers(path: Place) -> bool:
    """Clean up after a run that was killed between naming its output and tidying up.

    Returns whether there was a workspace of such a run.
    """
    if not output_exists(path):
        return False
    if isinstance(path, RemotePath):
        # Its name comes last, so what there is besides is spent.
        remote = workspace_of(path)
        left = remote.exists()
        if left:
            remote.remove()
        return left
    workspace = Workspace(path)
    workspace.sweep()
    if not _is_spent(workspace):
        return False
    removed = False
    # With the lock, or it may just be set up by a run that has not come further.
    with suppress(LockedError), workspace.locked("job"):
        if _is_spent(workspace):
            with workspace.alone():
                pass
            workspace.remove()
            removed = True
    workspace.sweep()
    return removed


def _is_spent(workspace: Workspace) -> bool:
    """Whether the pixels of a workspace have become the output."""
    if not workspace.is_own():
        return False
    try:
        names = [p.name for p in workspace.folder.iterdir()]
        pixels = [name for name in names if not name.startswith(_NO_PIXELS)]
        if not set(pixels) <= set(_COPIED):
            return False
        # The output was made of them, unless it is an older one that they are to replace.
        made_ns = workspace.path.stat().st_mtime_ns
        return all(made_ns > (workspace.folder / name).stat().st_mtime_ns for name in pixels)
    except OSError:
        return False
