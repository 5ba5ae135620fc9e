"""The arrays of an HDF5 file that may be images, and the one that is meant.

Nothing outside the file is read: neither links to other files, nor arrays whose pixels lie there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetmm.errors import ImageError
from unetmm.extras import need

log = logging.getLogger(__name__)

HDF5_MARK = b"\x89HDF\r\n\x1a\n"
"""Beginning of a file."""
CACHE_BYTES = 16 * 2**20
"""Memory of the cache of chunks of an open array."""
_MOST_NODES = 20_000
"""Most groups and arrays of a file that are looked at."""
_MOST_DEPTH = 32
_MOST_NAMED = 4
"""Most arrays that a message names."""


@dataclass(frozen=True)
class Found:
    """An array of a file."""

    name: str
    """Path within the file, without a slash before it."""
    pixels: int
    """Number of its values."""


def open_file(path: Path) -> Any:
    """The file, open for reading, with a cache of chunks for each array.

    Raises
    ------
    ImageError
        If h5py is not installed, or the file is damaged.
    """
    need("h5py", f"{path}: is an HDF5; to read it unetmm", 'pip install "unetmm[hdf5]"')
    import h5py

    return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES, locking="best-effort")


def split_place(path: Path) -> tuple[Path, str]:
    """A file and the path within it, of a place such as scan.h5/volumes/raw; ("" for none)."""
    for file in (path, *path.parents):
        if file.is_file():
            within = path.relative_to(file).as_posix()
            return file, "" if within == "." else within
    return path, ""


def is_hdf5(path: Path) -> bool:
    """Whether a place lies in an HDF5 file, as scan.h5/volumes/raw does."""
    file, within = split_place(path)
    if not within or not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(HDF5_MARK)) == HDF5_MARK


def choose_array(path: Path, file: Any, within: str, series: int | None) -> tuple[str, int]:
    """Name of the array that is asked for by its path or number, and how many others there are.

    The largest if none is asked for, with a word on the others.

    Raises
    ------
    ImageError
        If there is none such.
    """
    found = list(list_arrays(file))
    if within:
        inside = [one for one in found if f"{one.name}/".startswith(f"{within}/")]
        if not inside:
            raise ImageError(f"{path}: holds no array of that name; it holds {_named(found)}")
        found = inside
    others = 0 if within else len(found) - 1
    if not found:
        raise ImageError(f"{path}: holds no array of rows and columns; give a file that does")
    if series is not None:
        if series >= len(found):
            raise ImageError(
                f"{path}: array {series} was asked for (--series); it holds {_named(found)}"
            )
        return found[series].name, others
    chosen = max(found, key=lambda one: one.pixels)
    if len(found) > 1:
        log.warning(
            "%s: holds %d arrays: %s; %s is read, the largest; --series N reads another",
            path, len(found), _named(found), chosen.name,
        )  # fmt: skip
    return chosen.name, others


def list_arrays(file: Any) -> Iterator[Found]:
    """Arrays of numbers with two to five axes, in the order of their names."""
    left = _MOST_NODES
    stack = [("", file, 0)]
    while stack:
        name, node, depth = stack.pop()
        if not hasattr(node, "keys"):
            if _may_be_image(node):
                yield Found(name, math.prod(node.shape))
            continue
        if depth == _MOST_DEPTH:
            continue
        names = sorted(node.keys(), reverse=True)
        if (left := left - len(names)) < 0:
            raise ImageError(f"{file.filename}: holds too many arrays to look at; name one of them")
        for inner in names:
            if (child := _own(node, inner)) is not None:
                stack.append((f"{name}/{inner}".lstrip("/"), child, depth + 1))


def _own(group: Any, name: str) -> Any:
    """What a group holds itself under a name; None for links and for what is no array or group."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    found = group[name]
    return found if isinstance(found, h5py.Group | h5py.Dataset) else None


def node_at(file: Any, name: str) -> Any:
    """The group or array of a path, as far as the file holds it itself; None otherwise."""
    node = file
    for part in name.split("/"):
        node = _own(node, part) if hasattr(node, "keys") else None
    return node


def _may_be_image(array: Any) -> bool:
    """Whether it is numbers in two to five axes; scales of other arrays have one."""
    return (
        array.shape is not None
        and 2 <= len(array.shape) <= 5
        and min(array.shape) > 0
        and array.dtype.kind in "uif"
        and array.dtype.names is None
    )


def check_own(path: Path, array: Any) -> None:
    """Refuse an array whose pixels lie in other files.

    Raises
    ------
    ImageError
        If it is one.
    """
    if array.external or array.is_virtual:
        raise ImageError(
            f"{path}: the pixels of {array.name} lie in other files, which are not read; "
            f"copy it by h5repack first"
        )


def _named(found: list[Found]) -> str:
    words = [f"{i} ({one.name})" for i, one in enumerate(found[:_MOST_NAMED])]
    return ", ".join(words) + ", ..." * (len(found) > _MOST_NAMED) or "none"
