"""What a TIFF says about its image: axes, samples, pixel sizes, names, tags worth keeping."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.intensities.validity import NOTHING
from unetmm.io.axes import looks_like_channels
from unetmm.io.image import DTYPES, ImageInfo, Plane
from unetmm.io.metadata import Metadata
from unetmm.io.ome_xml import (
    OmeFacts,
    fitted_names,
    named_files,
    pick_planes,
)
from unetmm.io.palette import Meaning, PaletteChoice, brightest, unpack_map
from unetmm.io.tiff.axes import stated_pairs
from unetmm.io.tiff.calibration import calibration_of, imagej_offset
from unetmm.io.tiff.gdal import ends_in_opacity, last_band_name
from unetmm.io.tiff.lost import lost_of
from unetmm.io.tiff.maps import COLOUR_MAP_TAG, PALETTE
from unetmm.io.tiff.metadata import collect_metadata
from unetmm.io.tiff.nodata import nodata_values, stated_nodata
from unetmm.io.tiff.palette import (
    choose_meaning,
    colour_maps,
    expanded_colours,
    find_palette,
)

log = logging.getLogger(__name__)

_RGB, _YCBCR, _LINEAR = 2, 6, 34892
_DNG_TAG = 50706
_GREYS = (0, 1)
_BITS = np.array([[0], [255]], np.uint8)
"""Greys of pixels of 1 bit, as PNG and BMP have them, too."""
_REFUSED = {
    4: "a mask",
    5: "CMYK",
    8: "CIELab",
    9: "CIELab",
    10: "CIELab",
    32803: "a raw camera mosaic",
    32844: "LogLuv",
    32845: "LogLuv",
}
_COLOUR_CODECS = (6, 7, 33003, 33004, 33005, 34712, 50001, 50002, 34892, 33007, 22610, 34934)
"""Compressions that store YCbCr and give RGB back."""


@dataclass(frozen=True)
class TiffAxes:
    """How planes (t, c, z) map to pages, and samples to colours or channels."""

    outer: str
    """Axes across pages, slowest first, letters of TCZ."""
    outer_shape: tuple[int, ...]
    """Lengths of these axes."""
    samples: int
    """Number of interleaved colours of a pixel."""
    bands: int = 1
    """Number of samples that are separate measurements, shown as axis `band_axis`."""
    band_axis: str = ""
    """Letter of the axis that samples become, empty if they become none."""
    alpha: bool = False
    """Whether the last sample is opacity."""
    interleaved_bands: bool = False
    """Whether such samples lie pixel by pixel rather than band by band."""
    named_bands: bool = False
    """Whether the file itself names `band_axis`, rather than that we take samples for it."""
    palette: NDArray[np.uint8] | None = None
    """Colours of every stored value, shape (values, 3 or 4), or greys (values, 1); None if values
    are restored."""
    meaning: Meaning | None = None
    """Nature of the values of a palette; None if there is no palette."""
    guessed: str = ""
    """Letters of axes across pages that the file does not name."""
    offset: int = 0
    """Number that is added to stored values of 16 bits, which makes them signed; 0 for none."""

    @property
    def shown_samples(self) -> int:
        """Samples of a pixel once a palette is expanded."""
        return self.samples if self.palette is None else self.palette.shape[1]

    @property
    def pages(self) -> int:
        return math.prod(self.outer_shape)

    @property
    def channels(self) -> int:
        """Length of axis C, whether channels are pages or samples."""
        return self.length("C") * (self.bands if self.band_axis == "C" else 1)

    def length(self, axis: str) -> int:
        """Length of an axis across pages, 1 if there is none."""
        return dict(zip(self.outer, self.outer_shape, strict=True)).get(axis, 1)

    def page_index(self, plane: Plane) -> int:
        index = 0
        for axis, length in zip(self.outer, self.outer_shape, strict=True):
            index = index * length + plane["TCZ".index(axis)]
        return index

    def band_index(self, plane: Plane) -> int | None:
        """Which sample a plane is, None if a plane has all of them."""
        return plane["TCZ".index(self.band_axis)] if self.bands > 1 else None


def map_axes(
    path: Path, series: tifffile.TiffPageSeries, choice: PaletteChoice = "auto"
) -> TiffAxes:
    """Name every axis of a series.

    Parameters
    ----------
    choice : what the values of a palette are to be taken for.

    Raises
    ------
    ImageError
        If the image has no pixels, more axes than T, C and Z, or colours that cannot be restored.
    """
    page = series.keyframe
    _check_kind(path, series)
    pairs = stated_pairs(series)
    letters = _known_letters(path, series, [axis for axis, _ in pairs])
    count = page.shaped[0] * page.shaped[4]
    samples, alpha = _colours(path, page, count)
    meaning, palette = _palette(path, series, choice)
    band_axis, named = "", _named_samples(series, [length for _, length in pairs], count)
    if named is not None:
        letter, _ = letters.pop(named), pairs.pop(named)
        if page.shaped[0] > 1:
            # tifffile.imwrite stores 3 or 4 planes of any kind as colours that lie apart.
            samples, alpha = 1, False
        band_axis = letter if samples == 1 else ""
    elif samples == 1 and count > 1:
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
        alpha=alpha or (palette is not None and palette.shape[1] == 4),
        interleaved_bands=bool(band_axis) and page.shaped[0] == 1,
        named_bands=named is not None,
        palette=palette,
        meaning=meaning,
        guessed="".join(a for a, (b, _) in zip(letters, pairs, strict=True) if a != b),
        offset=_offset(series),
    )


def _offset(series: tifffile.TiffPageSeries) -> int:
    """What signed values were stored with, as ImageJ does it."""
    signed = np.dtype(series.dtype) == np.uint16 and int(series.keyframe.photometric) != PALETTE
    return imagej_offset(series.parent) if signed and series.parent is not None else 0


def _named_samples(series: tifffile.TiffPageSeries, lengths: list[int], count: int) -> int | None:
    """Which of the axes beside Y, X and S are the samples of a pixel, as tifffile's JSON may say.

    None if samples have an axis of their own, S, or there is only one.

    Parameters
    ----------
    lengths : of these axes.
    count : samples of a pixel.
    """
    pages = len(series)
    if count == 1 or "S" in series.axes or math.prod(lengths) != pages * count:
        return None
    # Samples change fastest, so only axes of length 1 follow theirs.
    last = max((i for i, length in enumerate(lengths) if length > 1), default=-1)
    return last if last >= 0 and lengths[last] == count else None


def _check_kind(path: Path, series: tifffile.TiffPageSeries) -> None:
    """Refuse pixels that are not restored, and images without any."""
    page = series.keyframe
    name = "unknown" if series.dtype is None else np.dtype(series.dtype).name
    if name == "bool":
        if page.samplesperpixel > 1 or int(page.photometric) not in _GREYS:
            raise ImageError(f"{path}: holds colours of 1 bit; save grey or RGB of 8 bits")
    elif name not in DTYPES:
        raise ImageError(f"{path}: holds {name} pixels; convert them to one of {', '.join(DTYPES)}")
    if 0 in series.shape or 0 in page.shaped:
        raise ImageError(f"{path}: the image is empty ({_sizes(series)}); give one with pixels")
    if page.shaped[1] > 1:
        raise ImageError(f"{path}: stores 3-D tiles (ImageDepth); save Z as pages instead")
    first = page if series.parent is None else series.parent.pages.first
    if int(page.photometric) == _LINEAR and _DNG_TAG in first.tags:
        raise ImageError(
            f"{path}: holds the colours of a camera's sensor (linear DNG), which need tables that "
            "no output keeps; develop it into TIFF first"
        )
    if series.transform is not None:
        raise ImageError(f"{path}: its pixels need a {series.kind} transform; save a plain TIFF")


def _palette(
    path: Path, series: tifffile.TiffPageSeries, choice: PaletteChoice
) -> tuple[Meaning | None, NDArray[np.uint8] | None]:
    """What the values of a palette are taken for, and their colours if those are restored."""
    page = series.keyframe
    if np.dtype(page.dtype) == bool:
        return None, _BITS
    if int(page.photometric) != PALETTE:
        return None, None
    found = find_palette(path, page)
    meaning = choose_meaning(path, found, choice)
    if meaning == "values":
        return meaning, None
    nodata = next(iter(nodata_values(page)), None)
    return meaning, expanded_colours(found, nodata, 256 ** np.dtype(page.dtype).itemsize)


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
    if photometric == PALETTE:
        if count > 1:
            raise ImageError(f"{path}: holds a palette and further samples; save grey or RGB")
        return 1, False
    if photometric not in (*_GREYS, _RGB, _YCBCR, _LINEAR):
        raise ImageError(f"{path}: photometric {photometric} is not understood; save grey or RGB")
    alpha = ends_in_opacity(page) and not last_band_name(page, count)
    colours = 1 if photometric in _GREYS else 3
    if count == colours + alpha:
        return count, alpha
    # Other extra samples (near infrared, elevation, ...) are measurements, not colours.
    return 1, False


def describe(
    path: Path,
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    axes: TiffAxes,
    chunk: tuple[int, int],
) -> ImageInfo:
    """Everything known of the image without reading a pixel; `chunk` as in ImageInfo."""
    page = series.keyframe
    facts = calibration_of(tif, series)
    stack = (*axes.outer_shape, *page.shaped[2:4])
    if axes.guessed and axes.shown_samples == 1 and looks_like_channels(stack):
        log.warning(
            "%s: has %d pages of %d x %d px, which are taken for %s; if these are rows of "
            "channels, save each channel as a page",
            path, axes.pages, *stack[-2:], axes.guessed,
        )  # fmt: skip
    if axes.bands > 1 and ends_in_opacity(page) and (name := last_band_name(page, axes.bands)):
        log.warning(
            '%s: band %d is marked as opacity but named "%s", so it is restored as a band',
            path, axes.bands, name,
        )  # fmt: skip
    metadata = _metadata(tif, series, axes, facts)
    samples = axes.shown_samples
    bands = axes.bands if axes.band_axis == "C" else axes.samples
    return ImageInfo(
        format="tiff",
        axes=axes.outer + axes.band_axis + "YX" + ("S" if samples > 1 else ""),
        shape=(
            *axes.outer_shape,
            *((axes.bands,) if axes.band_axis else ()),
            *page.shaped[2:4],
            *((samples,) if samples > 1 else ()),
        ),
        dtype=_shown_dtype(series, axes),
        chunk=chunk,
        alpha=axes.alpha,
        pixel_size=facts.pixel_size,
        channel_names=_channel_names(axes, facts, metadata),
        nodata=stated_nodata(page, bands) if axes.palette is None else NOTHING,
        metadata=metadata,
    )


def _shown_dtype(series: tifffile.TiffPageSeries, axes: TiffAxes) -> np.dtype[Any]:
    """Type of the values that are read: colours of a palette, signed where they were shifted."""
    if axes.palette is not None:
        return np.dtype(np.uint8)
    stored = np.dtype(series.dtype)
    return np.dtype(np.int16) if axes.offset else stored.newbyteorder("=")


def _metadata(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: TiffAxes, facts: OmeFacts
) -> Metadata:
    """What the tags say, and what OME-XML says beyond them."""
    found = collect_metadata(tif, series, 1 if axes.named_bands else axes.bands)
    xml, colors = found.microscopy.ome_xml, found.microscopy.channel_colors
    if xml and math.prod(axes.outer_shape) < len(series):
        there = {axis: range(axes.length(axis)) for axis in axes.outer}
        xml = pick_planes(xml, there, axes.samples)
    stated, channels = len(facts.channel_colors), axes.channels
    if stated == channels or (stated > channels and axes.shown_samples == 1):
        colors = facts.channel_colors[:channels]
    bits = found.display.bits
    if 0 < facts.bits < 8 * np.dtype(series.dtype).itemsize:
        bits = facts.bits
    display = replace(found.display, bits=bits)
    if axes.palette is not None:
        # The bits were those of the indices.
        classes = axes.meaning == "classes"
        kind = "" if axes.palette is _BITS else "expanded"
        display = replace(display, palette=kind, classes=classes, bits=0)
    elif axes.meaning == "values" or COLOUR_MAP_TAG in series.keyframe.tags:
        # GDAL gives grey pages a map, too.
        maps = colour_maps(_pages_of_channels(series, axes))
        display = replace(display, palette="values", colour_maps=maps)
        if len(colors) != channels and len(maps) == channels:
            colors = tuple(brightest(unpack_map(packed)) for packed in maps)
    tiff = found.tiff
    if axes.palette is not None:
        tiff = replace(tiff, color_interpretation=())  # which said that of the indices
    seen = replace(found.microscopy, ome_xml=xml, channel_colors=colors, origin=facts.origin)
    reading = replace(found.reading, guessed_axes=axes.guessed, left_out=lost_of(tif, series))
    return replace(found, tiff=tiff, microscopy=seen, display=display, reading=reading)


def _pages_of_channels(series: tifffile.TiffPageSeries, axes: TiffAxes) -> list[Any]:
    """The first page of each channel."""
    return [series.pages[axes.page_index((0, c, 0))] for c in range(axes.length("C"))]


def _channel_names(axes: TiffAxes, facts: OmeFacts, metadata: Metadata) -> tuple[str, ...]:
    """One name a channel, of OME-XML or of GDAL's bands; none if all are empty."""
    names = facts.channel_names or (metadata.tiff.descriptions if axes.bands > 1 else ())
    if len(names) != axes.channels:
        names = fitted_names(names, axes.channels) if axes.shown_samples == 1 else ()
    return names if any(names) else ()


def missing_companions(path: Path, series: tifffile.TiffPageSeries) -> list[str]:
    """Other files that the OME-XML places planes in and that are not there, three at most."""
    xml = series.parent.ome_metadata if series.parent is not None else None
    return [name for name in named_files(xml or "") if not (path.parent / name).exists()][:3]


def _sizes(series: tifffile.TiffPageSeries) -> str:
    return " x ".join(f"{axis} {n}" for axis, n in zip(series.axes, series.shape, strict=True))
