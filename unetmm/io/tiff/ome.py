"""The OME-XML of an output: the input's, as far as it still holds, or a new one."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from unetmm.io.image import ImageInfo
from unetmm.io.ome_xml import MAX_XML_CHARS, kept_root
from unetmm.io.units import unit_symbol

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
"""Namespace of the only version that is kept; others are made anew from what was understood."""
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_OBJECT_BYTES = 12
"""Memory of parsed XML per byte of its text, measured."""
_LENGTHS = ("Å", "pm", "nm", "µm", "mm", "cm", "m", "km", "in", "pixel", "reference frame")
_TIMES = ("ns", "µs", "ms", "s", "min", "h", "d")
"""Symbols of units that OME-XML knows, of those that we do."""
_TYPES = {"float32": "float", "float64": "double"}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLACES_OF_PIXELS = ("BinData", "TiffData", "MetadataOnly")


def ome_bytes(info: ImageInfo) -> int:
    """Memory that making the OME-XML takes."""
    return _OBJECT_BYTES * min(len(info.metadata.microscopy.ome_xml), MAX_XML_CHARS)


def keeps_xml(info: ImageInfo) -> bool:
    """Whether an output has the input's OME-XML, rather than a new one of what was understood."""
    return _kept_root(info) is not None


def make_ome_xml(info: ImageInfo, name: str, outer: str) -> bytes:
    """OME-XML, UTF-8, of an image whose planes are the pages of a file, one after another.

    Parameters
    ----------
    name : of the image, if the input has none.
    outer : axes across pages, slowest first, letters of TCZ.
    """
    kept = _kept_root(info)
    root = Element("OME") if kept is None else kept
    root.attrib |= {"Creator": "unetmm", "xmlns": _SCHEMA, _XSI: f"{_SCHEMA} {_SCHEMA}/ome.xsd"}
    image = root.find("Image")
    if image is None:
        image = ElementTree.SubElement(root, "Image", ID="Image:0")
    if not image.get("Name"):
        image.set("Name", name)
    pixels = image.find("Pixels")
    if pixels is None:
        pixels = ElementTree.SubElement(image, "Pixels", ID="Pixels:0")
    _describe(pixels, info, outer)
    _make_well_formed(root)
    return _HEAD + bytes(ElementTree.tostring(root, encoding="utf-8"))


def _make_well_formed(root: Element) -> None:
    """Replace what XML cannot hold: control characters, and bytes of names that are no UTF-8."""
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _NO_XML.sub("\ufffd", value))
        for part in ("text", "tail"):
            if text := getattr(element, part):
                setattr(element, part, _NO_XML.sub("\ufffd", text))


def _kept_root(info: ImageInfo) -> Element | None:
    """The input's OME-XML reduced to its first image, if that has the planes of this one."""
    root = kept_root(info.metadata.microscopy.ome_xml)
    if root is None or root.tag != f"{{{_SCHEMA}}}OME":
        return None
    for element in root.iter():
        element.tag = str(element.tag).removeprefix(f"{{{_SCHEMA}}}")
    images = root.findall("Image")
    pixels = images[0].find("Pixels") if images else None
    if pixels is None or any(
        pixels.get(f"Size{axis}") != str(info.length(axis) if axis != "C" else _size_c(info))
        for axis in "TCZYX"
    ):
        return None
    for other in images[1:]:
        root.remove(other)
    root.attrib.pop("UUID", None)  # that of another file
    _drop_references(root, str(images[0].get("ID")))
    return root


def _drop_references(root: Element, kept: str) -> None:
    """Remove references to images that are gone."""
    for parent in list(root.iter()):
        for child in parent.findall("ImageRef"):
            if child.get("ID") != kept:
                parent.remove(child)


def _size_c(info: ImageInfo) -> int:
    """OME counts the samples of a pixel as channels."""
    return info.length("C") * info.samples


def _describe(pixels: Element, info: ImageInfo, outer: str) -> None:
    """Say how the pixels are stored now, and how large, where and of what they are."""
    channels = pixels.findall("Channel")
    planes = pixels.findall("Plane")
    for child in list(pixels):
        pixels.remove(child)
    order = "XY" + outer[::-1]
    order += "".join(axis for axis in "CZT" if axis not in order)
    pixels.attrib |= {f"Size{axis}": str(info.length(axis)) for axis in "XYZT"} | {
        "SizeC": str(_size_c(info)),
        "DimensionOrder": order,
        "Type": _TYPES.get(info.dtype.name, info.dtype.name),
        "BigEndian": "false",
        "Interleaved": "true" if info.samples > 1 else "false",
    }
    bits = info.metadata.display.bits or 8 * info.dtype.itemsize
    pixels.set("SignificantBits", str(min(int(bits), 8 * info.dtype.itemsize)))
    _set_sizes(pixels, info)
    pixels.extend(_channels(channels, info))
    count = len(info.planes)
    ElementTree.SubElement(pixels, "TiffData", IFD="0", PlaneCount=str(count))
    pixels.extend(_planes(planes, info))


def _set_sizes(pixels: Element, info: ImageInfo) -> None:
    for axis in "XYZT":
        name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        for attribute in (name, f"{name}Unit"):
            pixels.attrib.pop(attribute, None)
        size, unit = info.pixel_size.get(axis, (0.0, ""))
        symbol = unit_symbol(unit or ("s" if axis == "T" else "pixel"))
        if size > 0 and symbol in (_TIMES if axis == "T" else _LENGTHS):
            pixels.attrib |= {name: repr(float(size)), f"{name}Unit": symbol}


def _channels(kept: list[Element], info: ImageInfo) -> list[Element]:
    """One element a channel: the input's, and new ones where it has none; names and colours."""
    count = info.length("C")
    if info.samples > 1 and len(kept) != count:
        kept = []  # they may be the colours of a pixel
    known = {channel.get("ID") for channel in kept}
    kept = kept[:count]
    for i in range(len(kept), count):
        free = f"Channel:0:{i}" not in known
        kept.append(Element("Channel", ID=f"Channel:0:{i}" if free else f"Channel:none:{i}"))
    colors = info.metadata.microscopy.channel_colors
    for i, channel in enumerate(kept):
        channel.set("SamplesPerPixel", str(info.samples))
        if len(info.channel_names) == count and info.channel_names[i]:
            channel.set("Name", info.channel_names[i])
        if len(colors) == count and not channel.get("Color"):
            channel.set("Color", str(_signed_rgba(colors[i])))
    return kept


def _signed_rgba(color: str) -> int:
    """OME's integer of an opaque "#rrggbb"."""
    value = int(color[1:], 16) << 8 | 0xFF
    return int(np.uint32(value).view(np.int32))


def _planes(kept: list[Element], info: ImageInfo) -> list[Element]:
    """What is known of single planes: the input's, or the place of the first one."""
    for plane in kept:
        for hashed in plane.findall("HashSHA1"):  # of other pixels
            plane.remove(hashed)
    origin = info.metadata.microscopy.origin
    if kept or not origin:
        return kept
    plane = Element("Plane", TheZ="0", TheT="0", TheC="0")
    for axis in "XYZ":
        if axis in origin:
            value, unit = origin[axis]
            plane.set(f"Position{axis}", repr(float(value)))
            symbol = unit_symbol(unit)
            plane.set(f"Position{axis}Unit", symbol if symbol in _LENGTHS else "reference frame")
    return [plane]
