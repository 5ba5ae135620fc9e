"""A word on what an input says of unmeasured pixels and an output has no place for."""

from __future__ import annotations

import logging

from unetmm.io.image import ImageInfo
from unetmm.io.places import Place

log = logging.getLogger(__name__)


def warn_of_lost_mask(path: Place, info: ImageInfo) -> None:
    """Say that an output has no place for the mask of the input, if that has one."""
    if mask := info.metadata.tiff.mask:
        why = f": {mask.lost}" if mask.lost else ", which only GeoTIFF has a place for"
        log.warning("%s: the input's mask of valid pixels is left out%s", path, why)


def warn_of_lost_values(path: Place, info: ImageInfo) -> None:
    """Say that an output cannot say which values are no measurement, if there are any."""
    if info.nodata.stated:
        log.warning(
            '%s: has no place to say that %s is "no data"; the pixels keep it, TIFF and OME-Zarr '
            "can say so",
            path, _values(info),
        )  # fmt: skip


def warn_of_lost_range(path: Place, info: ImageInfo) -> None:
    """Say that an output cannot state the range of valid values, if the input does."""
    if info.nodata.in_range:
        log.warning(
            "%s: has no place for the range of valid values (%s); OME-Zarr has", path, _values(info)
        )


def _values(info: ImageInfo) -> str:
    return str(info.nodata).removesuffix(", a mask")
