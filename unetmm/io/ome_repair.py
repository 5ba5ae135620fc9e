"""OME-XML that was cut off, not closed, or that disagrees with the pages: put right where certain.

Software that crashed leaves text without its end; some versions of Micro-Manager never close an
element, or count one channel where there are two cameras.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from unetmm.io.ome_xml import MAX_XML_CHARS

_TAG = re.compile(
    r"""<(/?)([A-Za-z_][\w:.-]*)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(/?)>"""
)
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_PARENTS = {
    **dict.fromkeys(
        ("Image", "Instrument", "StructuredAnnotations", "ROI", "Experimenter", "Plate"), "OME"
    ),
    "Pixels": "Image",
    **dict.fromkeys(("Channel", "TiffData", "Plane", "BinData", "MetadataOnly"), "Pixels"),
}
"""Element -> the only one that it stands in."""


@dataclass(frozen=True)
class Repaired:
    """OME-XML that can be used, and what a reader should know of it."""

    xml: str
    """Text of it; empty if there is no telling which pages are what."""
    words: tuple[str, ...] = ()
    """Words on what was wrong, and what was made of it."""
    pages_left: int = 0
    """Number of pages of the file that it does not describe."""


def is_ome_xml(text: str) -> bool:
    """Whether a description is OME-XML, or was meant to be."""
    return "<OME" in text[:2000] and "openmicroscopy.org" in text[:4000]


def repair(xml: str, pages: int, size: tuple[int, int], file: str = "") -> Repaired:
    """OME-XML of a file that fits its pages.

    Parameters
    ----------
    file : name of the file, which the text may name as the one that has the pages.
    pages : number of pages of the file that are as large as its first.
    size : height and width of a page, in pixels.
    """
    words: list[str] = []
    if len(xml) > MAX_XML_CHARS:  # as objects it would take too much
        return Repaired(xml)
    root = _parsed(xml)
    if root is None:
        root = _recovered(xml)
        if root is None or root.find("{*}Image/{*}Pixels") is None:
            return Repaired("", (f"its OME-XML is damaged and does not say what its {pages} pages "
                                 "are",))  # fmt: skip
        words.append("its OME-XML is damaged")
    images = root.findall("{*}Image")
    pixels = None if len(images) != 1 else images[0].find("{*}Pixels")
    if pixels is None or _names_others(pixels, file):
        return Repaired(_text(root) if words else xml, _said(words, "what is left of it is used"))
    left, changes = _fit(pixels, pages, size, damaged=bool(words))
    if left < 0:
        described = _planes(pixels)
        words.append(f"it describes {described} planes in {pages} pages")
        return Repaired("", tuple(words))
    words += changes
    outcome = f"its {pages} pages are read as {_axes_text(pixels)}"
    return Repaired(_text(root) if words else xml, _said(words, outcome), left)


def _said(words: list[str], outcome: str) -> tuple[str, ...]:
    return (*words, outcome) if words else ()


def _parsed(xml: str) -> Element | None:
    try:
        return ElementTree.fromstring(xml.encode())
    except ElementTree.ParseError:
        return None


def _text(root: Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")


def _recovered(xml: str) -> Element | None:
    """All elements that are whole, each in the only parent that it may have."""
    root: Element | None = None
    stack: list[tuple[str, Element]] = []
    space, end = "", 0
    for found in _TAG.finditer(xml[:MAX_XML_CHARS]):
        closing, name, attributes, empty = found.groups()
        short = name.rpartition(":")[2]
        if stack and not closing and (text := xml[end : found.start()].strip()):
            stack[-1][1].text = text
        if closing:
            if stack and stack[-1][0] == short:
                stack[-1][1].text = stack[-1][1].text or xml[end : found.start()].strip() or None
            if any(short == open_name for open_name, _ in stack):
                while stack.pop()[0] != short:
                    pass
            end = found.end()
            continue
        values = dict(_attributes(attributes))
        if root is None:
            if short != "OME":
                continue
            space = values.pop("xmlns", "http://www.openmicroscopy.org/Schemas/OME/2016-06")
        while len(stack) > 1 and short in _PARENTS and stack[-1][0] != _PARENTS[short]:
            stack.pop()
        element = Element(f"{{{space}}}{short}", values)
        if root is None:
            root = element
        elif stack:
            stack[-1][1].append(element)
        if not empty:
            stack.append((short, element))
        end = found.end()
    return root


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    for name, double, single in _ATTRIBUTE.findall(text):
        if name == "xmlns" or ":" not in name:
            value = double or single
            for code, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
                value = value.replace(code, sign)
            yield name, value


def _names_others(pixels: Element, file: str) -> bool:
    """Whether planes lie in other files too."""
    uuids = pixels.iterfind("{*}TiffData/{*}UUID")
    return any(uuid.get("FileName", file) != file for uuid in uuids)


def _size(pixels: Element, axis: str) -> int:
    text = pixels.get(f"Size{axis}", "1")
    return int(text) if text.isdecimal() and int(text) > 0 else 1


def _samples(pixels: Element) -> int:
    channel = pixels.find("{*}Channel")
    text = "1" if channel is None else channel.get("SamplesPerPixel", "1")
    return int(text) if text.isdecimal() and int(text) > 0 else 1


def _planes(pixels: Element) -> int:
    return math.prod(_size(pixels, axis) for axis in "TCZ") // _samples(pixels)


def _axes_text(pixels: Element) -> str:
    sizes = {axis: _size(pixels, axis) for axis in "TCZ"}
    return ", ".join(f"{axis} {n}" for axis, n in sizes.items() if n > 1) or "a single plane"


def _fit(
    pixels: Element, pages: int, size: tuple[int, int], damaged: bool
) -> tuple[int, list[str]]:
    """(pages that are not described, what was changed) of an image's only element of pixels.

    -1 instead of the pages if damaged text cannot be told to fit.
    """
    words = []
    if damaged:
        counted = _planes(pixels) == pages or _counted(pixels) is not None
        if not (counted and _place_all(pixels, pages)):
            return -1, []
    stated = _size(pixels, "Y"), _size(pixels, "X")
    if stated != size and "SizeX" in pixels.attrib:
        words.append(f"its OME-XML says {stated[1]} x {stated[0]} px")
        pixels.attrib |= {"SizeY": str(size[0]), "SizeX": str(size[1])}
    if _planes(pixels) < pages and (larger := _counted(pixels)) is not None:
        axis, number = larger
        count = _planes(pixels) // _size(pixels, axis) * number
        if count <= pages:
            words.append(f"its OME-XML says {axis} {_size(pixels, axis)}, but lists {number}")
            pixels.set(f"Size{axis}", str(number))
    return max(0, pages - _planes(pixels)), words


def _counted(pixels: Element) -> tuple[str, int] | None:
    """An axis that has more than it says, by channels or by the places of planes; None if none."""
    places = pixels.findall("{*}TiffData")
    for axis in "CTZ":
        firsts = [d.get(f"First{axis}", "0") for d in places]
        number = max((int(n) + 1 for n in firsts if n.isdecimal()), default=1)
        if axis == "C" and _samples(pixels) == 1:
            number = max(number, len(pixels.findall("{*}Channel")))
        if number > _size(pixels, axis):
            return axis, number
    return None


def _place_all(pixels: Element, pages: int) -> bool:
    """Say that all pages are planes in their order, where a part of the text on that is lost.

    False if the text that is left says another order.
    """
    places = pixels.findall("{*}TiffData")
    if sum(_number(d, "PlaneCount", 1) for d in places) >= pages:
        return True
    if any(_number(d, "IFD", 0) != _index(pixels, d) for d in places):
        return False
    for place in places:
        pixels.remove(place)
    space = pixels.tag.partition("}")[0] + "}"
    pixels.append(Element(f"{space}TiffData", IFD="0", PlaneCount=str(pages)))
    return True


def _index(pixels: Element, place: Element) -> int:
    """Number of a plane by the order of dimensions."""
    index, step = 0, 1
    for axis in pixels.get("DimensionOrder", "XYCZT")[2:]:
        index += step * _number(place, f"First{axis}", 0)
        step *= _size(pixels, axis) // (_samples(pixels) if axis == "C" else 1) or 1
    return index


def _number(element: Element, name: str, default: int) -> int:
    text = element.get(name, "")
    return int(text) if text.isdecimal() else default
