"""GDAL_METADATA: what a GeoTIFF says of its bands in XML, read, cut to some bands, and written.

<GDALMetadata>
  <Item name="SENSOR">some</Item>                          of the image
  <Item name="SCALE" sample="0" role="scale">0.1</Item>    of its first band
</GDALMetadata>
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from unetmm.io.image import ImageInfo

if TYPE_CHECKING:
    import tifffile

GDAL_METADATA_TAG = 42112
_DESCRIPTION, _COLOUR = "description", "colorinterp"
"""Roles of items with one text a band."""
_MOST_BANDS = 2**16
_RGB_NAMES = ("Red", "Green", "Blue")
_OPACITY = ("alpha", "opacity", "opaque", "transparen", "mask", "valid", "coverage", "footprint")
"""Parts of the names of samples that are opacity."""
_UNKNOWN = ("undefined", "unknown")
"""Colour interpretations that say nothing."""
_NUMBERED = re.compile(r"a|(band|layer|channel|sample)?[ _-]*\d+", re.IGNORECASE)
"""Names of samples that say nothing."""


class BandTexts(NamedTuple):
    """What GDAL_METADATA says of bands in words, one text a band or none at all."""

    descriptions: tuple[str, ...]
    color_interpretation: tuple[str, ...]


def parse_gdal_items(xml: Any) -> BandTexts:
    """Band descriptions and colour interpretation from GDAL_METADATA."""
    items = _root(xml).findall("Item")
    return BandTexts(_texts(items, _DESCRIPTION), _texts(items, _COLOUR))


def _texts(items: list[Element], role: str) -> tuple[str, ...]:
    """The texts of a role, by band; none if a band has a number that no image reaches."""
    samples = ((_sample(item), item) for item in items if item.get("role") == role)
    found = {sample: item.text or "" for sample, item in samples if sample is not None}
    last = max(found, default=-1)
    return tuple(found.get(i, "") for i in range(last + 1)) if last < _MOST_BANDS else ()


def ends_in_opacity(page: tifffile.TiffPage) -> bool:
    """Whether the last sample is marked as opacity."""
    extra = page.extrasamples
    return len(extra) == 1 and int(extra[0]) in (1, 2)


def last_band_name(page: tifffile.TiffPage, count: int) -> str:
    """Name of the last sample where that is the name of a measurement; empty otherwise.

    GDAL marks the fourth of four bytes as opacity by default, whatever it is.
    """
    texts = parse_gdal_items(page.tags.valueof(GDAL_METADATA_TAG))
    names, kinds = (dict(enumerate(found)) for found in texts)
    name, kind = names.get(count - 1, "").strip(), kinds.get(count - 1, "").strip()
    if kind and kind.casefold() not in _UNKNOWN:
        return kind if kind.casefold() not in _OPACITY else ""
    says_nothing = _NUMBERED.fullmatch(name) or any(w in name.casefold() for w in _OPACITY)
    return "" if says_nothing else name


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
        if sample not in places or (colours and item.get("role") == _COLOUR):
            root.remove(item)
        else:
            item.set("sample", str(places[sample]))
    return ElementTree.tostring(root, encoding="unicode")


def common_scale(xml: Any, bands: int) -> dict[str, float]:
    """Factor and offset that all bands have, as CF names them; none if they differ or are usual."""
    items = _root(xml).findall("Item")
    found: dict[str, float] = {}
    for role, name, usual in (("scale", "scale_factor", 1.0), ("offset", "add_offset", 0.0)):
        texts = _texts(items, role)
        if not texts:
            continue
        try:
            numbers = {float(text or usual) for text in (*texts, *("",) * (bands - len(texts)))}
        except ValueError:
            return {}
        if len(numbers) > 1:
            return {}
        found[name] = numbers.pop()
    return {} if found in ({}, {"scale_factor": 1.0, "add_offset": 0.0}) else found


def item_names(xml: Any) -> list[str]:
    """Names of the items, each once; statistics of the old pixels are none."""
    names = (item.get("name", "") for item in _root(xml).findall("Item"))
    return list(dict.fromkeys(n for n in names if n and not n.startswith("STATISTICS_")))


def make_gdal_metadata(xml: Any, info: ImageInfo) -> bytes:
    """GDAL_METADATA without statistics of the old pixels, and with the names of these bands."""
    root = _root(xml)
    stated, known = parse_gdal_items(xml), info.metadata.tiff
    other_bands = not (
        _agree(stated.descriptions, known.descriptions)
        and _agree(stated.color_interpretation, known.color_interpretation)
    )
    for item in root.findall("Item"):
        if item.get("name", "").startswith("STATISTICS_") or (other_bands and item.get("sample")):
            root.remove(item)
    _name_bands(root, info)
    return ElementTree.tostring(root, encoding="utf-8") if len(root) else b""


def has_rgb_bands(info: ImageInfo) -> bool:
    """Whether the first three of several bands are red, green and blue."""
    found = info.metadata.tiff.color_interpretation
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


def _agree(stated: tuple[str, ...], known: tuple[str, ...]) -> bool:
    """Whether texts of bands are still those of this image's bands, rather than of other ones."""
    return len(stated) <= len(known) and all(
        text in ("", name) for text, name in zip(stated, known, strict=False)
    )


def _name_bands(root: Element, info: ImageInfo) -> None:
    """Add descriptions and colours of bands where they are missing, as GDAL writes them."""
    stated = {(item.get("role"), _sample(item)) for item in root.findall("Item")}
    tiff = info.metadata.tiff
    colours = list(tiff.color_interpretation)
    if has_rgb_bands(info):
        colours[:3] = ["", "", ""]  # said by the colours of the page
    for role, texts in ((_DESCRIPTION, tiff.descriptions), (_COLOUR, colours)):
        for i, text in enumerate(texts):
            if text and (role, i) not in stated:
                facts = {"name": role.upper(), "sample": str(i), "role": role}
                ElementTree.SubElement(root, "Item", facts).text = text
