"""What OME-XML says of the first image: pixel sizes, channels, place on the stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from unetmm.io.units import full_unit


@dataclass(frozen=True)
class OmeFacts:
    """The parts of OME-XML that a restored image keeps."""

    pixel_size: dict[str, tuple[float, str]] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    channel_colors: tuple[str, ...] = ()
    """"#rrggbb" of every channel, or empty."""
    origin: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Stage position of the first plane."""
    bits: int = 0
    """Significant bits, 0 if not stated."""


def parse_ome_xml(xml: str) -> OmeFacts:
    """Facts of the first image; empty where OME-XML is malformed."""
    try:
        pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    except ElementTree.ParseError:
        return OmeFacts()
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


def number(value: Any) -> float:
    """A finite float, 0 for what is none."""
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
    try:
        found = ElementTree.fromstring(xml).find("{*}BinaryOnly")
    except ElementTree.ParseError:
        return None
    return None if found is None else found.get("MetadataFile")
