"""What an array of an HDF5 file is an image of: its axes, sizes, and values without a measurement.

Axes are named by vigra (ilastik), by scales of dimensions (netCDF), or by nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.geo import GeoPlace
from unetmm.io.hdf5.coordinates import read_coordinates
from unetmm.io.listed import listed
from unetmm.io.omezarr.cf import nodata_of
from unetmm.io.omezarr.dimensions import axes_by_names

_USED = (
    *("axistags", "element_size_um", "_FillValue", "missing_value", "valid_range", "valid_min"),
    *(
        "valid_max",
        "grid_mapping",
        "DIMENSION_LIST",
        "_Netcdf4Dimid",
        "_Netcdf4Coordinates",
        "CLASS",
        "NAME",
    ),
)
"""Names of attributes that are read, or say nothing of the image."""


@dataclass(frozen=True)
class Description:
    """What is known of the image in a file before a pixel is read."""

    names: list[list[str]]
    """Path of the array of each time and channel; one of each where the axes hold them."""
    axes: str
    """Letters of the axes of an array, in its order."""
    lengths: Mapping[str, int]
    """Axis -> length of the image, which may be less than the array's."""
    guessed: str = ""
    """Letters of the axes if nobody has named them."""
    pixel_size: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Axis -> length and unit of a pixel."""
    channel_names: tuple[str, ...] = ()
    """Name of each channel, or none at all."""
    nodata: NoData = NOTHING
    """Values that stand for no measurement."""
    left_out: tuple[str, ...] = ()
    """Names of what the file holds besides."""
    channel_colors: tuple[str, ...] = ()
    """Colour of each channel as "#rrggbb", or none at all."""
    place: GeoPlace = GeoPlace()
    """Place on Earth."""


def describe_array(
    path: Any, file: Any, array: Any, stated: str, others: Sequence[str]
) -> Description:
    """An array by its attributes.

    Parameters
    ----------
    stated : letters of the axes as the user has them, or empty.
    others : names of further arrays of the file, coordinates apart.

    Raises
    ------
    ImageError
        If its axes cannot be told.
    """
    attributes = {name: _plain(array.attrs[name]) for name in array.attrs}
    axes, guessed = axes_by_names(
        path, array.shape, _dimension_names(array, attributes), stated, array.dtype
    )
    place, coordinates = read_coordinates(file, array, attributes, axes)
    more = [name for name in attributes if name not in _USED]
    lost = [f"attributes of the array ({listed(more)})"] if more else []
    lost += [f"coordinates ({listed(coordinates)})"] if coordinates else []
    count = f"{len(others)} further array{'s' * (len(others) > 1)}"
    lost += [f"{count} ({listed(others)})"] if others else []
    return Description(
        names=[[array.name.lstrip("/")]],
        axes=axes,
        lengths=dict(zip(axes, array.shape, strict=True)),
        guessed=guessed,
        pixel_size=_sizes(attributes.get("element_size_um")),
        nodata=nodata_of(path, attributes),
        left_out=tuple(lost),
        place=place,
    )


def text_of(value: Any) -> str:
    """Text of an attribute, which may be an array of single characters."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "tolist"):
        found = value.tolist()
        parts = found if isinstance(found, list) else [found]
        return "".join(text_of(part) for part in parts)
    return str(value)


def _plain(value: Any) -> Any:
    """An attribute as numbers, text or a list of them."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if hasattr(value, "tolist") else value


def _dimension_names(array: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Names of the dimensions as the file has them; none where one is missing."""
    names = _vigra(attributes.get("axistags")) or _of_scales(array)
    return [name.lower() for name in names] if all(names) else []


def _vigra(tags: Any) -> list[str]:
    try:
        return [str(axis["key"]) for axis in json.loads(str(tags))["axes"]]
    except (ValueError, KeyError, TypeError):
        return []


def _of_scales(array: Any) -> list[str]:
    """Names of the scales of the dimensions, or their labels."""
    names = []
    for dimension in array.dims:
        keys = list(dimension.keys())
        scale = str(keys[0]) if keys and keys[0] else ""
        if len(dimension) and not scale:
            scale = str(dimension[0].name).rsplit("/", 1)[-1]
        names.append(str(dimension.label) or scale)
    return names


def _sizes(value: Any) -> dict[str, tuple[float, str]]:
    """Sizes in micrometers, for depth, rows and columns."""
    if not isinstance(value, list) or len(value) != 3:
        return {}
    try:
        sizes = dict(zip("ZYX", map(float, value), strict=True))
    except (TypeError, ValueError):
        return {}
    return {axis: (size, "micrometer") for axis, size in sizes.items() if size > 0}
