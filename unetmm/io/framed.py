"""A part of each plane of an image as an image: what is known of it, and what is read of it.

Its place on Earth and on the stage is that of its own first pixel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.exif import fit_sizes
from unetmm.io.image import Box, ImageInfo, MaskedSource, Plane, Source
from unetmm.io.metadata import XMP_TAG, GeoFacts, MicroscopyFacts, Position, Tag
from unetmm.io.ome_xml import crop_planes, mentions
from unetmm.io.units import in_unit
from unetmm.io.wrapped import WrappedSource
from unetmm.io.xmp import crop_xmp

TIEPOINT_TAG, TRANSFORMATION_TAG = 33922, 34264
"""Numbers of the tags that tie pixels of a GeoTIFF to the Earth."""
_DRAWN = ("Overlays", "ROI")
"""Settings of ImageJ that are drawn at places of the whole plane."""

log = logging.getLogger(__name__)


def crop_text(box: Box) -> str:
    """A part of a plane as a user writes it: left, top, width, height."""
    return f"{box.x0},{box.y0},{box.width},{box.height}"


def check_inside(info: ImageInfo, box: Box) -> None:
    """Refuse a part that is not in the image.

    Raises
    ------
    ImageError
        It says how large the image is.
    """
    inside = 0 <= box.y0 < box.y1 <= info.height and 0 <= box.x0 < box.x1 <= info.width
    if not inside:
        raise ImageError(
            f"the crop {crop_text(box)} (left, top, width, height) does not lie inside the image, "
            f"which is {info.width} px wide and {info.height} px high; give left and top from 0, "
            f"left + width up to {info.width}, and top + height up to {info.height}"
        )


def framed_info(info: ImageInfo, box: Box) -> ImageInfo:
    """Facts of a part of each plane.

    Raises
    ------
    ImageError
        If what the image says of its place cannot be said of a part of it.
    """
    known = info.metadata
    if known.geo.rpc or known.tiff.mask is not None:
        what = "rational polynomials (RPC)" if known.geo.rpc else "a mask of valid pixels"
        raise ImageError(
            f"the image has {what}, which a crop cannot keep; restore all of it, and cut that"
        )
    sizes = {"Y": box.height, "X": box.width}
    shape = tuple(sizes.get(a, n) for a, n in zip(info.axes, info.shape, strict=True))
    seen = known.microscopy
    xml = crop_planes(seen.ome_xml, _shifts(info, box), box.width, box.height)
    return replace(
        info,
        shape=shape,
        metadata=replace(
            known,
            photo=replace(
                known.photo,
                exif=fit_sizes(known.photo.exif, box.height, box.width),
                xmp=crop_xmp(known.photo.xmp, box.y0, box.x0, box.height, box.width),
            ),
            tiff=replace(known.tiff, tags=tuple(_moved_tag(tag, box) for tag in known.tiff.tags)),
            geo=_moved_geo(known.geo, box),
            reading=known.reading.without(*lost_of_plane(seen)),
            microscopy=replace(
                seen,
                ome_xml=xml,
                origin=_moved_origin(info, box),
                imagej=drawn_apart(seen),
                labels="",
            ),
        ),
    )


def _shifts(info: ImageInfo, box: Box) -> dict[str, Position]:
    """Axis -> distance of the part's first pixel from that of the image, and its unit."""
    starts = {"X": box.x0, "Y": box.y0}
    sizes = {axis: info.pixel_size[axis] for axis in starts if axis in info.pixel_size}
    return {axis: (starts[axis] * size, unit) for axis, (size, unit) in sizes.items()}


def _moved_origin(info: ImageInfo, box: Box) -> Mapping[str, Position]:
    """Stage position of the part's first pixel; unknown where units do not go together."""
    found, shifts = dict(info.metadata.microscopy.origin), _shifts(info, box)
    for axis in [axis for axis in "XY" if axis in found]:
        place, unit = found.pop(axis)
        distance = in_unit(*shifts[axis], unit) if axis in shifts else None
        if distance is not None:
            found[axis] = (place + distance, unit)
    return found


def _moved_geo(geo: GeoFacts, box: Box) -> GeoFacts:
    if not geo.transform:
        return geo
    x, x_column, x_row, y, y_column, y_row = geo.transform
    x += box.x0 * x_column + box.y0 * x_row
    y += box.x0 * y_column + box.y0 * y_row
    return replace(geo, transform=(x, x_column, x_row, y, y_column, y_row))


def _moved_tag(tag: Tag, box: Box) -> Tag:
    """A tag for the part: of a GeoTIFF, or XMP."""
    code, dtype, count, value = tag
    if code == TIEPOINT_TAG and np.size(value) % 6 == 0:
        points = np.reshape(np.asarray(value, float), (-1, 6))
        points[:, 0] -= box.x0
        points[:, 1] -= box.y0
        return code, dtype, count, tuple(points.ravel().tolist())
    if code == TRANSFORMATION_TAG and np.size(value) == 16:
        matrix = np.reshape(np.asarray(value, float), (4, 4))
        matrix[:, 3] += box.x0 * matrix[:, 0] + box.y0 * matrix[:, 1]
        return code, dtype, count, tuple(matrix.ravel().tolist())
    if code == XMP_TAG and isinstance(value, bytes):
        xmp = crop_xmp(value, box.y0, box.x0, box.height, box.width)
        return code, dtype, len(xmp), xmp
    return tag


def drawn_apart(seen: MicroscopyFacts) -> dict[str, Any]:
    """ImageJ's settings without what is drawn at places of the plane."""
    return {name: value for name, value in seen.imagej.items() if name not in _DRAWN}


def lost_of_plane(seen: MicroscopyFacts) -> Iterator[str]:
    """Names of what lies on the whole plane."""
    if _has_drawn(seen):
        yield "regions of interest"
    if seen.labels:
        yield "label images"


def _has_drawn(seen: MicroscopyFacts) -> bool:
    """Whether something is drawn at places of the whole plane."""
    in_imagej = (seen.imagej.get(name) is not None for name in _DRAWN)
    return mentions(seen.ome_xml, "ROI") or any(in_imagej)


class FramedSource(WrappedSource):
    """A part of each plane of a source, for what looks at an output beside its image."""

    def __init__(self, source: Source, box: Box) -> None:
        super().__init__(source)
        self._box = box
        self.info = framed_info(source.info, box)
        if _has_drawn(source.info.metadata.microscopy):
            log.warning("its regions of interest lie on the whole image and are left out of a crop")
        before, after = (info.metadata.microscopy.origin for info in (source.info, self.info))
        for axis in (axis for axis in before if axis not in after):
            log.warning(
                'the stage position along %s is in units of "%s", which says nothing of the first '
                "pixel of a crop; it is left out",
                axis,
                before[axis][1],
            )

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        return self._source.read(plane, self._moved(box))

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        return cast("MaskedSource", self._source).read_mask(plane, self._moved(box))

    def _moved(self, box: Box) -> Box:
        y, x = self._box.y0, self._box.x0
        return Box(box.y0 + y, box.x0 + x, box.y1 + y, box.x1 + x)
