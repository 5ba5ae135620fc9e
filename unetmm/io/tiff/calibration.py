"""Sizes of pixels, names of channels and places on the stage, as the makers of TIFF state them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import tifffile

from unetmm.io.ome_xml import OmeFacts, attribute_sizes, number, parse_ome_xml
from unetmm.io.tiff.electron import electron_sizes
from unetmm.io.tiff.fluorescence import metaseries_facts, qptiff_facts, stk_facts
from unetmm.io.tiff.micromanager import micromanager_facts
from unetmm.io.tiff.scanimage import scanimage_facts
from unetmm.io.tiff.series import image_xml
from unetmm.io.units import full_unit

Sizes = dict[str, tuple[float, str]]
_LARGEST_UM = {2: 2.0, 3: 5.0}
"""Value of ResolutionUnit -> largest pixel in micrometres that is no print's: 12700 dots per inch,
2000 per centimetre."""
_UM_PER_UNIT = {2: 25400.0, 3: 10000.0}
_RESOLUTION_TAGS = (("X", 282), ("Y", 283))
_NO_UNITS = ("pixel", "null", "none", "undefined")
_PHILIPS = re.compile(r'DICOM_PIXEL_SPACING"[^>]*>"?([0-9.e+-]+)"?\s+"?([0-9.e+-]+)')


def calibration_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    """Pixel sizes and channels, from OME-XML, ImageJ, our own JSON or a maker's own notation."""
    page = series.keyframe
    if xml := image_xml(tif, series):
        return parse_ome_xml(xml)
    if tif.is_imagej and tif.imagej_metadata:
        return OmeFacts(imagej_sizes(tif.imagej_metadata, page))
    if tif.is_shaped and tif.shaped_metadata:
        if sizes := attribute_sizes(tif.shaped_metadata[0]):
            return OmeFacts(sizes)
    for reader in _READERS:
        found = reader(tif, series)
        if found != OmeFacts():
            return found
    return OmeFacts(_resolution_sizes(page))


def _svs(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    """Slides of Aperio, Ventana and Philips."""
    text = str(series.keyframe.description)
    found = re.search(r"\bMPP = ([0-9.]+)", text) if tif.is_svs else None
    found = found or re.search(r'\bScanRes="([0-9.]+)"', text)
    if found:
        size = number(found[1])
        return OmeFacts({axis: (size, "micrometer") for axis in "YX" if size > 0})
    if spacing := _PHILIPS.search(text):
        sizes = zip("YX", map(number, spacing.groups()), strict=True)
        return OmeFacts({axis: (size, "millimeter") for axis, size in sizes if size > 0})
    return OmeFacts()


def _electron(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    return OmeFacts(electron_sizes(tif, series.keyframe))


_READERS: Iterable[Callable[[tifffile.TiffFile, tifffile.TiffPageSeries], OmeFacts]] = (
    _svs,
    _electron,
    metaseries_facts,
    stk_facts,
    qptiff_facts,
    scanimage_facts,
    micromanager_facts,
)
"""Readers of makers' notations, in the order in which they are asked."""


def _resolution_sizes(page: tifffile.TiffPage) -> Sizes:
    """Sizes by the resolution, where no print is as fine; a map's pixels are sized otherwise."""
    unit = int(page.resolutionunit or 1)
    if unit not in _UM_PER_UNIT or page.is_geotiff:
        return {}
    found = {axis: _UM_PER_UNIT[unit] * per_pixel(page, code) for axis, code in _RESOLUTION_TAGS}
    fine = all(0 < size < _LARGEST_UM[unit] for size in found.values())
    return {axis: (float(f"{n:.12g}"), "micrometer") for axis, n in found.items()} if fine else {}


def per_pixel(page: tifffile.TiffPage, code: int) -> float:
    """Units per pixel by a tag of pixels per unit; 0 if that is not stated."""
    value = page.tags.valueof(code, (0, 1))
    try:
        return float(value[1]) / float(value[0]) if value[0] else 0.0
    except (TypeError, IndexError, ValueError):
        return 0.0


def imagej_sizes(metadata: dict[str, Any], page: tifffile.TiffPage) -> Sizes:
    """ImageJ keeps X and Y as pixels per unit in the resolution tags, Z and T as text.

    Units of Y and Z are those of X unless they have their own; that of T is the second.
    """
    unit = _unit(metadata.get("unit"))
    units = {"X": unit} | {
        axis: _unit(metadata.get(f"{axis.lower()}unit")) or unit for axis in "YZ"
    }
    found = {"T": (number(metadata.get("finterval")), _unit(metadata.get("tunit")) or "second")}
    found["Z"] = (abs(number(metadata.get("spacing"))), units["Z"])
    for axis, code in _RESOLUTION_TAGS:
        found[axis] = (per_pixel(page, code), units[axis])
    return {axis: size for axis, size in found.items() if size[0] > 0 and size[1]}


def _unit(text: Any) -> str:
    """Our name of a unit; empty if it is none, or pixels."""
    unit = full_unit(str(text or "").strip("\0"))
    return "" if unit.lower() in _NO_UNITS else unit


def imagej_offset(tif: tifffile.TiffFile) -> int:
    """Number that is added to stored values for what ImageJ shows: -32768 of signed 16 bits, or 0.

    ImageJ stores signed values as unsigned ones with a straight line for their calibration.
    """
    if not (tif.is_imagej and tif.imagej_metadata) or (tif.is_ome and tif.ome_metadata):
        return 0
    settings = tif.imagej_metadata
    line = (number(settings.get("c0")), number(settings.get("c1")))
    straight = str(settings.get("cf", "0")) in ("0", "0.0")
    return -32768 if straight and line == (-32768.0, 1.0) else 0
