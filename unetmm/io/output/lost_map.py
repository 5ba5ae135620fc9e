"""A word on a colour map that an output has no place for."""

from __future__ import annotations

import logging

from unetmm.io.image import ImageInfo
from unetmm.io.palette import is_plain_grey, unpack_map
from unetmm.io.places import Place

log = logging.getLogger(__name__)


def warn_of_lost_map(path: Place, info: ImageInfo, why: str) -> None:
    """Say that an output shows its values without the colour map that the input has.

    why : reason, in words that follow the name of the thing.
    """
    display = info.metadata.display
    maps = () if display.class_names else display.colour_maps  # those of classes are made up
    if any(not is_plain_grey(unpack_map(packed)) for packed in maps):
        log.warning("%s: the input's colour map is left out, %s; the values are kept", path, why)
