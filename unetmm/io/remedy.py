"""Advice for images that can only be decoded as a whole, which a small budget does not allow."""

from __future__ import annotations

from unetmm.sizes import format_size

WHOLE_BYTES = 16 * 2**20
"""Largest image, in decoded bytes, that is decoded as a whole without a word about it."""


def remedy(format: str, decoded_bytes: int) -> str:
    """Words on what would let an image be read in parts; none where it is small."""
    if decoded_bytes <= WHOLE_BYTES:
        return ""
    return (
        f"{format} is decoded as a whole ({format_size(decoded_bytes)}); a tiled TIFF would be "
        "read in parts: vips copy INPUT OUTPUT.tif[tile,bigtiff,compression=deflate]"
    )
