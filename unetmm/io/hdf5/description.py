"""What an array of an HDF5 file is an image of: its axes, sizes, and values without a measurement.

Axes are named by vigra (ilastik), by scales of dimensions (netCDF), or by nobody.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unetmm.errors import ImageError, ShapeError
from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.axes import AXES, Guess, guess_axes, letter_of
from unetmm.io.omezarr.cf import nodata_of

log = logging.getLogger(__name__)

_USED = (
    *("axistags", "element_size_um", "_FillValue", "missing_value", "valid_range", "valid_min"),
    *("valid_max", "DIMENSION_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates", "CLASS", "NAME"),
)
"""Names of attributes that are read, or say nothing of the image."""


@dataclass(frozen=True)
class Description:
    """What is known of the image in a file before a pixel is read."""

    arrays: list[list[Any]]
    """Array of each time and channel; one of each where the axes hold them."""
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


def describe_array(path: Any, array: Any, stated: str, others: int) -> Description:
    """An array by its attributes.

    Parameters
    ----------
    stated : letters of the axes as the user has them, or empty.
    others : number of further arrays of the file.

    Raises
    ------
    ImageError
        If its axes cannot be told.
    """
    attributes = {name: _plain(array.attrs[name]) for name in array.attrs}
    named = "" if stated else _named_axes(array, attributes)
    guessed = ""
    if stated or named:
        axes = (stated or named).upper()
        _check(path, axes, array.shape)
    else:
        axes = guessed = _guessed(path, array.shape)
    more = [name for name in attributes if name not in _USED]
    lost = [f"attributes of the array ({', '.join(more[:4])})"] if more else []
    lost += [f"{others} further array{'s' * (others > 1)}"] if others else []
    return Description(
        arrays=[[array]],
        axes=axes,
        lengths=dict(zip(axes, array.shape, strict=True)),
        guessed="" if len(axes) == 2 else guessed,
        pixel_size=_sizes(attributes.get("element_size_um")),
        nodata=nodata_of(path, attributes),
        left_out=tuple(lost),
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


def _named_axes(array: Any, attributes: Mapping[str, Any]) -> str:
    """Letters of the axes as the file names them; empty if it does not, or names others."""
    names = _vigra(attributes.get("axistags")) or _of_scales(array)
    letters = [letter_of(name) for name in names]
    if len(letters) != len(array.shape) or "" in letters or len(set(letters)) != len(letters):
        return ""
    return "".join(letters)


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


def _check(path: Any, axes: str, shape: tuple[int, ...]) -> None:
    known = len(set(axes)) == len(axes) == len(shape) and set(axes) <= set(AXES)
    if not known or not {"Y", "X"} <= set(axes):
        raise ImageError(
            f"{path}: axes {axes} do not fit its array of shape {shape}; give {len(shape)} letters "
            f"of {AXES}, each once, Y and X among them"
        )


def _guessed(path: Any, shape: tuple[int, ...]) -> str:
    try:
        guess: Guess = guess_axes(shape, "--axes {}")
    except ShapeError as error:
        raise ImageError(f"{path}: {error}") from None
    if guess.doubt:
        log.warning("%s: %s", path, guess.doubt)
    return guess.axes


def _sizes(value: Any) -> dict[str, tuple[float, str]]:
    """Sizes in micrometers, for depth, rows and columns."""
    if not isinstance(value, list) or len(value) != 3:
        return {}
    try:
        sizes = dict(zip("ZYX", map(float, value), strict=True))
    except (TypeError, ValueError):
        return {}
    return {axis: (size, "micrometer") for axis, size in sizes.items() if size > 0}
