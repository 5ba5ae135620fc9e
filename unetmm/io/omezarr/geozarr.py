"""What CF and GeoZarr say of an array: place on Earth, scale of its values, names of its bands.

The array lies in a group with its coordinates (x, y, band) and a grid mapping, an array without
axes whose attributes are the reference system.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import zarr

from unetmm.io.geo import GeoPlace, Transform, transform_of_centres, with_place
from unetmm.io.metadata import Metadata, Tag

log = logging.getLogger(__name__)

_GDAL_TAG, _ASCII = 42112, 2
_MOST_NAMES = 10_000
"""Length of a coordinate of text up to which it names bands."""
_X_NAMES = ("x", "lon", "longitude", "easting", "xc")
_Y_NAMES = ("y", "lat", "latitude", "northing", "yc")
_BAND_NAMES = ("band", "bands", "channel", "channels", "c", "wavelength")
_UNDERSTOOD = (
    *("_FillValue", "missing_value", "valid_range", "valid_min", "valid_max", "scale_factor"),
    *("add_offset", "units", "long_name", "standard_name", "grid_mapping", "coordinates"),
    *("_ARRAY_DIMENSIONS", "_CRS", "proj:epsg", "proj:code", "proj:wkt2", "proj:transform"),
    *("crs_wkt", "GeoTransform"),
)
"""Names of attributes of an array that are understood."""
_MOST_LISTED = 4
_MAPPINGS = ("spatial_ref", "crs")
_LONGEST_AXIS = 2**20


@dataclass(frozen=True)
class CfFacts:
    """What is known of an array beyond its values without a measurement."""

    metadata: Metadata
    """Metadata with what was found."""
    channel_names: tuple[str, ...] = ()
    """Name of each band, or none at all."""


def read_geozarr(array: Any, group: Any, axes: str, known: Metadata) -> CfFacts:
    """Place, scale and names of an array; what is damaged is left out.

    Parameters
    ----------
    group : that the array lies in, of zarr; None if there is none.
    axes : letters of the array's dimensions.
    known : metadata of the array so far.
    """
    try:
        return _read(array, group, axes, known)
    except Exception as error:  # whatever zarr raises on damaged coordinates: pixels can be read
        log.warning("what it says of its place cannot be read and is left out: %s", error)
        return CfFacts(known)


def _read(array: Any, group: Any, axes: str, known: Metadata) -> CfFacts:
    attributes = dict(array.attrs)
    around = {} if group is None else dict(group.attrs)
    mapping = _mapping(attributes, group)
    place = _system(attributes | {}, around, mapping)
    names = _dimensions(array)
    transform = _transform(mapping, attributes, around) or _of_centres(group, names)
    place = replace(place, transform=transform)
    if place != GeoPlace():
        known = with_place(known, place)
    if (scale := _scale(attributes)) is not None:
        count = array.shape[axes.index("C")] if "C" in axes else 1
        tags = (*known.tiff.tags, _gdal_items(scale, attributes, count))
        name = _name(attributes) if count == 1 else ""
        known = replace(
            known, tiff=replace(known.tiff, tags=tags, descriptions=(name,) if name else ())
        )
    if others := [name for name in attributes if name not in _UNDERSTOOD]:
        more = [f"{len(others) - _MOST_LISTED} more"] if len(others) > _MOST_LISTED else []
        listed = " ".join([*others[:_MOST_LISTED], *more])
        known = replace(known, reading=known.reading.without(f"attributes {listed}"))
    return CfFacts(known, _names(group, names, axes))


def _mapping(attributes: Mapping[str, Any], group: Any) -> dict[str, Any]:
    """Attributes of the grid mapping; empty if there is none."""
    stated = [attributes.get("grid_mapping"), *str(attributes.get("coordinates", "")).split()]
    for name in (*stated, *_MAPPINGS):
        if isinstance(name, str) and group is not None:
            found = group.get(name.split(":")[0].strip())
            if isinstance(found, zarr.Array) and found.ndim == 0:
                return dict(found.attrs)
    return {}


def _system(
    attributes: Mapping[str, Any], group: Mapping[str, Any], mapping: Mapping[str, Any]
) -> GeoPlace:
    """The reference system, wherever it is said."""
    wkt = str(mapping.get("crs_wkt") or mapping.get("spatial_ref") or "")
    for holder in (attributes, group):
        crs = holder.get("_CRS")  # GDAL's
        if isinstance(crs, dict):
            wkt = wkt or str(crs.get("wkt") or "")
            if isinstance(crs.get("url"), str) and "EPSG" in crs["url"]:
                return GeoPlace(wkt=wkt, epsg=_number(crs["url"].rpartition("/")[2]))
        wkt = wkt or str(holder.get("proj:wkt2") or holder.get("crs_wkt") or "")
        if code := _number(holder.get("proj:epsg") or _code(holder.get("proj:code"))):
            return GeoPlace(wkt=wkt, epsg=code)
    return GeoPlace(wkt=wkt)


def _code(text: Any) -> Any:
    """ "32633" of "EPSG:32633"."""
    return text.rpartition(":")[2] if isinstance(text, str) else None


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _transform(*holders: Mapping[str, Any]) -> Transform | None:
    """Six numbers that attributes state, GDAL's or those of STAC."""
    for holder in holders:
        stated = holder.get("GeoTransform")
        numbers = stated.split() if isinstance(stated, str) else stated
        if numbers is None and isinstance(holder.get("proj:transform"), (list, tuple)):
            a, b, c, d, e, f = map(float, list(holder["proj:transform"])[:6])
            return (c, a, b, f, d, e)
        if numbers is not None and len(numbers) == 6:
            x, x_column, x_row, y, y_column, y_row = map(float, numbers)
            return (x, x_column, x_row, y, y_column, y_row)
    return None


