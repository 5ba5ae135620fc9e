"""An image's facts where its output has another pixel type; what cannot be kept is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from unetmm.errors import ImageError
from unetmm.io.image import DTYPES, ImageInfo
from unetmm.io.joined import as_bands, band_numbers
from unetmm.io.metadata import DisplayFacts


def retype(info: ImageInfo, dtype: np.dtype[Any] | str | None) -> ImageInfo:
    """The facts of an output with another pixel type, whose values keep their scale.

    dtype : None for that of the image.

    Raises
    ------
    ImageError
        If the type cannot hold the image's value for "no data", or its opacity has no meaning in
        that type.
    """
    if dtype is None or np.dtype(dtype) == info.dtype:
        return info
    target = np.dtype(dtype)
    if target.name not in DTYPES:
        raise ImageError(f"dtype {target.name} is not written; use one of {', '.join(DTYPES)}")
    for nodata in info.nodata.values:
        if not _holds(target, nodata):
            raise ImageError(
                f'the image\'s value for "no data", {nodata:g}, does not fit into {target.name}; '
                f"give --dtype {_remedy(nodata)} or leave it out"
            )
    if info.alpha and not _keeps_opacity(info.dtype, target):
        raise ImageError(
            f"what is opaque in {target.name} is not agreed upon, so opacity cannot go there from "
            f"{info.dtype.name}; give another unsigned type, or leave --dtype out{_without(info)}"
        )
    display = _display(info, target)
    return replace(info, dtype=target, metadata=replace(info.metadata, display=display))


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a type has this very value."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return math.isnan(value) or float(dtype.type(value)) == value
    limits = np.iinfo(dtype)
    return math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max


def _remedy(nodata: float) -> str:
    """Types that hold a value, in words."""
    named = (
        n for n in ("uint16", "int16", "int32", "float32", "float64") if _holds(np.dtype(n), nodata)
    )
    return " or ".join(named) or "float64"


def _keeps_opacity(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether it is known what is opaque in the second type: its largest value, or 1 of floats."""
    return source.kind == target.kind and source.kind in "uf"


def _without(info: ImageInfo) -> str:
    """Way on for what may be bands, in words."""
    if not (bands := as_bands(info)):
        return ""
    return (
        f"; --bands {band_numbers(info.samples - 1)} leaves the opacity out, and --bands {bands} "
        "takes it for a measurement"
    )


def _display(info: ImageInfo, target: np.dtype[Any]) -> DisplayFacts:
    """How values are shown: as many bits are significant as were before."""
    display = info.metadata.display
    if info.dtype.kind != "u" or target.kind != "u":
        return replace(display, bits=0)
    bits = min(display.bits or 8 * info.dtype.itemsize, 8 * target.itemsize)
    return replace(display, bits=0 if bits == 8 * target.itemsize else bits)
