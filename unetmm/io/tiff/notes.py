"""Metadata of a TIFF worth showing and keeping: place on Earth, makers, bands, profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile

from unetmm.io.exif import CAMERA, GPS, read_from_tiff
from unetmm.io.tiff.gdal import GDAL_METADATA_TAG, parse_gdal_items
from unetmm.io.tiff.mask import read_mask

_KEPT_TAGS = (
    *(269, 271, 272, 274, 285, 306, 315, 316, 700, 33432, 33723),
    *(33550, 33922, 34264, 34735, 34736, 34737, 42112, 50844, 50909),
)
"""Makers, orientation, XMP, IPTC, copyright; then what places a GeoTIFF on Earth."""
_RPC_TAG, _DESCRIPTION_TAG = 50844, 270
MAX_VALUE_TAG = 281
_CRS_KEYS = ("ProjectedCSTypeGeoKey", "GeographicTypeGeoKey")
MAKER_TAGS = (271, 272, 306, 315, 33432)
"""Tags of the page that a photo's EXIF holds as well: maker, model, time, artist, copyright."""
_RGB = 2
_ASSOCIATED_ALPHA = 1
"""Of ExtraSamples: colours are stored multiplied by it."""
_MAX_TAG_BYTES = 2**20
_UNITS = {2: "inch", 3: "centimeter"}


def collect_notes(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, bands: int
) -> dict[str, Any]:
    """Everything found, by the keys of `ImageInfo.notes`.

    Parameters
    ----------
    bands : samples of a pixel that are separate measurements, 1 if they are colours.
    """
    page = series.keyframe
    notes: dict[str, Any] = {"compression": tifffile.COMPRESSION(page.compression).name}
    if page.iccprofile:
        notes["icc_profile"] = bytes(page.iccprofile)
    if page.tags.valueof(282) and page.tags.valueof(283) and page.resolutionunit > 1:
        resolution = page.get_resolution()
        if min(resolution) > 0:
            notes["resolution"] = (*map(float, resolution), _UNITS.get(page.resolutionunit, "inch"))
    if tags := _kept_tags(page):
        notes["tiff_tags"] = tags
    bits = page.bitspersample
    if isinstance(bits, int) and bits < 8 * np.dtype(page.dtype).itemsize:
        notes["bits"] = bits  # the values use only these of the dtype
    elif isinstance(bits, int) and (stated := _stated_bits(page)) < bits:
        notes["bits"] = stated
    if int(page.photometric) == 0:
        notes["photometric"] = "miniswhite"
    if tuple(map(int, page.extrasamples)) == (_ASSOCIATED_ALPHA,) and bands == 1:
        notes["premultiplied"] = True
    if bands > 1:
        notes["bands"] = bands
    if len(tif.series) > 1:
        notes["other_series"] = len(tif.series) - 1
    if len(series.levels) > 1:
        notes["pyramid_levels"] = len(series.levels)
    if mask := read_mask(tif, page):
        notes["mask"] = mask
    notes |= _exif(page) | _described(tif, page) | _geo(page)
    if bands > 3 and int(page.photometric) == _RGB:
        stated = notes.get("color_interpretation", ())
        others = (stated[i] if i < len(stated) else "" for i in range(3, bands))
        notes["color_interpretation"] = ("Red", "Green", "Blue", *others)
    return notes


def _kept_tags(page: tifffile.TiffPage) -> tuple[tuple[int, int, int, Any], ...]:
    """(code, dtype, count, value) of tags that a TIFF output keeps as they are."""
    found = []
    for code in _KEPT_TAGS:
        tag = page.tags.get(code)
        if tag is None or tag.value is None or tag.valuebytecount > _MAX_TAG_BYTES:
            continue
        value, count = tag.value, tag.count
        if isinstance(value, str):
            count = 0  # counted when written
            if not value.isascii():
                value = value.encode("utf-8")
        found.append((int(tag.code), int(tag.dtype), count, value))
    return tuple(found)


