"""What an output is made from: recorded when it is begun, compared when a run goes on with it.

The result depends on nothing else, in particular not on budget, strips or the number of workers,
so a run may go on with another plan than it was begun with and still give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetmm.calibrate import Calibration
from unetmm.errors import ResumeError
from unetmm.io.output import Output
from unetmm.io.protocol import ImageInfo
from unetmm.weights import Model

if TYPE_CHECKING:
    from unetmm.pipeline import Options

METADATA_FILES = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
"""What of a folder stands for its content."""


@dataclass(frozen=True)
class Share:
    """Which part of a run one process does: share `index` of `count`, by rows of chunks."""

    index: int = 0
    count: int = 1

    def of(self, rows: int) -> range:
        """Its rows out of so many, counted over all planes."""
        return range(rows * self.index // self.count, rows * (self.index + 1) // self.count)


def make_facts(
    path: Path, info: ImageInfo, model: Model, options: Options, output: Output
) -> dict[str, str]:
    """Everything the pixels of an output depend on, as words that a message can show."""
    from unetmm import __version__

    given = options.calibration
    assert not isinstance(given, Path), "the caller has read it"
    calibration = "measured" if given is None else _short_hash(given.to_json().encode())
    return {
        "input": _input_state(path),
        "image": f"{info.axes} {info.shape} {info.dtype}",
        "part of the image": str(options.select or "all"),
        "model": f"{model.name} {model.checksum[:16]}",
        "calibration": calibration,
        "range": "measured" if options.fixed_range is None else str(options.fixed_range),
        "strength": str(options.strength),
        "format": type(output.store).__name__.removesuffix("Store"),
        "encoding": str(options.encoding),
        "chunks": f"{output.chunk}, {len(output.store.levels)} levels",
        "unetmm": __version__,
    }


def _input_state(path: Path) -> str:
    """Size and time of the last change of a file, or of a folder's metadata."""
    if path.is_dir():
        files = [path / name for name in METADATA_FILES if (path / name).is_file()]
    else:
        files = [path]
    states = (f.stat() for f in files)
    return ", ".join(f"{s.st_size} bytes of {s.st_mtime_ns} ns" for s in states)


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def make_record(facts: Mapping[str, str], calibration: Calibration) -> dict[str, Any]:
    """How an image was made, for its metadata."""
    kept = {k: facts[k] for k in ("model", "strength", "range", "unetmm")}
    return {"software": "unetmm", **kept, "calibration": calibration.to_json()}


def check_same(output: Output, begun: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to go on with an output that was begun differently.

    Raises
    ------
    ResumeError
        It names what differs.
    """
    for name in now:
        if begun.get(name) != now[name]:
            raise ResumeError(
                f"{output.path}: a run was begun with {name} {begun.get(name)}, now it is "
                f"{now[name]}; give the same to go on, or --overwrite to begin anew"
            )
