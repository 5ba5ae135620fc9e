"""Which format a path holds, told from its first bytes; the extension only words the error."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.foreign import FOREIGN, SHELLS
from unetmm.io.formats import FORMATS, READABLE, Format
from unetmm.io.hdf5.arrays import is_hdf5
from unetmm.io.ome_sets import COMPANION
from unetmm.io.places import ZARR_MARKS, Place, RemotePath, is_zarr

MOST_NAMES, SHOWN_NAMES = 1000, 3
"""Names of a folder that are looked at for one that was meant, and that are shown otherwise."""
HEAD_BYTES = 512
"""Number of bytes at the start of a file that tell its format."""

ALIKE = 0.6
"""Likeness of two names without their endings from which on one may be meant by the other."""


def sniff_format(path: Place) -> Format:
    """The format of what is at a place.

    Raises
    ------
    ImageError
        If there is nothing at `path`, or something that unetmm does not read.
    """
    if isinstance(path, RemotePath):
        if is_zarr(path):
            return _zarr()
        raise ImageError(f"{path}: is no Zarr, and only Zarr is read from URLs; download it first")
    with translated(path, "look at it"):
        if not path.exists():
            if is_hdf5(path):
                return _named("hdf5")
            raise ImageError(f"{path}: there is no such file or folder{_meant(path)}")
        if path.is_dir():
            return _sniff_folder(path)
        if not path.is_file():
            raise ImageError(f"{path}: is not a regular file; give a {READABLE}")
        if path.name.lower().endswith(COMPANION):
            return _named("tiff")
        _refuse_shell(path)
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    for format in sorted(FORMATS, key=lambda format: -format.mark_at):
        if format.matches(head) and not _is_raw_photo(head):
            return format
    raise ImageError(f"{path}: {_describe(head, path)}")


def _meant(path: Path) -> str:
    """What a path that leads to nothing may mean, in words."""
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    names = [name for name, _ in zip(os.listdir(folder), range(MOST_NAMES), strict=False)]
    close = difflib.get_close_matches(path.name, names, 1)
    if close and difflib.SequenceMatcher(None, path.stem, Path(close[0]).stem).ratio() > ALIKE:
        return f"; is it {folder / close[0]}?"
    some = ", ".join(sorted(names)[:SHOWN_NAMES])
    return f"; the folder has {some}{', ...' * (len(names) > SHOWN_NAMES)}" if some else ""


def _refuse_shell(path: Path) -> None:
    """Refuse a file that only shows a small picture of an image that lies in a folder beside it.

    Raises
    ------
    ImageError
        It says how to convert the image.
    """
    shell = SHELLS.get(path.suffix.lower())
    if shell is not None:
        raise ImageError(
            f"{path}: is {shell.what}, which holds a small picture only; the image lies in "
            f"{shell.beside.format(path.stem)}; convert it: {shell.remedy.format(path.name)}"
        )


def looks_like_image(head: bytes) -> bool:
    """Whether a stream that starts like this is a file of an image format rather than text."""
    if head[:2] in (b"P5", b"P6"):  # a PNM's header is text; a name would go on otherwise
        return head[2:3] in (b"\n", b" ", b"\r", b"\t") and head[3:4] in b"#0123456789"
    known = any(kind.matches(head) for kind in FORMATS)
    known = known or any(kind.matches(head) for kind in FOREIGN)
    is_fits = head[:9] == b"SIMPLE  ="  # whose header is text
    return known and (is_fits or not _is_text(head))


def _is_text(head: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def _zarr() -> Format:
    return next(format for format in FORMATS if format.is_folder)


def _named(name: str) -> Format:
    return next(format for format in FORMATS if format.name == name)


def _sniff_folder(path: Path) -> Format:
    if is_zarr(path):
        return _zarr()
    raise ImageError(
        f"{path}: is a folder without {', '.join(ZARR_MARKS)}, so it is no Zarr; "
        f"give one {READABLE}"
    )


def _is_raw_photo(head: bytes) -> bool:
    """Whether a file that starts like a TIFF is a camera's, whose first page is a small copy."""
    return FOREIGN[0].matches(head)


def _describe(head: bytes, path: Path) -> str:
    """What the first bytes look like, and the way on, for an error message."""
    reads = f"unetmm reads {READABLE}"
    if not head:
        return f"the file is empty; {reads}"
    for kind in FOREIGN:
        if kind.matches(head):
            remedy = kind.remedy.format(path.name, path.stem) or reads
            return f"the file is {kind.what}; {remedy}"
    if _is_text(head):
        return f"the file holds text ({head.decode('ascii')[:12]!r}...), no image; {reads}"
    ending = f" whose extension is {path.suffix}" if path.suffix else ""
    return f"the file{ending} is no known image; {reads}"
