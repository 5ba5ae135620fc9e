"""What lies beside a file and says where it is and which pixels hold no measurement, as of GDAL.

NAME.tif.msk is a mask of the image in a TIFF of its own; NAME.tif.aux.xml names a value of each
band, and the place on Earth, as do world files and their likes. All go with files of any format.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.validity import NoData, Values
from unetmm.io.geo import with_place
from unetmm.io.geo_files import aux_root, band_names, items_lost, place_beside
from unetmm.io.image import Box, ImageInfo, Plane, Source
from unetmm.io.joined import read_channels
from unetmm.io.measured import mask_of
from unetmm.io.metadata import Metadata
from unetmm.io.places import Place
from unetmm.io.wrapped import WrappedSource

if TYPE_CHECKING:
    from unetmm.io.tiff.mask_pages import MaskPages

log = logging.getLogger(__name__)

MASK_SUFFIX, XML_SUFFIX = ".msk", ".aux.xml"
"""Endings that the name of a file gets, behind its own."""
_MOST_XML_BYTES = 2**24
"""Largest file of band notes that is read; they may hold tables of colours."""


def with_sidecars(source: Source, place: Place) -> Source:
    """The source with what is said beside its file; the source itself if nothing is."""
    info = source.info
    if not isinstance(place, Path) or place.is_dir():
        return source
    used, stated, mask = [], NoData(), None
    xml = place.with_name(place.name + XML_SUFFIX)
    # The values of a palette are indices, which the pixels are not any more.
    has_values = not info.metadata.display.palette
    if has_values and xml.is_file() and (bands := read_bands(xml)):
        stated, used = by_band(bands, info), [xml]
    known, more = _placed(info.metadata, place)
    used += [path for path in more if path not in used]
    is_same = known is info.metadata
    info = replace(info, metadata=known)
    beside = place.with_name(place.name + MASK_SUFFIX)
    if beside.is_file():
        from unetmm.io.tiff.mask_pages import beside_mask
        from unetmm.io.tiff.segments import SegmentFiles

        mask = beside_mask(beside, info, SegmentFiles())
        used += [beside] if mask is not None else []
    if not used and is_same:
        return source
    reading = replace(info.metadata.reading, sidecars=tuple(str(p.resolve()) for p in used))
    tiff = info.metadata.tiff
    if mask is not None:
        from unetmm.io.tiff.mask import mask_in

        tiff = replace(tiff, mask=tiff.mask or mask_in(beside))
    nodata = info.nodata.beside(stated)
    info = replace(
        info,
        nodata=replace(nodata, masked=nodata.masked or mask is not None),
        metadata=replace(info.metadata, tiff=tiff, reading=reading),
    )
    return JudgedSource(source, info, mask)


def _placed(known: Metadata, path: Path) -> tuple[Metadata, list[Path]]:
    """Metadata with the place that files beside an image say, and those files."""
    has_place = bool(known.geo.transform or known.geo.gcps)
    root = aux_root(path.with_name(path.name + XML_SUFFIX))
    if root is not None and items_lost(root):
        known = replace(known, reading=known.reading.without("items of .aux.xml"))
    if root is not None and not any(known.tiff.descriptions) and (names := band_names(root)):
        known = replace(known, tiff=replace(known.tiff, descriptions=names))
    found, used = place_beside(path, has_place)
    return (with_place(known, found) if used else known), used


def with_nodata(source: Source, values: Values | None) -> Source:
    """The source with a user's values for "no data"; itself if he gave none."""
    if values is None:
        return source
    info = source.info
    return JudgedSource(source, replace(info, nodata=info.nodata.overridden(values)))


def read_bands(path: Path) -> dict[int, float]:
    """Number of a band, from 1 -> its value for "no data"; none of what is damaged."""
    try:
        if path.stat().st_size > _MOST_XML_BYTES:
            return {}
        bands = ElementTree.parse(path).getroot().findall("PAMRasterBand")
        found = {int(b.get("band", "1")): b.findtext("NoDataValue") for b in bands}
        return {band: float(text) for band, text in found.items() if text is not None}
    except (OSError, ValueError, ElementTree.ParseError) as error:
        log.warning("%s: its values for no data cannot be read: %s", path, error)
        return {}


def by_band(values: dict[int, float], info: ImageInfo) -> NoData:
    """Values of bands, counted from 1, as those of an image's channels or colours."""
    count = info.samples if info.samples > 1 else info.length("C")
    found = tuple((values[i],) if i in values else () for i in range(1, count + 1))
    return NoData(found[:1] if len(set(found)) == 1 else found)


class JudgedSource(WrappedSource):
    """A source of which more is known than its file says: which pixels hold no measurement."""

    def __init__(self, source: Source, info: ImageInfo, mask: MaskPages | None = None) -> None:
        super().__init__(source)
        self._mask = mask
        self.info = info

    @property
    def resident_bytes(self) -> int:
        own = 0 if self._mask is None else self._mask.resident_bytes
        return super().resident_bytes + own

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """The pixels and the mask are read one after the other."""
        own = 0 if self._mask is None else self._mask.read_bytes + box_height * box_width
        return super().read_bytes(box_height, box_width) + own

    def read(self, plane: Plane, box: Box) -> NDArray[Any]:
        return self._source.read(plane, box)

    def read_channels(self, plane: Plane, channels: list[int], box: Box) -> NDArray[Any]:
        """Some channels side by side."""
        return read_channels(self._source, plane, channels, box)

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        """Where both masks, that of the file and that beside it, say valid."""
        found = mask_of(self._source, plane, box)
        if self._mask is None:
            return np.ones((box.height, box.width), bool) if found is None else found
        band = plane[1] if self.info.length("C") > 1 else None
        own = self._mask.read(self.info.plane_number(plane), band, box)
        return own if found is None else np.logical_and(own, found, out=own)

    def close(self) -> None:
        super().close()
        if self._mask is not None:
            self._mask.close()
