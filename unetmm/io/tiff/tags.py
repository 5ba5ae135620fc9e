"""Tags of an output's pages: colours, and what the input said that still holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from unetmm.intensities.validity import NoData
from unetmm.io.exif import ExifEntry, read_directories
from unetmm.io.image import ImageInfo
from unetmm.io.metadata import IPTC_TAG, XMP_TAG, Tag
from unetmm.io.tiff.gdal import GDAL_METADATA_TAG, has_rgb_bands, make_gdal_metadata
from unetmm.io.tiff.metadata import MAKER_TAGS, MAX_VALUE_TAG
from unetmm.io.units import in_unit

CHECKSUMS_TAG = 65111
"""Number of our tag of checksums: CRC-32 of each tile's values, planes in the order t, c, z."""
RECORD_TAG = 65112
"""Number of our tag that says how the image was made, as JSON."""
_NODATA_TAG = 42113
_BYTE, _ASCII, _SHORT, _UNDEFINED = 1, 2, 3, 7
_DESCRIPTION_TAG = 270
_EXIF_TAGS = (*MAKER_TAGS, 18246, 18249, *range(40091, 40096))
"""Tags that a photo's EXIF has in common with a page: makers, ratings, title, keywords."""
_OTHER_SOFTWARE = ("Aperio", "ImageJ=", "<", "{", "shape=", "SCANIMAGE", "SI.")
"""Beginnings of descriptions by which readers know a format that the output is not."""


def colour_tags(info: ImageInfo, one_page: bool) -> dict[str, Any]:
    """What tifffile is told of the samples of a pixel."""
    grey = info.metadata.display.photometric or "minisblack"
    if one_page:
        if has_rgb_bands(info):
            extra = ["unspecified"] * (info.length("C") - 3)
            return {"photometric": "rgb", "planarconfig": "separate", "extrasamples": extra}
        several = {"planarconfig": "separate"} if info.length("C") > 1 else {}
        return {"photometric": grey, **several}
    tags: dict[str, Any] = {"photometric": "rgb" if info.samples > 2 else grey}
    if info.samples > 1:
        tags["planarconfig"] = "contig"
    if info.alpha:
        premultiplied = info.metadata.display.premultiplied
        tags["extrasamples"] = ["assocalpha" if premultiplied else "unassalpha"]
    return tags


def kept_tags(info: ImageInfo, record: Mapping[str, Any]) -> list[Tag]:
    """(code, type, count, value) of tags beyond those of pixels and colours."""
    metadata = info.metadata
    stored = {tag[0]: tag for tag in metadata.tiff.tags}
    for entry in read_directories(metadata.photo.exif).get(0, ()):
        if entry.code in _EXIF_TAGS:
            stored.setdefault(entry.code, _text_tag(entry))
    if metadata.photo.xmp:
        stored[XMP_TAG] = (XMP_TAG, _BYTE, len(metadata.photo.xmp), metadata.photo.xmp)
    if metadata.photo.iptc:
        stored[IPTC_TAG] = (IPTC_TAG, _UNDEFINED, len(metadata.photo.iptc), metadata.photo.iptc)
    gdal = stored.pop(GDAL_METADATA_TAG, None)
    if text := make_gdal_metadata("" if gdal is None else gdal[3], info):
        stored[GDAL_METADATA_TAG] = (GDAL_METADATA_TAG, _ASCII, 0, text)
    bits = metadata.display.bits or 16
    if bits < min(16, 8 * info.dtype.itemsize) and info.dtype.kind == "u":
        count = info.length("C") if metadata.tiff.bands else info.samples
        stored[MAX_VALUE_TAG] = (MAX_VALUE_TAG, _SHORT, count, (2**bits - 1,) * count)
    if record:
        stored[RECORD_TAG] = (RECORD_TAG, _ASCII, 0, json.dumps(record))
    if nodata := _nodata_text(info.nodata):
        stored[_NODATA_TAG] = (_NODATA_TAG, _ASCII, 0, nodata)
    return list(stored.values())


def _text_tag(entry: ExifEntry) -> Tag:
    return (entry.code, entry.kind, entry.count, entry.value)


def resolution_tags(info: ImageInfo) -> dict[str, Any]:
    """Pixels per unit: as the input states them, or from the size of a pixel."""
    if info.metadata.photo.resolution:
        x, y, unit = info.metadata.photo.resolution
        return {"resolution": (x, y), "resolutionunit": unit}
    found = []
    for axis in "XY":
        size = in_unit(*info.pixel_size.get(axis, (0.0, "")), "centimeter")
        if not size:
            return {}
        found.append(1 / size)
    if not all(1e-3 < n < 1e9 for n in found):
        return {}
    return {"resolution": tuple(found), "resolutionunit": "centimeter"}


def kept_description(info: ImageInfo) -> bytes | None:
    """The input's own text, unless it would make readers take the output for another format."""
    text = info.metadata.tiff.description.strip("\0 ") or _exif_description(info)
    if not text or text.startswith(_OTHER_SOFTWARE):
        return None
    return text.encode("utf-8")


def _exif_description(info: ImageInfo) -> str:
    """What a photo's EXIF says of its content."""
    entries = read_directories(info.metadata.photo.exif).get(0, ())
    found = (e.value for e in entries if e.code == _DESCRIPTION_TAG)
    return next(found, b"").decode("utf-8", "replace").strip("\0 ")


def _nodata_text(nodata: NoData) -> str:
    """One value, or one a band, or several of all bands; GDAL takes the first of them."""
    if nodata.single is not None:
        values: tuple[float, ...] = (nodata.single,)
    elif len(nodata.bands) > 1 and all(len(band) == 1 for band in nodata.bands):
        values = tuple(band[0] for band in nodata.bands)
    else:
        values = nodata.values
    return ",".join(map(_number_text, values))


def _number_text(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
