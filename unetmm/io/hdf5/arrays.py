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
from unetmm.io.listed import listed

log = logging.getLogger(__name__)

HDF5_MARK = b"\x89HDF\r\n\x1a\n"
"""Beginning of a file."""
CACHE_BYTES = 16 * 2**20
"""Memory of the cache of chunks of an open array."""
_MOST_NODES = 20_000
"""Most groups and arrays of a file that are looked at."""
_MOST_DEPTH = 32
_MOST_LINKS = 16
"""Most links that a path may lead over."""
DEGREES_NORTH = ("degrees_north", "degree_north", "degrees_n", "degree_n")
DEGREES_EAST = ("degrees_east", "degree_east", "degrees_e", "degree_e")
"""Units of latitudes and of longitudes in netCDF."""
_MOST_COLUMNS = 4
"""Most columns, or rows, of a table: coordinates of points are no image."""
_MOST_NAMED = 4
"""Most arrays that a message names."""


@dataclass(frozen=True)
class Found:
    """An array of a file."""

    name: str
    """Path within the file, without a slash before it."""
    pixels: int
    """Number of its values."""
    problem: str = ""
    """Reason why it is no image; empty if it may be one."""
    is_table: bool = False
    """Whether it has few columns or rows, as coordinates of points have, or is of such."""
    is_scale: bool = False
    """Whether it is the coordinates of an axis of other arrays."""


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


def choose_array(path: Path, file: Any, within: str, series: int | None) -> tuple[str, list[str]]:
    """Name of the array that is asked for by its path or number, and the names of the others.

    The largest if none is asked for, with a word on the others.

    Raises
    ------
    ImageError
        If there is none such.
    """
    node = _named_node(path, file, within)
    everything = list(_walk(file, str(node.name).strip("/"), node))
    found = _images(everything)
    if not found:
        other = list_arrays(file) if within else []
        hint = f"; the file holds {_named(other)}" if other else ""
        raise ImageError(_no_image(path, within, everything) + hint)
    if series is not None:
        if series >= len(found):
            raise ImageError(
                f"{path}: array {series} was asked for (--series); it holds {_named(found)}"
            )
        chosen = found[series]
    else:
        chosen = max(found, key=lambda one: one.pixels)
        if len(found) > 1:
            log.warning(
                "%s: holds %d arrays: %s; %s is read, the largest; --series N reads another",
                path, len(found), _named(found), chosen.name,
            )  # fmt: skip
    others = [one.name for one in everything if one is not chosen and not one.is_scale]
    return chosen.name, [] if within else others


def _named_node(path: Path, file: Any, within: str) -> Any:
    """The group or array that is named; the file itself if none is.

    Raises
    ------
    ImageError
        If there is none, or it lies in another file.
    """
    node, leads_out = _follow(file, within)
    if node is not None:
        return node
    if leads_out:
        raise ImageError(
            f"{path}: {within} is a link to another file, which is not read; give that file"
        )
    raise ImageError(f"{path}: holds no array of that name; it holds {_named(list_arrays(file))}")


def _no_image(path: Path, within: str, everything: list[Found]) -> str:
    """What to say where nothing can be restored."""
    if not everything:
        what = f"{within} holds" if within else "holds"
        return f"{path}: {what} no arrays; give one of numbers in rows and columns"
    there = listed([f"{one.name} {one.problem}" for one in everything])
    return f"{path}: holds no array of rows and columns: {there}"


def list_arrays(file: Any) -> list[Found]:
    """Arrays that may be images, in the order of their names.

    Tables, such as coordinates of points, are among them only where there is nothing else.
    """
    return _images(list(_walk(file, "", file)))


def _images(everything: list[Found]) -> list[Found]:
    found = [one for one in everything if not one.problem]
    return [one for one in found if not one.is_table] or found


def _walk(file: Any, name: str, node: Any) -> Iterator[Found]:
    """Every array in a group, in the order of their names; of an array itself."""
    left = _MOST_NODES
    stack = [(name, node, 0)]
    while stack:
        name, node, depth = stack.pop()
        if not hasattr(node, "keys"):
            yield _found(name, node)
            continue
        if depth == _MOST_DEPTH:
            continue
        names = sorted(node.keys(), reverse=True)
        if (left := left - len(names)) < 0:
            raise ImageError(f"{file.filename}: holds too many arrays to look at; name one of them")
        for inner in names:
            if (child := _own(node, inner)) is not None:
                stack.append((f"{name}/{inner}".lstrip("/"), child, depth + 1))


def _found(name: str, array: Any) -> Found:
    shape = array.shape or ()
    is_table = len(shape) == 2 and (min(shape) <= _MOST_COLUMNS or _is_of_degrees(array))
    return Found(name, math.prod(shape), _problem(array), is_table, bool(array.is_scale))


def _is_of_degrees(array: Any) -> bool:
    """Whether it holds the latitude or longitude of each pixel of others."""
    unit = array.attrs.get("units", "")
    text = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)
    return text.lower() in (*DEGREES_NORTH, *DEGREES_EAST)


def _problem(array: Any) -> str:
    """Why an array is no image: numbers in two to five axes are."""
    shape, dtype = array.shape, array.dtype
    if shape is None or 0 in shape:
        return "is empty"
    if dtype.names is not None:
        return "is a table of records, not of numbers"
    if dtype.kind == "b":
        return "holds true and false; save it as uint8"
    if dtype.kind == "c":
        return "holds complex numbers; save their absolute values, or both parts as two channels"
    if dtype.kind not in "uif":
        return "holds texts or the like, no numbers"
    if not 2 <= len(shape) <= 5:
        axes = f"{len(shape)} ax{'is' if len(shape) == 1 else 'es'}"
        return f"has {axes}, an image has 2 to 5"
    return ""


def _own(group: Any, name: str) -> Any:
    """What a group holds itself under a name; None for links and for what is no array or group."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    found = group[name]
    return found if isinstance(found, h5py.Group | h5py.Dataset) else None


def node_at(file: Any, name: str) -> Any:
    """The group or array of a path, as far as it lies in the file; None otherwise."""
    return _follow(file, name)[0]


def _follow(file: Any, name: str) -> tuple[Any, bool]:
    """What a path leads to, None if to nothing in the file; and whether it leads to another file.

    Links within the file are followed.
    """
    import h5py

    node, links, left = file, 0, name.split("/")[::-1]
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        link = node.get(part, getlink=True) if hasattr(node, "keys") else None
        if isinstance(link, h5py.SoftLink) and links < _MOST_LINKS:
            node, links = file if link.path.startswith("/") else node, links + 1
            left += link.path.split("/")[::-1]
            continue
        if isinstance(link, h5py.ExternalLink):
            return None, True
        node = None if link is None else _own(node, part)
        if node is None:
            break
    return node, False


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
