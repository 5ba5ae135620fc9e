"""Metadata of a TIFF worth showing and keeping: place on Earth, makers, bands, profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile

from unetmm.io.exif import CAMERA, GPS, read_from_tiff
from unetmm.io.metadata import (
    XMP_TAG,
    DisplayFacts,
    GeoFacts,
    Metadata,
    MicroscopyFacts,
    PhotoFacts,
    ReadingFacts,
    Resolution,
    Tag,
    TiffFacts,
)
from unetmm.io.tiff.gdal import GDAL_METADATA_TAG, parse_gdal_items
from unetmm.io.tiff.mask import read_mask
from unetmm.io.tiff.series import image_xml
from unetmm.io.xmp import without_companions

KEPT_TAGS = (
    *(269, 271, 272, 274, 285, 306, 315, 316, 318, 319, 700, 18246, 18249, 33432, 33723),
    *(40091, 40092, 40093, 40094, 40095),
    *(33550, 33922, 34264, 34735, 34736, 34737, 42112, 50844, 50909),
)
"""Tags that an output keeps: makers, XMP, IPTC, copyright, titles, the places of its colours, and a
GeoTIFF's place on Earth."""
_RPC_TAG, _DESCRIPTION_TAG = 50844, 270
MAX_VALUE_TAG = 281
"""Number of MaxSampleValue."""
_SHAPES = ('{"shape', "shape=")
"""Beginnings of descriptions that tifffile writes, beside those of others."""
_USER_DEFINED = 32767
"""Code of a reference system that has none."""
_CRS_KEYS = ("ProjectedCSTypeGeoKey", "GeographicTypeGeoKey")
MAKER_TAGS = (271, 272, 306, 315, 33432)
"""Tags of the page that a photo's EXIF holds as well: maker, model, time, artist, copyright."""
_RGB = 2
_ASSOCIATED_ALPHA = 1
"""Value of ExtraSamples for opacity that colours are stored multiplied by."""
_MAX_TAG_BYTES = 2**20
"""Longest tag that is kept, in bytes."""
_UNITS = {2: "inch", 3: "centimeter"}


def collect_metadata(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, bands: int
) -> Metadata:
    """Everything that the tags of a series say.

    Parameters
    ----------
    bands : samples of a pixel that are separate measurements, 1 if they are colours.
    """
    page = series.keyframe
    texts = parse_gdal_items(page.tags.valueof(GDAL_METADATA_TAG))
    colours = texts.color_interpretation
    if bands > 3 and int(page.photometric) == _RGB:
        others = (colours[i] if i < len(colours) else "" for i in range(3, bands))
        colours = ("Red", "Green", "Blue", *others)
    return Metadata(
        photo=PhotoFacts(
            icc_profile=bytes(page.iccprofile or b""),
            exif=_exif(page),
            resolution=_resolution(page),
        ),
        tiff=TiffFacts(
            tags=_kept_tags(page),
            description=_description(tif, page),
            bands=bands if bands > 1 else 0,
            descriptions=texts.descriptions,
            color_interpretation=colours,
            mask=read_mask(tif, page),
        ),
        geo=_geo(page),
        microscopy=_microscopy(tif, series),
        display=DisplayFacts(
            bits=_bits(page),
            photometric="miniswhite" if int(page.photometric) == 0 else "",
            premultiplied=bands == 1 and tuple(map(int, page.extrasamples)) == (_ASSOCIATED_ALPHA,),
        ),
        reading=ReadingFacts(
            compression=tifffile.COMPRESSION(page.compression).name,
            pyramid_levels=len(series.levels) if len(series.levels) > 1 else 0,
            other_series=len(tif.series) - 1,
        ),
    )


def _resolution(page: tifffile.TiffPage) -> Resolution | None:
    """Pixels per unit of a print, if the page states the unit."""
    if not (page.tags.valueof(282) and page.tags.valueof(283) and page.resolutionunit > 1):
        return None
    x, y = map(float, page.get_resolution())
    return (x, y, _UNITS.get(page.resolutionunit, "inch")) if min(x, y) > 0 else None


def _bits(page: tifffile.TiffPage) -> int:
    """Bits that values use of their type; 0 if all, or if samples differ."""
    bits = page.bitspersample
    if not isinstance(bits, int):
        return 0
    if bits < 8 * np.dtype(page.dtype).itemsize:
        return bits
    stated = _stated_bits(page)
    return stated if stated < bits else 0


