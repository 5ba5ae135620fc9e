"""Sets of OME-TIFF files that are one image: which files belong together, told by their names.

Only files of the folder itself are members: an image must not lead a reader elsewhere.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from unetmm.io.failures import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPANION = ".companion.ome"
"""Ending of a file that holds the OME-XML of TIFFs beside it."""
_FILE_NAME = re.compile(r"""\bFileName\s*=\s*["']([^"']+)["']""")
_METADATA_FILE = re.compile(r"""<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile\s*=\s*["']([^"']+)["']""")
_IMAGE = re.compile(r"<(?:\w+:)?Image\s")
_SUFFIXES = (".tif", ".tiff", ".tf8", ".btf")
_NDTIFF = re.compile(r"^(.*NDTiffStack)(_\d+)?\.tif$")


def sibling(path: Path, name: str) -> Path | None:
    """The file of a name beside another; None if there is none, or none that may be read for it."""
    found = path.parent / Path(name.replace("\\", "/")).name
    return found if found.is_file() and is_sibling(path, found.name) else None


def is_sibling(path: Path, name: str) -> bool:
    """Whether a file beside an image may be read for it, or there is none of that name.

    A link may lead to a file beside that which the image itself leads to, as where all files of a
    set are linked from another folder.
    """
    other = path.parent / name
    try:
        found = other.lstat()
        if stat.S_ISLNK(found.st_mode):
            real = Path(os.path.realpath(other))
            return real.parent == Path(os.path.realpath(path)).parent and real.is_file()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode)


def first_member(companion: Path) -> Path | None:
    """The first TIFF that a companion names and that is there; of a TIFF that with its OME-XML."""
    if not companion.name.lower().endswith(COMPANION):
        return _master_of(companion)
    with translated(companion, "read it"):
        text = companion.read_text(encoding="utf-8", errors="replace")
    for name in dict.fromkeys(_FILE_NAME.findall(text)):
        member = sibling(companion, name)
        if member is not None and member.suffix.lower() in _SUFFIXES:
            return member
    return None


def _master_of(path: Path) -> Path | None:
    """The TIFF beside another that holds its OME-XML, as of Micro-Manager; None if it has it."""
    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        return None
    reference = _METADATA_FILE.search(_description(path))
    found = sibling(path, reference[1]) if reference else None
    return found if found is not None and found.suffix.lower() in _SUFFIXES else None


def without_parts(paths: Sequence[Path]) -> dict[Path, Path]:
    """File -> the file before it that reads the whole image which both are parts of."""
    there = {path.resolve(): path for path in paths}
    firsts: dict[Path, Path] = {}
    found: dict[Path, Path] = {}
    known: dict[Path, str] = {}
    for path in paths:
        if path.suffix.lower() not in _SUFFIXES or path.resolve() in found:
            continue
        for member in members_of(path, known):
            other = there.get(member.resolve())
            if other is not None and other != path and other.resolve() not in firsts:
                found.setdefault(other.resolve(), path)
        firsts[path.resolve()] = path
    return {there[member]: first for member, first in found.items()}


def members_of(path: Path, known: dict[Path, str] | None = None) -> list[Path]:
    """Files of the image that a TIFF is a part of, as far as they are there; empty if it is whole.

    Parameters
    ----------
    known : text of companions that were read before.
    """
    if match := _NDTIFF.match(path.name):
        if (path.parent / "NDTiff.index").is_file():
            return sorted(p for p in path.parent.glob("*NDTiffStack*.tif")
                          if (m := _NDTIFF.match(p.name)) and m[1] == match[1])  # fmt: skip
    text = _description(path)
    if reference := _METADATA_FILE.search(text):
        companion = sibling(path, reference[1])
        if companion is None:
            return []
        if companion.suffix.lower() in _SUFFIXES:
            text = _description(companion)
        else:
            known = {} if known is None else known
            if companion not in known:
                known[companion] = companion.read_text(encoding="utf-8", errors="replace")
            text = known[companion]
    for image in _IMAGE.split(text)[1:]:
        names = {Path(name).name for name in _FILE_NAME.findall(image)}
        if path.name in names:
            return [found for name in sorted(names) if (found := sibling(path, name)) is not None]
    return []


def _description(path: Path) -> str:
    """OME-XML of a TIFF's first page; empty if it has none that names files, or is damaged."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            text = str(tif.pages.first.description)
    except Exception:  # whatever a damaged file raises, which is said when its turn comes
        return ""
    return text if "FileName" in text or "BinaryOnly" in text else ""
