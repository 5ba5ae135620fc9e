"""An image with every pixel made a square of several: what is known of it, and what is read of it.

That is what an output is to its input where a net enlarges: its pixels are smaller, and lie within
those of the input, with the same outer corner.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.exif import fit_sizes, scale_resolution
from unetmm.io.framed import drawn_apart, lost_of_plane
from unetmm.io.geo import MATRIX_TAG, RPC_NAMES, RPC_TAG, SCALE_TAG, TIE_TAG, is_point
from unetmm.io.image import Box, ImageInfo, MaskedSource, Plane, Source
from unetmm.io.metadata import XMP_TAG, GeoFacts, PhotoFacts, Position, Tag
from unetmm.io.ome_xml import enlarge_planes
from unetmm.io.units import in_unit
from unetmm.io.wrapped import WrappedSource
from unetmm.io.xmp import scale_xmp

CHUNK_STEP_PX = 64
"""Length in pixels of the input whose multiples chunks of an output are made of, which blocks of
the guard and tiles of a TIFF ask for."""
_OFFSETS, _SPANS = ("LINE_OFF", "SAMP_OFF"), ("LINE_SCALE", "SAMP_SCALE")
"""Names of the numbers of rational polynomials that count pixels."""

Pixels = TypeVar("Pixels", bound=np.generic)

log = logging.getLogger(__name__)


def repeated(pixels: NDArray[Pixels], scale: int) -> NDArray[Pixels]:
    """Each pixel (height, width, ...) as a square of `scale` by `scale` pixels."""
    return pixels if scale == 1 else pixels.repeat(scale, 0).repeat(scale, 1)


def chunk_px(side_px: int, scale: int) -> int:
    """Side of a chunk of an output that whole pixels of the input fill, about as long."""
    if scale == 1:
        return side_px
    return scale * max(1, math.ceil(side_px / scale / CHUNK_STEP_PX)) * CHUNK_STEP_PX


def enlarged_info(info: ImageInfo, scale: int) -> ImageInfo:
    """Facts of an image with `scale` times as many rows and columns.

    Raises
    ------
    ImageError
        If what the image holds besides its pixels cannot be enlarged.
    """
    if scale == 1:
        return info
    known, seen = info.metadata, info.metadata.microscopy
    if known.tiff.mask is not None:
        raise ImageError(
            "the image has a mask of valid pixels, which cannot be enlarged with it; state its "
            "invalid pixels by a value (gdal_translate -a_nodata), and enlarge that"
        )
    height, width = info.height * scale, info.width * scale
    sizes = {"Y": height, "X": width}
    return replace(
        info,
        shape=tuple(sizes.get(a, n) for a, n in zip(info.axes, info.shape, strict=True)),
        pixel_size={
            axis: (size / scale if axis in sizes else size, unit)
            for axis, (size, unit) in info.pixel_size.items()
        },
        metadata=replace(
            known,
            photo=_photo(known.photo, height, width, scale),
            tiff=replace(
                known.tiff,
                tags=tuple(_tag(tag, is_point(known.tiff.tags), scale) for tag in known.tiff.tags),
            ),
            geo=_geo(known.geo, scale),
            reading=known.reading.without(*lost_of_plane(seen)),
            microscopy=replace(
                seen,
                ome_xml=enlarge_planes(seen.ome_xml, _shifts(info, scale), width, height, scale),
                origin=_origin(info, scale),
                imagej=drawn_apart(seen),
                labels="",
            ),
        ),
    )


def _photo(photo: PhotoFacts, height: int, width: int, scale: int) -> PhotoFacts:
    """What a photo says, of more pixels to an inch."""
    resolution = photo.resolution
    if resolution is not None:
        x, y, unit = resolution
        resolution = x * scale, y * scale, unit
    exif = scale_resolution(fit_sizes(photo.exif, height, width), scale)
    return replace(photo, exif=exif, xmp=scale_xmp(photo.xmp, scale), resolution=resolution)


def _shifts(info: ImageInfo, scale: int) -> dict[str, Position]:
    """Axis -> distance of the first pixel's centre from that of the input's, and its unit."""
    sizes = {axis: info.pixel_size[axis] for axis in "XY" if axis in info.pixel_size}
    return {axis: (-size * (1 - 1 / scale) / 2, unit) for axis, (size, unit) in sizes.items()}


def _origin(info: ImageInfo, scale: int) -> Mapping[str, Position]:
    """Stage position of the centre of the first pixel, which lies closer to the corner now."""
    found, shifts = dict(info.metadata.microscopy.origin), _shifts(info, scale)
    for axis in [axis for axis in "XY" if axis in found and axis in shifts]:
        place, unit = found[axis]
        distance = in_unit(*shifts[axis], unit)
        if distance is not None:
            found[axis] = place + distance, unit
    return found


def _geo(geo: GeoFacts, scale: int) -> GeoFacts:
    if not geo.transform:
        return geo
    x, x_column, x_row, y, y_column, y_row = geo.transform
    steps = (x_column / scale, x_row / scale, y_column / scale, y_row / scale)
    return replace(geo, transform=(x, *steps[:2], y, *steps[2:]))


def _tag(tag: Tag, counts_centres: bool, scale: int) -> Tag:
    """A tag of the enlarged image.

    counts_centres: whether pixel 0 of a tag is the centre of the first pixel, not its corner.
    """
    code, dtype, count, value = tag
    # Place of a pixel of the input in the output: at * scale + shift.
    shift = (scale - 1) / 2 if counts_centres else 0.0
    if code == SCALE_TAG and np.size(value) == 3:
        return code, dtype, count, (value[0] / scale, value[1] / scale, value[2])
    if code == TIE_TAG and np.size(value) % 6 == 0:
        points = np.reshape(np.asarray(value, float), (-1, 6))
        points[:, :2] = points[:, :2] * scale + shift
        return code, dtype, count, tuple(points.ravel().tolist())
    if code == MATRIX_TAG and np.size(value) == 16:
        matrix = np.reshape(np.asarray(value, float), (4, 4))
        matrix[:3, :2] /= scale
        matrix[:3, 3] -= shift * matrix[:3, :2].sum(1)
        return code, dtype, count, tuple(matrix.ravel().tolist())
    if code == RPC_TAG and np.size(value) == len(RPC_NAMES):
        return code, dtype, count, _polynomials(value, scale)
    if code == XMP_TAG and isinstance(value, bytes):
        xmp = scale_xmp(value, scale)
        return code, dtype, len(xmp), xmp
    return tag


def _polynomials(values: Any, scale: int) -> tuple[float, ...]:
    """Numbers of rational polynomials, which count centres of pixels."""
    found = dict(zip(RPC_NAMES, map(float, values), strict=True))
    for name in _OFFSETS:
        found[name] = found[name] * scale + (scale - 1) / 2
    for name in _SPANS:
        found[name] *= scale
    return tuple(found.values())


def enlarged(source: Source, scale: int) -> Source:
    """The image with `scale` times as many rows and columns, for what looks at an output beside it.

    Raises
    ------
    ImageError
        If what it holds besides its pixels cannot be enlarged.
    """
    return source if scale == 1 else EnlargedSource(source, scale)


class EnlargedSource(WrappedSource):
    """A source with each pixel repeated."""

    def __init__(self, source: Source, scale: int) -> None:
        super().__init__(source)
        self._scale = scale
        self.info = enlarged_info(source.info, scale)
        lost = list(lost_of_plane(source.info.metadata.microscopy))
        if lost:
            log.warning("its %s fit its own size only and are left out", " and ".join(lost))

    def read_bytes(self, box_height: int, box_width: int) -> int:
        rows, columns = (-(-n // self._scale) + 1 for n in (box_height, box_width))
        pixel_bytes = self.info.samples * self.info.dtype.itemsize
        return super().read_bytes(rows, columns) + 2 * rows * columns * self._scale**2 * pixel_bytes

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        outer, inner = self._within(box)
        return repeated(self._source.read(plane, outer), self._scale)[inner]

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        outer, inner = self._within(box)
        mask = cast("MaskedSource", self._source).read_mask(plane, outer)
        return repeated(mask, self._scale)[inner]

    def _within(self, box: Box) -> tuple[Box, tuple[slice, slice]]:
        """The pixels of the source that a box lies in, and where it lies in them, enlarged."""
        s = self._scale
        outer = Box(box.y0 // s, box.x0 // s, -(-box.y1 // s), -(-box.x1 // s))
        y, x = outer.y0 * s, outer.x0 * s
        return outer, (slice(box.y0 - y, box.y1 - y), slice(box.x0 - x, box.x1 - x))


def unshuffled(answer: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """A net's answer (n, width, c * scale**2) as pixels (n * scale, width * scale, c)."""
    if scale == 1:
        return answer
    n, width, values = answer.shape
    cells = answer.reshape(n, width, values // scale**2, scale, scale)
    return cells.transpose(0, 3, 1, 4, 2).reshape(n * scale, width * scale, -1)


def averaged(pixels: NDArray[Any], scale: int) -> NDArray[Any]:
    """The mean of the output's pixels that come of each pixel of the input."""
    if scale == 1:
        return pixels
    n, width = (length // scale for length in pixels.shape[:2])
    cells = pixels.reshape(n, scale, width, scale, -1)
    return np.asarray(cells.mean((1, 3), dtype=np.float64))