def _kept_tags(page: tifffile.TiffPage) -> tuple[Tag, ...]:
    """Tags that a TIFF output keeps as they are."""
    found = []
    for code in KEPT_TAGS:
        tag = page.tags.get(code)
        if tag is None or tag.value is None or tag.valuebytecount > _MAX_TAG_BYTES:
            continue
        value, count = tag.value, tag.count
        if isinstance(value, str):
            count = 0  # counted when written
            if not value.isascii():
                value = value.encode("utf-8")
        if code == XMP_TAG and isinstance(value, bytes):
            value = without_companions(value)
            count = len(value)
        found.append((int(tag.code), int(tag.dtype), count, value))
    return tuple(found)


def _stated_bits(page: tifffile.TiffPage) -> int:
    """Bits that the largest value has by MaxSampleValue, if that is one of all ones."""
    largest = np.max(page.tags.valueof(MAX_VALUE_TAG, 0))
    full = bool(largest) and largest & (largest + 1) == 0
    return int(largest).bit_length() if full else page.bitspersample


def _microscopy(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> MicroscopyFacts:
    """OME-XML or ImageJ's settings, where the description holds one of them."""
    if xml := image_xml(tif, series):
        return MicroscopyFacts(ome_xml=xml)
    if tif.is_imagej and tif.imagej_metadata:
        settings = tif.imagej_metadata
        return MicroscopyFacts(imagej=settings, channel_colors=_lut_colors(settings.get("LUTs")))
    return MicroscopyFacts()


def _description(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> str:
    """The description where it is plain text rather than another program's notation."""
    if (tif.is_ome and tif.ome_metadata) or (tif.is_imagej and tif.imagej_metadata):
        return ""
    text = page.tags.valueof(_DESCRIPTION_TAG)
    is_text = isinstance(text, str) and text.strip() and not text.startswith(_SHAPES)
    return text if is_text else ""


def _exif(page: tifffile.TiffPage) -> bytes:
    """The camera's and the GPS directory, put together as photos carry them; empty if none is."""
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
    return read_from_tiff(read, tiff.byteorder, tiff.is_bigtiff, starts, texts)


def _lut_colors(tables: Any) -> tuple[str, ...]:
    """ "#rrggbb" of the brightest entry of ImageJ's lookup tables."""
    try:
        return tuple("#" + bytes(np.asarray(t, np.uint8)[:, -1]).hex() for t in tables or ())
    except (IndexError, ValueError, TypeError):
        return ()


def _geo(page: tifffile.TiffPage) -> GeoFacts:
    """Place on Earth in words."""
    try:
        keys = page.geotiff_tags or {}
    except Exception:  # damaged keys raise almost anything; the tags themselves are kept
        keys = {}
    codes = [int(keys[name]) for name in _CRS_KEYS if isinstance(keys.get(name), int)]
    crs = f"EPSG:{codes[0]}" if codes else ""
    transform, gcps = _transform(keys)
    return GeoFacts(
        crs="user-defined" if codes and codes[0] == _USER_DEFINED else crs,
        citation=str(keys.get("GTCitationGeoKey") or keys.get("PCSCitationGeoKey") or ""),
        transform=transform,
        gcps=gcps,
        rpc=_RPC_TAG in page.tags,
    )


def _transform(keys: dict[str, Any]) -> tuple[tuple[float, ...], int]:
    """GDAL's six numbers (x of column and row, then y), and the number of ground control points."""
    matrix = keys.get("ModelTransformation")
    scale, ties = keys.get("ModelPixelScale"), keys.get("ModelTiepoint")
    if matrix is not None and np.size(matrix) == 16:
        m = np.reshape(matrix, (4, 4)).astype(float)
        return tuple(m[i, j].item() for i in (0, 1) for j in (3, 0, 1)), 0
    if ties is None or np.size(ties) % 6:
        return (), 0
    points = np.reshape(ties, (-1, 6)).astype(float)
    if scale is not None and len(points) == 1:
        (column, row, _, x, y, _), (sx, sy) = points[0].tolist(), scale[:2]
        return (x - column * sx, sx, 0.0, y + row * sy, 0.0, -sy), 0
    return (), len(points)
