"""Writes GeoZarr: an OME-Zarr of one resolution with what CF asks for, for xarray and GDAL.

Beside the array lie its coordinates, centres of columns and rows, and a grid mapping named
`spatial_ref` with the reference system.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.geo import Transform, transform_of_tags
from unetmm.io.image import ImageInfo, SinkOptions
from unetmm.io.omezarr.codecs import keys
from unetmm.io.omezarr.store import OmeZarrStore
from unetmm.io.places import zarr_store

MAPPING = "spatial_ref"
"""Name of the grid mapping, by which rioxarray looks for it."""
_REGISTRY = "http://www.opengis.net/def/crs/EPSG/0/"


class GeoZarrStore(OmeZarrStore):
    """An OME-Zarr whose array has coordinates and a grid mapping beside it."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        super().__init__(options, info)
        self.levels = self.levels[:1]  # those of a pyramid have other coordinates of one name
        self._transform = _transform_of(options, info)

    def _cf_attributes(self) -> dict[str, Any]:
        code = _code(self.info)
        found = super()._cf_attributes() | {"grid_mapping": MAPPING, "coordinates": MAPPING}
        if code:
            found |= {"_CRS": {"url": f"{_REGISTRY}{code}"}, "proj:code": f"EPSG:{code}"}
        if self._format == 2:
            found["_ARRAY_DIMENSIONS"] = [axis.lower() for axis in self._axes]
        return found

    def finish(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> Any:
        home = self._home(self._folder)
        x, x_column, x_row, y, y_column, y_row = self._transform
        if not (x_row or y_column):  # else columns have no coordinate of their own
            self._put(home / "x", x + x_column * (np.arange(self.info.width) + 0.5), "x")
            self._put(home / "y", y + y_row * (np.arange(self.info.height) + 0.5), "y")
        mapping = self._put(home / MAPPING, np.zeros((), np.int32))
        geo = self.info.metadata.geo
        mapping.attrs["GeoTransform"] = " ".join(map(repr, map(float, self._transform)))
        if geo.crs:
            mapping.attrs["spatial_ref"] = geo.crs
        return super().finish(checksums, found)

    def _put(self, where: Any, values: NDArray[Any], *names: str) -> Any:
        """A small array beside the image."""
        more: dict[str, Any] = {"dimension_names": names} if self._format == 3 else {}
        array = zarr.create_array(
            zarr_store(where),
            shape=values.shape,
            chunks=values.shape,
            dtype=values.dtype,
            chunk_key_encoding=keys(self._format),
            zarr_format=self._format,
            overwrite=True,
            **more,
        )
        array[...] = values
        if self._format == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = list(names)
        return array


def _transform_of(options: SinkOptions, info: ImageInfo) -> Transform:
    """The transform of an image.

    Raises
    ------
    ImageError
        If it has none.
    """
    stated = info.metadata.geo.transform
    found = stated if len(stated) == 6 else transform_of_tags(info.metadata.tiff.tags)
    if found is None or len(found) != 6:
        raise ImageError(
            f"{options.path}: GeoZarr is for images with a place on Earth, which this one has not; "
            "write .ome.zarr"
        )
    return found


def _code(info: ImageInfo) -> int:
    """Number of the reference system; 0 if it has none."""
    number = info.metadata.geo.crs.removeprefix("EPSG:")
    return int(number) if number.isdecimal() else 0
