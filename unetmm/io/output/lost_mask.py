"""A word on a mask of valid pixels that an output has no place for."""

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
