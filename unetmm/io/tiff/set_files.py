"""Files that an OME-TIFF names as parts of its image: regular files beside it, and nothing else.

The name comes out of the file, and what it names becomes a part of the output. So a path to a
folder of somebody's own, a link that leads there, or a pipe that would be waited at, is not opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from unetmm.errors import ImageError
from unetmm.io.ome_sets import is_sibling

_NAMES = re.compile(r"""FileName\s*=\s*("[^"]*"|'[^']*')""")
_PLAIN = re.compile(r"[^/\\:&<>]+")
"""Names that are what they look like: no path, no drive, and nothing that XML would replace."""


def with_siblings_only(path: Path, xml: str) -> str:
    """The same OME-XML, but with names of files instead of paths.

    Raises
    ------
    ImageError
        If a file of such a name is none that may be read for it, or XML hides names.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ImageError(f"{path}: its OME-XML declares a DOCTYPE, which OME knows none of")
    names = {found[1:-1] for found in _NAMES.findall(xml)}
    if not all(_PLAIN.fullmatch(name) and name not in (".", "..") for name in names):
        xml, names = _renamed(xml)
    for name in sorted(names):
        if name and not is_sibling(path, name):
            raise ImageError(
                f"{path}: names {name} as a part of its image, which is no regular file beside it; "
                "put the file itself there"
            )
    return xml


def check_siblings(path: Path, files: Iterable[Path]) -> None:
    """Refuse files elsewhere that pages of an image were found in, as by an index of its own.

    Raises
    ------
    ImageError
        It names the first.
    """
    own = Path(os.path.realpath(path))
    for file in files:  # of which tifffile gives the real names
        real = Path(os.path.realpath(file))
        if real.parent != own.parent or not real.is_file():
            raise ImageError(f"{path}: has pages in {file}, which is no regular file beside it")


def _renamed(xml: str) -> tuple[str, set[str]]:
    """OME-XML whose files have no folders, and their names."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return xml, set()  # which names nothing then
    names = set()
    for element in root.iter():
        if "FileName" in element.attrib:
            name = re.split(r"[/\\]", element.attrib["FileName"])[-1].strip()
            name = "" if name in (".", "..") or "\0" in name else name
            element.set("FileName", name)
            names.add(name)
    return ElementTree.tostring(root, encoding="unicode"), names
