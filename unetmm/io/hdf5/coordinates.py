"""Coordinates of the axes of an array as netCDF keeps them: a place on Earth, or named as lost.

Source: CF conventions 1.11, sections 4.1, 4.2 and 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unetmm.io.geo import GeoPlace, transform_of_centres
from unetmm.io.hdf5.arrays import DEGREES_EAST, DEGREES_NORTH, node_at

_LONGEST_AXIS = 2**20
_NO_VALUES = b"This is a netCDF dimension but not a netCDF variable"
"""Beginning of the name of a dimension without coordinates."""
_WGS84 = 4326
"""Number of the reference system that longitudes and latitudes have if nothing says another."""


def read_coordinates(
    file: Any, array: Any, attributes: Mapping[str, Any], axes: str
) -> tuple[GeoPlace, list[str]]:
    """(place on Earth, names of coordinates that it does not say) of an array.

    Parameters
    ----------
    attributes : of the array.
    axes : letters of its axes.
    """
    scales = {axis: _scale(array, i) for i, axis in enumerate(axes)}
    there = {axis: scale for axis, scale in scales.items() if scale is not None}
    place = GeoPlace()
    if "X" in there and "Y" in there:
        place = _place(file, there["Y"], there["X"], attributes)
    lost = [a for a in there if place.transform is None or a not in "YX"]
    return place, [str(there[axis].name).rsplit("/", 1)[-1] for axis in lost]


def _scale(array: Any, number: int) -> Any:
    """The coordinates of an axis, one number for each place on it; None if there are none."""
    for scale in array.dims[number].values():
        if bytes(scale.attrs.get("NAME", b"")).startswith(_NO_VALUES):
            continue
        outside = scale.external or scale.is_virtual
        if scale.shape == (array.shape[number],) and not outside and scale.dtype.kind in "uif":
            return scale
    return None


def _place(file: Any, y: Any, x: Any, attributes: Mapping[str, Any]) -> GeoPlace:
    """The place of evenly spaced coordinates; an empty one of others, or of no reference system."""
    if max(len(y), len(x)) > _LONGEST_AXIS:
        return GeoPlace()
    wkt = _system(file, attributes.get("grid_mapping"))
    units = [_text(scale.attrs.get("units", "")).lower() for scale in (y, x)]
    is_geographic = all(
        unit in known for unit, known in zip(units, (DEGREES_NORTH, DEGREES_EAST), strict=True)
    )
    if not wkt and not is_geographic:
        return GeoPlace()
    transform = transform_of_centres(x[...].tolist(), y[...].tolist())
    if transform is None:
        return GeoPlace()
    return GeoPlace(transform, wkt, 0 if wkt else _WGS84)


def _system(file: Any, name: Any) -> str:
    """The reference system of a grid mapping as text; empty if there is none."""
    node = node_at(file, _text(name).split(":")[0].strip()) if name is not None else None
    if node is None:
        return ""
    return _text(node.attrs.get("crs_wkt", node.attrs.get("spatial_ref", "")))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
