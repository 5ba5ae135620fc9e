"""What OME-XML says of the first image: pixel sizes, channels, place on the stage."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from unetmm.errors import ImageError
from unetmm.io.limits import FREE_BYTES
from unetmm.io.units import full_unit, in_unit

_ORDERS = tuple("XY" + "".join(order) for order in itertools.permutations("ZCT"))
_ORDER_TEXT = re.compile(r"""\sDimensionOrder\s*=\s*["']([^"']*)""")
MAX_XML_CHARS = 2**21
"""Longest OME-XML that is kept, in characters: as objects it takes far more than its text."""
PARSED_BYTES = 8
"""Memory of parsing OME-XML per character, measured."""


def xml_bytes(chars: int) -> int:
    """Memory of parsing OME-XML beyond that of a usual file, which is part of the runtime."""
    return max(0, PARSED_BYTES * chars - FREE_BYTES)


@dataclass(frozen=True)
class OmeFacts:
    """The parts of OME-XML that a restored image keeps."""

    pixel_size: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Axis -> length and unit of a pixel."""
    channel_names: tuple[str, ...] = ()
    """Name of each channel, or none at all."""
    channel_colors: tuple[str, ...] = ()
    """Colour of each channel as "#rrggbb", or none at all."""
    origin: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Axis -> stage position of the first plane, with its unit."""
    bits: int = 0
    """Significant bits, 0 if not stated."""
    images: int = 0
    """Number of images."""


def mentions(xml: str, name: str) -> bool:
    """Whether there is an element of a name, whatever prefix its namespace has."""
    return re.search(rf"<(?:\w+:)?{name}[\s/>]", xml) is not None


def only_image(xml: str, number: int, name: str) -> str:
    """OME-XML with one of several images alone, which is the first one then.

    Parameters
    ----------
    number : of the image among those that have pixels; by it one is told if there are as many.
    name : of the image, by which it is told otherwise.
    """
    try:
        root = ElementTree.fromstring(xml.encode())
    except ElementTree.ParseError:
        return xml
    images = root.findall("{*}Image")
    named = [image for image in images if name and image.get("Name") == name]
    chosen = named[0] if len(named) == 1 else images[number] if number < len(images) else None
    if chosen is None or len(images) < 2:
        return xml
    for image in images:
        if image is not chosen:
            root.remove(image)
    return ElementTree.tostring(root, encoding="unicode")


def parse_ome_xml(xml: str) -> OmeFacts:
    """Facts of the first image; empty where OME-XML is malformed."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return OmeFacts()
    pixels = root.find("{*}Image/{*}Pixels")
    if pixels is None:
        return OmeFacts()
    channels = pixels.findall("{*}Channel")
    names = tuple(channel.get("Name", "") for channel in channels)
    colors = tuple(_color(channel.get("Color", "")) for channel in channels)
    return OmeFacts(
        pixel_size=attribute_sizes(pixels.attrib),
        channel_names=names if any(names) else (),
        channel_colors=colors if all(colors) else (),
        origin=_origin(pixels),
        bits=int(number(pixels.get("SignificantBits"))),
        images=len(root.findall("{*}Image")),
    )


def _origin(pixels: ElementTree.Element) -> dict[str, tuple[float, str]]:
    for plane in pixels.iterfind("{*}Plane"):
        if all(plane.get(f"The{axis}", "0") == "0" for axis in "TCZ"):
            return {
                axis: (number(plane.get(f"Position{axis}")), unit)
                for axis in "XYZ"
                if plane.get(f"Position{axis}") is not None
                for unit in [full_unit(plane.get(f"Position{axis}Unit", "reference frame"))]
            }
    return {}


def _color(text: str) -> str:
    """ "#rrggbb" of OME's signed RGBA integer, empty if there is none."""
    try:
        return f"#{(int(text) & 0xFFFFFFFF) >> 8:06x}"
    except ValueError:
        return ""


def attribute_sizes(attributes: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Pixel sizes from attributes named as in OME-XML."""
    found = {}
    for axis in "XYZT":
        name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        default = "s" if axis == "T" else "µm"
        unit = full_unit(str(attributes.get(f"{name}Unit", default)))
        found[axis] = (number(attributes.get(name)), unit)
    return {axis: size for axis, size in found.items() if size[0] > 0}


def fitted_names(names: Sequence[str], channels: int) -> tuple[str, ...]:
    """As many names as channels: those there are, then empty ones; none if all are empty."""
    found = (*names, *[""] * channels)[:channels]
    return found if any(found) else ()


def number(value: Any) -> float:
    """A finite float, 0 for what is none; a comma may stand for the point."""
    if isinstance(value, str) and value.count(",") == 1 and "." not in value:
        value = value.replace(",", ".")
    try:
        found = float(value)
    except (TypeError, ValueError):
        return 0.0
    return found if math.isfinite(found) else 0.0


def named_files(xml: str) -> list[str]:
    """Files that the OME-XML places planes in."""
    try:
        uuids = list(ElementTree.fromstring(xml).iterfind(".//{*}TiffData/{*}UUID"))
    except ElementTree.ParseError:
        return []
    return [name for name in dict.fromkeys(u.get("FileName", "") for u in uuids) if name]


def companion_name(xml: str) -> str | None:
    """The file that holds the real OME-XML, if this one only refers to it."""
    if "BinaryOnly" not in xml:  # which may be long
        return None
    try:
        found = ElementTree.fromstring(xml).find("{*}BinaryOnly")
    except ElementTree.ParseError:
        return None
    return None if found is None else found.get("MetadataFile")


def with_known_order(path: Path, xml: str) -> str:
    """The same OME-XML if every image has one of the six orders of planes, or it does not matter.

    Raises
    ------
    ImageError
        If an order is none of them, and the image has several planes along more than one axis.
    """
    if all(found in _ORDERS for found in _ORDER_TEXT.findall(xml)):
        return xml
    try:
        root = ElementTree.fromstring(xml.encode())
    except ElementTree.ParseError:
        return xml
    for pixels in root.iterfind(".//{*}Pixels"):
        order = pixels.get("DimensionOrder", "")
        channel = pixels.find("{*}Channel")
        samples = "1" if channel is None else channel.get("SamplesPerPixel", "1")
        lengths = [pixels.get(f"Size{axis}", "1") for axis in "TZ"]
        # Colours of a pixel are counted as channels and are no planes.
        lengths += [c for c in [pixels.get("SizeC", "1")] if c != samples]
        meant = "XY" + "".join(letter for letter in order.upper() if letter in "ZCT")
        if meant in _ORDERS:
            pixels.set("DimensionOrder", meant)
        elif sum(length != "1" for length in lengths) <= 1:
            pixels.set("DimensionOrder", _ORDERS[0])
        else:
            raise ImageError(
                f'{path}: its OME-XML states DimensionOrder "{order}", which is no order of '
                f"planes; correct it to one of {', '.join(_ORDERS)}"
            )
    return ElementTree.tostring(root, encoding="unicode")


def kept_root(xml: str) -> Element | None:
    """The root of OME-XML that an output may keep; None if it is malformed or too long."""
    if not xml or len(xml) > MAX_XML_CHARS:
        return None
    try:
        return ElementTree.fromstring(xml.encode())
    except ElementTree.ParseError:
        return None


def pick_planes(
    xml: str, chosen: Mapping[str, Sequence[int]], samples: int = 1, colours: bool = False
) -> str:
    """OME-XML whose first image has some of the planes only; empty where there is none to keep.

    Parameters
    ----------
    chosen : T, C and Z -> numbers of the planes that are left, in their new order.
    samples : colours of a pixel, which OME counts as channels.
    colours : whether the channels become the colours of one, whose metadata is none of theirs.
    """
    if (elements := _parsed(xml)) is None:
        return ""
    root, image, pixels = elements
    for axis, numbers in chosen.items():
        pixels.set(f"Size{axis}", str(len(numbers) * (samples if axis == "C" else 1)))
    # Regions of interest name planes by number, TiffData the pages of the whole.
    for parent, name in ((root, "ROI"), (image, "ROIRef"), (pixels, "TiffData")):
        for gone in parent.findall(f"{{*}}{name}"):
            parent.remove(gone)
    channels, planes = _taken_out(pixels, "Channel"), _taken_out(pixels, "Plane")
    if not colours:
        if channels and samples == 1 and "C" in chosen:
            tag = channels[0].tag
            known = dict(enumerate(channels))
            channels = [known.get(i, Element(tag, ID=f"Channel:none:{i}")) for i in chosen["C"]]
        pixels[:0] = channels
        pixels.extend(plane for plane in planes if _renumbered(plane, chosen))
    return ElementTree.tostring(root, encoding="unicode")


def crop_planes(xml: str, shifts: Mapping[str, tuple[float, str]], width: int, height: int) -> str:
    """OME-XML whose first image has a part of each plane only; empty where there is none to keep.

    Parameters
    ----------
    shifts : X and Y -> distance of the first pixel of the part from that of the plane, with its
        unit. Positions that are in no such unit are left out.
    """
    if (elements := _parsed(xml)) is None:
        return ""
    root, image, pixels = elements
    pixels.attrib |= {"SizeX": str(width), "SizeY": str(height)}
    _remove_of_plane(root, image, pixels)
    for plane in pixels.iterfind("{*}Plane"):
        for axis in "XY":
            _move(plane, axis, shifts)
    return ElementTree.tostring(root, encoding="unicode")


def enlarge_planes(
    xml: str, shifts: Mapping[str, tuple[float, str]], width: int, height: int, scale: int
) -> str:
    """OME-XML whose first image has `scale` times as many rows and columns; empty where there is
    none to keep.

    shifts : X and Y -> distance of the first pixel's centre from that of the input's, with its
        unit. Positions that are in no such unit are left out.
    """
    if (elements := _parsed(xml)) is None:
        return ""
    root, image, pixels = elements
    pixels.attrib |= {"SizeX": str(width), "SizeY": str(height)}
    for name in ("PhysicalSizeX", "PhysicalSizeY"):
        if pixels.get(name):
            pixels.set(name, repr(number(pixels.get(name, "")) / scale))
    _remove_of_plane(root, image, pixels)
    for plane in pixels.iterfind("{*}Plane"):
        for axis in "XY":
            _move(plane, axis, shifts)
    return ElementTree.tostring(root, encoding="unicode")


def _remove_of_plane(root: Element, image: Element, pixels: Element) -> None:
    """Take out what lies in the whole plane, and the pages of another file."""
    for parent, name in ((root, "ROI"), (image, "ROIRef"), (pixels, "TiffData")):
        for gone in parent.findall(f"{{*}}{name}"):
            parent.remove(gone)


def _move(plane: Element, axis: str, shifts: Mapping[str, tuple[float, str]]) -> None:
    """Say where the first pixel of a part of a plane is."""
    name, text = f"Position{axis}", plane.get(f"Position{axis}")
    if text is None:
        return
    unit = full_unit(plane.get(f"{name}Unit", "reference frame"))
    distance = in_unit(*shifts[axis], unit) if axis in shifts else None
    if distance is None:
        del plane.attrib[name]
        plane.attrib.pop(f"{name}Unit", None)
    else:
        plane.set(name, repr(number(text) + distance))


def _parsed(xml: str) -> tuple[Element, Element, Element] | None:
    """The root, its first image and the pixels of that; None if there are none, or too much."""
    root = kept_root(xml)
    image = None if root is None else root.find("{*}Image")
    pixels = None if image is None else image.find("{*}Pixels")
    return None if root is None or image is None or pixels is None else (root, image, pixels)


def _taken_out(pixels: Element, name: str) -> list[Element]:
    """The elements of a name, which are no longer there."""
    found = pixels.findall(f"{{*}}{name}")
    for element in found:
        pixels.remove(element)
    return found


def _renumbered(plane: Element, chosen: Mapping[str, Sequence[int]]) -> bool:
    """Whether a plane is one of the chosen; it gets its new place among them."""
    for axis, numbers in chosen.items():
        text = plane.get(f"The{axis}", "0")
        if not text.isdecimal() or int(text) not in numbers:
            return False
        plane.set(f"The{axis}", str(numbers.index(int(text))))
    return True
