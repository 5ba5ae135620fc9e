"""What the attributes of a Zarr array say of pixels without a measurement, in the words of CF.

_FillValue, missing_value, valid_range, valid_min and valid_max are read and written as xarray has
them: in Zarr v3 a float of `_FillValue` is base64 of its eight bytes, in Zarr v2 it is the array's
own fill value. That of other arrays only says what was never written, usually 0, and is no word on
measurements.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from unetmm.intensities.validity import NoData

log = logging.getLogger(__name__)

_DIMENSIONS = "_ARRAY_DIMENSIONS"
"""Attribute by which xarray names the axes of a Zarr v2."""


def read_cf(path: Any, array: Any) -> NoData:
    """Values and range of an array; what is damaged is left out with a warning."""
    attributes = dict(array.attrs)
    return nodata_of(path, attributes, _own_fill(array, attributes))


def nodata_of(path: Any, attributes: Mapping[str, Any], own: list[float] | None = None) -> NoData:
    """Values and range that attributes state, beside the array's own fill values."""
    values = _numbers(path, attributes, "_FillValue") + _numbers(path, attributes, "missing_value")
    values += own or []
    low, high = -math.inf, math.inf
    if len(limits := _numbers(path, attributes, "valid_range")) == 2:
        low, high = limits
    low = max([low, *_numbers(path, attributes, "valid_min")])
    high = min([high, *_numbers(path, attributes, "valid_max")])
    bands = NoData.of(*(v for v in values if not math.isnan(v))).bands
    return NoData(bands, low, high)


def _own_fill(array: Any, attributes: Mapping[str, Any]) -> list[float]:
    """The array's own fill value where xarray wrote it for data that is missing."""
    fill = array.fill_value
    if array.metadata.zarr_format != 2 or _DIMENSIONS not in attributes or not fill:
        return []
    return [float(fill)]


def _numbers(path: Any, attributes: Mapping[str, Any], name: str) -> list[float]:
    """Numbers of an attribute: one or a list of them, as numbers, text or base64."""
    stored = attributes.get(name)
    if stored is None:
        return []
    try:
        return [_number(one) for one in (stored if isinstance(stored, list) else [stored])]
    except (TypeError, ValueError, binascii.Error, struct.error):
        log.warning("%s: its attribute %s, %r, is no number and is left out", path, name, stored)
        return []


def _number(stored: Any) -> float:
    if not isinstance(stored, str):
        return float(stored)
    try:
        return float(stored)
    except ValueError:
        return float(struct.unpack("<d", base64.standard_b64decode(stored))[0])


def cf_attributes(nodata: NoData, dtype: np.dtype[Any], zarr_format: int) -> dict[str, Any]:
    """The same for an array that is written; values of single bands have no place there."""
    found: dict[str, Any] = {}
    if len(nodata.bands) == 1:
        values = [_stored(v, dtype) for v in nodata.values if math.isfinite(v)]
        if len(values) == 1:
            found["_FillValue"] = values[0] if zarr_format == 2 else _encoded(values[0])
        elif values:
            found["missing_value"] = values
    if nodata.low > -math.inf:
        found["valid_min"] = _stored(nodata.low, dtype)
    if nodata.high < math.inf:
        found["valid_max"] = _stored(nodata.high, dtype)
    return found


def _stored(value: float, dtype: np.dtype[Any]) -> float | int:
    return int(value) if dtype.kind != "f" and value == int(value) else float(value)


def _encoded(value: float) -> str | int:
    if isinstance(value, int):
        return value
    return base64.standard_b64encode(struct.pack("<d", value)).decode("ascii")


def only_array(group: Any) -> Any:
    """The one array of a group that has rows and columns, as in a file of xarray; else None."""
    import zarr

    members = (group[name] for name in sorted(group.array_keys()))
    found = [a for a in members if isinstance(a, zarr.Array) and a.ndim >= 2]
    return found[0] if len(found) == 1 else None
