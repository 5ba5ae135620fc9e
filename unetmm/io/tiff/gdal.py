"""GDAL_METADATA: what a GeoTIFF says of its bands in XML, read, cut to some bands, and written.

<GDALMetadata>
  <Item name="SENSOR">some</Item>                          of the image
  <Item name="SCALE" sample="0" role="scale">0.1</Item>    of its first band
</GDALMetadata>
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from unetmm.io.image import ImageInfo

GDAL_METADATA_TAG = 42112
_ROLES = {"description": "descriptions", "colorinterp": "color_interpretation"}
"""Role of an item -> key of `ImageInfo.notes` with one text a band."""
_MOST_BANDS = 2**16
_RGB_NAMES = ("Red", "Green", "Blue")


def parse_gdal_items(xml: Any) -> dict[str, Any]:
    """Band descriptions and colour interpretation from GDAL_METADATA."""
    found: dict[str, dict[int, str]] = {role: {} for role in _ROLES}
    for item in _root(xml).findall("Item"):
        sample, role = _sample(item), str(item.get("role"))
        if role in found and sample is not None:
            found[role][sample] = item.text or ""
    return {
        _ROLES[role]: tuple(texts.get(i, "") for i in range(max(texts) + 1))
        for role, texts in found.items()
        if texts and max(texts) < _MOST_BANDS
    }


def pick_bands(xml: Any, bands: Sequence[int], colours: bool = False) -> str:
    """The same for some bands, in this order; scales, units and all else of a band go with it.

    Parameters
    ----------
    colours : whether the bands become red, green and blue, so that they are no other colours.
    """
    root = _root(xml)
    places = {band: i for i, band in enumerate(bands)}
    for item in root.findall("Item"):
        if item.get("sample") is None:
            continue
        sample = _sample(item)
        if sample not in places or (colours and item.get("role") == "colorinterp"):
            root.remove(item)
        else:
            item.set("sample", str(places[sample]))
    return ElementTree.tostring(root, encoding="unicode")


def make_gdal_metadata(xml: Any, info: ImageInfo) -> bytes:
    """GDAL_METADATA without statistics of the old pixels, and with the names of these bands."""
    root = _root(xml)
    stated = parse_gdal_items(xml)
    other_bands = not all(_agree(texts, info.notes.get(key)) for key, texts in stated.items())
    for item in root.findall("Item"):
        if item.get("name", "").startswith("STATISTICS_") or (other_bands and item.get("sample")):
            root.remove(item)
    _name_bands(root, info)
    return ElementTree.tostring(root, encoding="utf-8") if len(root) else b""


def has_rgb_bands(info: ImageInfo) -> bool:
    """Whether the first three of several bands are red, green and blue."""
    found = tuple(info.notes.get("color_interpretation", ()))
    return info.length("C") > 3 and found[:3] == _RGB_NAMES


def _root(xml: Any) -> Element:
    """The items, none where they are damaged."""
    text = xml.decode("utf-8", "replace") if isinstance(xml, bytes) else str(xml or "")
    try:
        return ElementTree.fromstring(text.strip("\0 \n"))
    except ElementTree.ParseError:
        return Element("GDALMetadata")


def _sample(item: Element) -> int | None:
    """The band of an item, from 0; None if it is the image's or damaged."""
    text = item.get("sample", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _agree(stated: tuple[str, ...], known: tuple[str, ...] | None) -> bool:
    """Whether texts of bands are still those of this image's bands, rather than of other ones."""
    known = known or ()
    return len(stated) <= len(known) and all(
        text in ("", name) for text, name in zip(stated, known, strict=False)
    )


def _name_bands(root: Element, info: ImageInfo) -> None:
    """Add descriptions and colours of bands where they are missing, as GDAL writes them."""
    stated = {(item.get("role"), _sample(item)) for item in root.findall("Item")}
    colours = list(info.notes.get("color_interpretation", ()))
    if has_rgb_bands(info):
        colours[:3] = ["", "", ""]  # said by the colours of the page
    for role, texts in (
        ("description", info.notes.get("descriptions", ())),
        ("colorinterp", colours),
    ):
        for i, text in enumerate(texts):
            if text and (role, i) not in stated:
                facts = {"name": role.upper(), "sample": str(i), "role": role}
                ElementTree.SubElement(root, "Item", facts).text = text
