"""Writes JPEG of high quality, which is encoded whole, once every chunk is there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unetmm.errors import ImageError
from unetmm.io.colour_profile import profile_of
from unetmm.io.exif_thumbnail import SIDE_PX, encode_thumbnail, put_thumbnail
from unetmm.io.image import ImageInfo, SinkOptions
from unetmm.io.photo.jpeg_kept import kept_segments
from unetmm.io.photo.record import jpeg_segments
from unetmm.io.photo.store import ENCODER_BYTES, PhotoStore, check_one_plane, check_sides

log = logging.getLogger(__name__)

_QUALITY = 95
_MAX_SIDE_PX = 65500
MAX_EXIF_BYTES = 65535 - 2 - 6
"""Longest EXIF that a segment holds beside its length and its name, in bytes."""
_MAX_COMMENT_BYTES = 65535 - 2
_CENTIMETERS = 2.54


class JpegStore(PhotoStore):
    """One plane of 8-bit grey or RGB, colours at full resolution."""

    format = "JPEG"
    compressions = ("jpeg",)

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        super().__init__(options, info)
        self._quality = options.encoding.quality or _QUALITY
        check_one_plane(self.path, info, self.format, ("uint8",))
        if info.alpha or info.samples not in (1, 3):
            kind = "with alpha" if info.alpha else f"of {info.samples} samples"
            raise ImageError(
                f"{self.path}: JPEG holds grey or RGB, the image is one {kind}; "
                "write .png, .tif or .ome.zarr"
            )
        check_sides(self.path, info, self.format, _MAX_SIDE_PX, ".png, .tif or .ome.zarr")

    @property
    def resident_bytes(self) -> int:
        """The image, of which Pillow keeps colours in 4 bytes a pixel."""
        pixel_bytes = 4 if self.info.samples == 3 else 1
        return self.info.height * self.info.width * pixel_bytes + ENCODER_BYTES

    def encode_into(self, part: Path, record: Mapping[str, Any]) -> None:
        from PIL import Image

        colours = self.info.samples == 3
        image = Image.new("RGB" if colours else "L", self.shown_size[::-1])
        for box, chunk in self.shown_chunks():
            chunk = np.ascontiguousarray(chunk if colours else chunk[..., 0])
            image.paste(Image.fromarray(chunk), (box.x0, box.y0))
        # "subsampling" 0: a colour for every pixel, since halving colours is a loss to be seen.
        kept = self._kept(record, image)
        image.save(part, "JPEG", quality=self._quality, subsampling=0, **kept)

    def _kept(self, record: Mapping[str, Any], image: Any) -> dict[str, Any]:
        """Profile, EXIF, XMP, comment and resolution of the input, and how the output was made."""
        photo = self.photo
        extra = kept_segments(photo.xmp, photo.iptc, photo.image_resources)
        found: dict[str, Any] = {"extra": extra + (jpeg_segments(record) if record else b"")}
        if profile := profile_of(photo):
            found["icc_profile"] = profile
        exif = photo.exif
        if photo.thumbnail:
            step = max(1, -(-max(image.size) // SIDE_PX))
            exif = put_thumbnail(exif, encode_thumbnail(image.reduce(step)))
            exif = exif if len(exif) <= MAX_EXIF_BYTES else photo.exif
        if len(exif) > MAX_EXIF_BYTES:
            log.warning("%s: its EXIF is longer than JPEG allows and is left out", self.path)
        elif exif:
            found["exif"] = b"Exif\0\0" + exif
        if comment := photo.comment[:_MAX_COMMENT_BYTES]:
            found["comment"] = comment
        if self.resolution:
            *per_unit, unit = self.resolution
            factor = _CENTIMETERS if unit == "centimeter" else 1.0
            per_inch = tuple(round(n * factor) for n in per_unit)
            if all(0 < n < 2**16 for n in per_inch):
                found["dpi"] = per_inch
        return found