def _stated_bits(page: tifffile.TiffPage) -> int:
    """Bits that the largest value has by MaxSampleValue, if that is one of all ones."""
    largest = np.max(page.tags.valueof(MAX_VALUE_TAG, 0))
    full = bool(largest) and largest & (largest + 1) == 0
    return int(largest).bit_length() if full else page.bitspersample


def _described(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> dict[str, Any]:
    """What the description holds: OME-XML, ImageJ's settings, or plain text."""
    if tif.is_ome and tif.ome_metadata:
        return {"ome_xml": tif.ome_metadata}
    if tif.is_imagej and tif.imagej_metadata:
        colors = _lut_colors(tif.imagej_metadata.get("LUTs"))
        return {"imagej": tif.imagej_metadata} | ({"channel_colors": colors} if colors else {})
    text = page.tags.valueof(_DESCRIPTION_TAG)
    if isinstance(text, str) and text.strip() and not tif.is_shaped:
        return {"description": text}
    return {}


def _exif(page: tifffile.TiffPage) -> dict[str, Any]:
    """The camera's and the GPS directory, put together as photos carry them."""
    file, tiff = page.parent.filehandle, page.parent.tiff
    size = 8 if tiff.is_bigtiff else 4

    def read(at: int, count: int) -> bytes:
        file.seek(at)
        return bytes(file.read(count))

    starts = {}
    for code in (CAMERA, GPS):
        if tag := page.tags.get(code):
            start = read(tag.offset + 4 + size, size)
            starts[code] = int.from_bytes(start, "little" if tiff.byteorder == "<" else "big")
    texts = {
        code: value.encode()
        for code in MAKER_TAGS
        if isinstance(value := page.tags.valueof(code), str)
    }
    payload = read_from_tiff(read, tiff.byteorder, tiff.is_bigtiff, starts, texts)
    return {"exif": payload} if payload else {}


def _lut_colors(tables: Any) -> tuple[str, ...]:
    """ "#rrggbb" of the brightest entry of ImageJ's lookup tables."""
    try:
        return tuple("#" + bytes(np.asarray(t, np.uint8)[:, -1]).hex() for t in tables or ())
    except (IndexError, ValueError, TypeError):
        return ()


def _geo(page: tifffile.TiffPage) -> dict[str, Any]:
    """Place on Earth in words, and what GDAL says of the bands."""
    notes: dict[str, Any] = {}
    try:
        keys = page.geotiff_tags or {}
    except Exception:  # damaged keys raise almost anything; the tags themselves are kept
        keys = {}
    place: dict[str, Any] = {}
    codes = [int(keys[name]) for name in _CRS_KEYS if isinstance(keys.get(name), int)]
    if codes:
        place["crs"] = f"EPSG:{codes[0]}" if codes[0] != 32767 else "user-defined"
    if citation := keys.get("GTCitationGeoKey") or keys.get("PCSCitationGeoKey"):
        place["citation"] = str(citation)
    place |= _transform(keys)
    if _RPC_TAG in page.tags:
        place["rpc"] = True
    if place:
        notes["geo"] = place
    return notes | parse_gdal_items(page.tags.valueof(GDAL_METADATA_TAG))


def _transform(keys: dict[str, Any]) -> dict[str, Any]:
    """GDAL's six numbers (x of column and row, then y), or how many ground control points."""
    matrix = keys.get("ModelTransformation")
    scale, ties = keys.get("ModelPixelScale"), keys.get("ModelTiepoint")
    if matrix is not None and np.size(matrix) == 16:
        m = np.reshape(matrix, (4, 4)).astype(float)
        return {"transform": tuple(m[i, j].item() for i in (0, 1) for j in (3, 0, 1))}
    if ties is None or np.size(ties) % 6:
        return {}
    points = np.reshape(ties, (-1, 6)).astype(float)
    if scale is not None and len(points) == 1:
        (column, row, _, x, y, _), (sx, sy) = points[0].tolist(), scale[:2]
        return {"transform": (x - column * sx, sx, 0.0, y + row * sy, 0.0, -sy)}
    return {"gcps": len(points)}
