"""What other formats say of an image and OME-Zarr has no place for, kept in our own attributes.

Colour profile, EXIF, print resolution, place on Earth and names of bands survive so on the way
through an OME-Zarr into a TIFF.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

KEPT = (
    "icc_profile", "exif", "resolution", "tiff_tags", "photometric", "premultiplied", "bits",
    "bands", "descriptions", "color_interpretation", "geo",
)  # fmt: skip
"""Keys of `ImageInfo.notes`."""
_BYTES = "base64"


def pack_notes(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are kept, as JSON holds them: bytes as {"base64": text}, tuples as lists."""
    return {key: _pack(notes[key]) for key in KEPT if key in notes}


def unpack_notes(stored: Any) -> dict[str, Any]:
    """What `pack_notes` made; nothing of what is damaged, for the image does not need it."""
    try:
        return {key: _unpack(stored[key]) for key in KEPT if key in stored}
    except (TypeError, binascii.Error) as error:
        log.warning("metadata kept of another format is damaged and left out: %s", error)
        return {}


def _pack(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {str(key): _pack(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(part) for part in value]
    return value.item() if hasattr(value, "item") else value  # a NumPy number as Python's


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {_BYTES}:
            return base64.b64decode(value[_BYTES], validate=True)
        return {key: _unpack(part) for key, part in value.items()}
    return tuple(_unpack(part) for part in value) if isinstance(value, list) else value