def _of_centres(group: Any, names: Sequence[str]) -> Transform | None:
    """The transform of the coordinates of columns and rows."""
    x = _coordinate(group, names, _X_NAMES)
    y = _coordinate(group, names, _Y_NAMES)
    return None if x is None or y is None else transform_of_centres(x, y)


def _coordinate(group: Any, names: Sequence[str], wanted: Sequence[str]) -> Any:
    """Values of the coordinate of a dimension; None if there is none."""
    for name in names:
        if name.lower() in wanted and group is not None:
            found = group.get(name)
            if (
                isinstance(found, zarr.Array)
                and found.ndim == 1
                and found.shape[0] <= _LONGEST_AXIS
            ):
                return np.asarray(found[...])
    return None


def _dimensions(array: Any) -> list[str]:
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    return [str(name) for name in names]


def _names(group: Any, names: Sequence[str], axes: str) -> tuple[str, ...]:
    """Names of bands where their coordinate is text."""
    at = axes.find("C")
    if at < 0 or at >= len(names) or names[at].lower() not in _BAND_NAMES:
        return ()
    found = _coordinate(group, names[at : at + 1], _BAND_NAMES)
    if found is None or found.dtype.kind not in "UOT" or len(found) > _MOST_NAMES:
        return ()
    return tuple(map(str, found))


def _scale(attributes: Mapping[str, Any]) -> tuple[float, float] | None:
    """Factor and offset of stored values; None if they are 1 and 0."""
    try:
        factor = float(np.ravel(attributes.get("scale_factor", 1.0))[0])
        offset = float(np.ravel(attributes.get("add_offset", 0.0))[0])
    except (TypeError, ValueError, IndexError):
        return None
    return None if (factor, offset) == (1.0, 0.0) else (factor, offset)


def _gdal_items(scale: tuple[float, float], attributes: Mapping[str, Any], count: int) -> Tag:
    """Scale, offset, unit and name of each band as GDAL has them."""
    root = ElementTree.Element("GDALMetadata")
    items = {"offset": repr(scale[1]), "scale": repr(scale[0])}
    if unit := str(attributes.get("units") or ""):
        items["unittype"] = unit
    if (name := _name(attributes)) and count == 1:
        items["description"] = name
    for band in range(count):
        for role, text in items.items():
            item = {"name": role.upper(), "sample": str(band), "role": role}
            ElementTree.SubElement(root, "Item", item).text = text
    return (_GDAL_TAG, _ASCII, 0, ElementTree.tostring(root, encoding="unicode"))


def _name(attributes: Mapping[str, Any]) -> str:
    return str(attributes.get("long_name") or attributes.get("standard_name") or "")


def list_arrays(group: Any, most: int = 6, deepest: int = 6) -> list[str]:
    """Paths of arrays of rows and columns in a group and in those within it, the first of many."""
    found: list[str] = []

    def walk(node: Any, path: str, depth: int) -> None:
        for name in sorted(node.array_keys()):
            array = node[name]
            if isinstance(array, zarr.Array) and array.ndim >= 2 and len(found) <= most:
                found.append(f"{path}{name}")
        for name in sorted(node.group_keys()):
            if depth and len(found) <= most:
                walk(node[name], f"{path}{name}/", depth - 1)

    walk(group, "", deepest)
    return found
