"""What a TIFF says about its image: axes, samples, pixel sizes, names, tags worth keeping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from unetmm.errors import ImageError
from unetmm.io.protocol import DTYPES, ImageInfo, Plane
from unetmm.io.units import full_unit

_RGB, _YCBCR, _LINEAR = 2, 6, 34892
_GREYS = (0, 1)
_REFUSED = {3: "a palette", 4: "a mask", 5: "CMYK", 8: "CIELab", 32803: "raw camera mosaic"}
_COLOUR_CODECS = (6, 7, 33003, 33004, 33005, 34712, 50001, 50002, 34892, 33007, 22610, 34934)
"""Compressions that store YCbCr and give RGB back."""
_KEPT_TAGS = (274, 315, 33432, 33550, 33922, 34264, 34735, 34736, 34737, 42112, 50844)
"""Orientation, artist, copyright, and where a GeoTIFF lies on Earth."""


@dataclass(frozen=True)
class TiffAxes:
    """How planes (t, c, z) map to pages, and samples to colours or channels."""

    outer: str
    """Axes across pages, slowest first, letters of TCZ."""
    outer_shape: tuple[int, ...]
    samples: int
    """Interleaved colours of a pixel."""
    bands: int = 1
    """Samples that are separate measurements, shown as axis `band_axis`."""
    band_axis: str = ""
    alpha: bool = False
    interleaved_bands: bool = False

    @property
    def pages(self) -> int:
        return math.prod(self.outer_shape)

    def page_index(self, plane: Plane) -> int:
        index = 0
        for axis, length in zip(self.outer, self.outer_shape, strict=True):
            index = index * length + plane["TCZ".index(axis)]
        return index

    def band_index(self, plane: Plane) -> int | None:
        """Which sample a plane is, None if a plane has all of them."""
        return plane["TCZ".index(self.band_axis)] if self.bands > 1 else None


def map_axes(path: Path, series: tifffile.TiffPageSeries) -> TiffAxes:
    """Name every axis of a series.

    Raises
    ------
    ImageError
        If the image has no pixels, more axes than T, C and Z, or colours that cannot be restored.
    """
    page = series.keyframe
    if 0 in series.shape or 0 in page.shaped:
        raise ImageError(f"{path}: the image is empty ({_sizes(series)}); give one with pixels")
    if page.shaped[1] > 1:
        raise ImageError(f"{path}: stores 3-D tiles (ImageDepth); save Z as pages instead")
    if series.transform is not None:
        raise ImageError(f"{path}: its pixels need a {series.kind} transform; save a plain TIFF")
    pairs = [(a, n) for a, n in zip(series.axes, series.shape, strict=True) if a not in "YXS"]
    letters = _known_letters(path, series, [axis for axis, _ in pairs])
    count = page.shaped[0] * page.shaped[4]
    samples, alpha = _colours(path, page, count)
    band_axis = ""
    if samples == 1 and count > 1:
        free = [axis for axis in "CZT" if axis not in letters]
        if not free:
            raise ImageError(f"{path}: has more axes ({_sizes(series)}) than T, C, Z, Y and X")
        band_axis = free[0]
    return TiffAxes(
        outer="".join(letters),
        outer_shape=tuple(length for _, length in pairs),
        samples=samples,
        bands=count if band_axis else 1,
        band_axis=band_axis,
        alpha=alpha,
        interleaved_bands=bool(band_axis) and page.shaped[0] == 1,
    )


def _known_letters(path: Path, series: tifffile.TiffPageSeries, axes: list[str]) -> list[str]:
    """T, C, Z for every axis across pages; an unnamed one becomes Z, then T, then C."""
    letters = [axis if axis in "TCZ" and axes.count(axis) == 1 else "" for axis in axes]
    free = [axis for axis in "CTZ" if axis not in letters]
    for i in reversed(range(len(letters))):
        if not letters[i]:
            if not free:
                raise ImageError(f"{path}: has more axes ({_sizes(series)}) than T, C, Z, Y and X")
            letters[i] = free.pop()
    return letters


def _colours(path: Path, page: tifffile.TiffPage, count: int) -> tuple[int, bool]:
    """(samples, alpha): colours of a pixel; 1 of several samples means separate channels."""
    photometric = int(page.photometric)
    if photometric in _REFUSED:
        raise ImageError(
            f"{path}: holds {_REFUSED[photometric]}, which cannot be restored; save grey or RGB"
        )
    if photometric == _YCBCR and page.compression not in _COLOUR_CODECS:
        raise ImageError(f"{path}: holds YCbCr without JPEG compression; save it as RGB")
    if photometric not in (*_GREYS, _RGB, _YCBCR, _LINEAR):
        raise ImageError(f"{path}: photometric {photometric} is not understood; save grey or RGB")
    extra = page.extrasamples
    alpha = len(extra) == 1 and int(extra[0]) in (1, 2)
    colours = 1 if photometric in _GREYS else 3
    if count == colours + alpha:
        return count, alpha
    # Other extra samples (near infrared, elevation, ...) are measurements, not colours.
    return 1, False


def describe(
    path: Path, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: TiffAxes
) -> ImageInfo:
    """Everything known of the image without reading a pixel."""
    page = series.keyframe
    name = "none" if series.dtype is None else np.dtype(series.dtype).name
    if name not in DTYPES:
        raise ImageError(f"{path}: holds {name} pixels; convert them to one of {', '.join(DTYPES)}")
    tiled = page.is_tiled
    pixel_size, channel_names = _calibration(tif, series)
    channels = dict(zip(axes.outer, axes.outer_shape, strict=True)).get("C", 1)
    channels *= axes.bands if axes.band_axis == "C" else 1
    return ImageInfo(
        format="tiff",
        axes=axes.outer + axes.band_axis + "YX" + ("S" if axes.samples > 1 else ""),
        shape=(
            *axes.outer_shape,
            *((axes.bands,) if axes.band_axis else ()),
            *page.shaped[2:4],
            *((axes.samples,) if axes.samples > 1 else ()),
        ),
        dtype=np.dtype(series.dtype).newbyteorder("="),
        chunk=(
            page.tilelength if tiled else min(page.rowsperstrip, page.shaped[2]),
            page.tilewidth if tiled else page.shaped[3],
        ),
        alpha=axes.alpha,
        pixel_size=pixel_size,
        channel_names=channel_names if len(channel_names) == channels else (),
        nodata=_nodata(page),
        notes=_notes(tif, page, axes),
    )


def _nodata(page: tifffile.TiffPage) -> float | None:
    text = page.tags.valueof(42113)  # GDAL_NODATA
    try:
        return None if text is None else float(str(text).strip("\0 "))
    except ValueError:
        return None


def _notes(tif: tifffile.TiffFile, page: tifffile.TiffPage, axes: TiffAxes) -> dict[str, Any]:
    """Metadata that a TIFF output can hold."""
    notes: dict[str, Any] = {"compression": tifffile.COMPRESSION(page.compression).name}
    if page.iccprofile:
        notes["icc_profile"] = bytes(page.iccprofile)
    resolution = page.get_resolution() if {282, 283} <= set(page.tags.keys()) else None
    if resolution and page.resolutionunit > 1 and min(resolution) > 0:
        unit = {2: "inch", 3: "centimeter"}.get(int(page.resolutionunit), "inch")
        notes["resolution"] = (*map(float, resolution), unit)
    tags = [page.tags[code] for code in _KEPT_TAGS if code in page.tags]
    if tags:
        notes["tiff_tags"] = tuple(
            (tag.code, int(tag.dtype), 0 if isinstance(tag.value, str) else tag.count, tag.value)
            for tag in tags
            if tag.value is not None
        )
    bits = page.bitspersample
    if isinstance(bits, int) and bits < 8 * np.dtype(page.dtype).itemsize:
        notes["bits"] = bits  # the values use only these of the dtype
    if int(page.photometric) == 0:
        notes["photometric"] = "miniswhite"
    if axes.bands > 1:
        notes["bands"] = axes.bands
    if len(tif.series) > 1:
        notes["other_series"] = len(tif.series) - 1
    return notes


def _calibration(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> tuple[dict[str, tuple[float, str]], tuple[str, ...]]:
    """Pixel sizes and channel names, from OME-XML, ImageJ or our own JSON."""
    if tif.is_ome and tif.ome_metadata:
        return parse_ome_xml(tif.ome_metadata)
    if tif.is_imagej and tif.imagej_metadata:
        return _imagej_sizes(tif.imagej_metadata, series.keyframe), ()
    if tif.is_shaped and tif.shaped_metadata:
        return _attribute_sizes(tif.shaped_metadata[0]), ()
    return {}, ()


def parse_ome_xml(xml: str) -> tuple[dict[str, tuple[float, str]], tuple[str, ...]]:
    """Pixel sizes and channel names of the first image; empty where OME-XML is malformed."""
    try:
        pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    except ElementTree.ParseError:
        return {}, ()
    if pixels is None:
        return {}, ()
    names = tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel"))
    return _attribute_sizes(pixels.attrib), names if any(names) else ()


def missing_companions(path: Path, series: tifffile.TiffPageSeries) -> list[str]:
    """Other files that the OME-XML places planes in and that are not there, three at most."""
    xml = series.parent.ome_metadata if series.parent is not None else None
    try:
        uuids = ElementTree.fromstring(xml or "").iterfind(".//{*}TiffData/{*}UUID")
    except ElementTree.ParseError:
        return []
    names = dict.fromkeys(uuid.get("FileName", path.name) for uuid in uuids)
    return [name for name in names if not (path.parent / name).exists()][:3]


def _attribute_sizes(attributes: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Pixel sizes from attributes named as in OME-XML."""
    found = {}
    for axis in "XYZT":
        name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        default = "s" if axis == "T" else "µm"
        unit = full_unit(str(attributes.get(f"{name}Unit", default)))
        found[axis] = (_number(attributes.get(name)), unit)
    return {axis: size for axis, size in found.items() if size[0] > 0}


def _imagej_sizes(
    metadata: dict[str, Any], page: tifffile.TiffPage
) -> dict[str, tuple[float, str]]:
    """ImageJ keeps X and Y as pixels per unit in the resolution tags, Z and T as text."""
    unit = full_unit(str(metadata.get("unit", "")))
    found = {"T": (_number(metadata.get("finterval")), "second")}
    if unit and unit != "pixel":
        found["Z"] = (_number(metadata.get("spacing")), unit)
        for axis, code in (("X", 282), ("Y", 283)):
            per_unit = page.tags.valueof(code, (0, 1))
            found[axis] = (per_unit[1] / per_unit[0] if per_unit[0] else 0.0, unit)
    return {axis: size for axis, size in found.items() if size[0] > 0}


def _number(value: Any) -> float:
    """A finite float, 0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _sizes(series: tifffile.TiffPageSeries) -> str:
    return " x ".join(f"{axis} {n}" for axis, n in zip(series.axes, series.shape, strict=True))
