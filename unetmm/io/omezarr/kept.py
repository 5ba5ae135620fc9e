"""What other formats say of an image and OME-Zarr has no place for, kept in our own attributes.

Colour profile, EXIF, XMP, texts, print resolution, place on Earth and names of bands survive so on
the way through an OME-Zarr into a TIFF, PNG or JPEG.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import fields
from typing import Any

from unetmm.io.metadata import DisplayFacts, GeoFacts, Metadata, PhotoFacts, TiffFacts

log = logging.getLogger(__name__)

KEPT = (
    "icc_profile", "exif", "resolution", "tiff_tags", "photometric", "premultiplied", "bits",
    "bands", "descriptions", "color_interpretation", "geo", "palette", "colour_maps",
    "png_chunks", "comment", "description", "xmp", "iptc", "image_resources",
)  # fmt: skip
"""Names of `Metadata.as_dict` that are kept, in the order in which they are stored."""
_BYTES = "base64"


def pack_metadata(metadata: Metadata) -> dict[str, Any]:
    """What is kept, as JSON holds it: bytes as {"base64": text}, tuples as lists."""
    known = metadata.as_dict()
    kept = {name: _pack(known[name]) for name in KEPT if name in known}
    if "colour_maps" not in kept:
        kept.pop("palette", None)  # colours are what the pixels are now
    return kept


def unpack_metadata(stored: Any) -> Metadata:
    """What `pack_metadata` made; nothing of what is damaged, for the image does not need it."""
    try:
        found = {name: _unpack(stored[name]) for name in KEPT if stored.get(name) is not None}
        return _from_names(found)
    except (AttributeError, TypeError, ValueError) as error:
        log.warning("metadata kept of another format is damaged and left out: %s", error)
        return Metadata()


def _from_names(found: dict[str, Any]) -> Metadata:
    """Metadata of the names that are kept; the types are those that `pack_metadata` stored."""
    known = {f.name for f in fields(GeoFacts)}
    return Metadata(
        photo=PhotoFacts(
            icc_profile=found.get("icc_profile", b""),
            exif=found.get("exif", b""),
            resolution=found.get("resolution"),
            png_chunks=found.get("png_chunks", ()),
            comment=found.get("comment", b""),
            xmp=found.get("xmp", b""),
            iptc=found.get("iptc", b""),
            image_resources=found.get("image_resources", b""),
        ),
        tiff=TiffFacts(
            tags=found.get("tiff_tags", ()),
            description=found.get("description", ""),
            bands=found.get("bands", 0),
            descriptions=found.get("descriptions", ()),
            color_interpretation=found.get("color_interpretation", ()),
        ),
        geo=GeoFacts(**{k: v for k, v in dict(found.get("geo", {})).items() if k in known}),
        display=DisplayFacts(
            bits=found.get("bits", 0),
            photometric=found.get("photometric", ""),
            premultiplied=found.get("premultiplied", False),
            palette=found.get("palette", ""),
            colour_maps=found.get("colour_maps", ()),
        ),
    )


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
