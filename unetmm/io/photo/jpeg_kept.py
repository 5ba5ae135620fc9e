"""What the application segments of a JPEG hold beside its size, and what an output writes there."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from unetmm.io.photo.header import MAX_PROFILE_BYTES, PhotoHeader
from unetmm.io.photo.resources import pack_resources, read_resources
from unetmm.io.xmp import companions_of, without_companions

XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""Beginning of a segment of XMP."""
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
_KNOWN = (
    (0, b"JFIF\0"), (1, b"Exif\0"), (1, XMP), (2, b"ICC_PROFILE\0"), (2, b"MPF\0"),
    (10, b"unetmm\0"), (13, _PHOTOSHOP), (14, b"Adobe"),
)  # fmt: skip
"""Numbers and beginnings of segments that are understood, or that an encoder writes anew."""
_NAMED = (
    (0, b"JFXX\0", "thumbnail of JFIF"),
    (1, _EXTENDED_XMP, "extended XMP"),
    (1, b"FLIR\0", "thermal data of FLIR"),
    (2, b"FPXR\0", "FlashPix"),
    (2, _ISO_GAIN_MAP, "gain map"),
    (11, b"JP", "content credentials"),
)
"""Number, beginning and name of segments that no output keeps."""
_LONGEST_BODY = 65535 - 2
_NUMBER_OF_IMAGES = 0xB001
"""Tag of the directory of a multi-picture file."""


def take_segments(header: PhotoHeader, app: dict[int, list[bytes]]) -> None:
    """Keep what the application segments say, and name what they say that nothing keeps.

    Parameters
    ----------
    app : number of a kind of segment -> contents, in their order.
    """
    xmp = next((b[len(XMP) :] for b in app.get(1, []) if b.startswith(XMP)), b"")
    found = [b[len(_PHOTOSHOP) :] for b in app.get(13, []) if b.startswith(_PHOTOSHOP)]
    iptc, resources, lost = read_resources(b"".join(found))
    profile = [body[14:] for body in app.get(2, []) if body.startswith(b"ICC_PROFILE\0")]
    header.photo = replace(
        header.photo,
        icc_profile=b"".join(profile)[:MAX_PROFILE_BYTES],
        xmp=without_companions(xmp),
        iptc=iptc,
        image_resources=resources,
    )
    beside = [*companions_of(xmp), *lost, *_unknown(app)]
    images = next((_images(b[4:]) for b in app.get(2, []) if b.startswith(b"MPF\0")), 1)
    if images > 1:
        others = images - 1 - ("gain map" in beside)
        if others > 0:
            beside.append(f"{others} further picture{'s' * (others > 1)}")
        header.reading = replace(header.reading, other_series=images - 1)
    header.reading = replace(header.reading, left_out=tuple(dict.fromkeys(beside)))


def _unknown(app: dict[int, list[bytes]]) -> Iterator[str]:
    """Names of the segments that no output keeps."""
    for number, bodies in app.items():
        for body in bodies:
            if any(number == n and body.startswith(start) for n, start in _KNOWN):
                continue
            named = (name for n, start, name in _NAMED if n == number and body.startswith(start))
            yield next(named, "") or f"APP{number} {_label(body)}".strip()


def _label(body: bytes) -> str:
    """The word that a segment begins with; empty if it is none."""
    word = body[:32].split(b"\0")[0]
    return word.decode() if word.isascii() and word.decode().isprintable() else ""


def _images(directory: bytes) -> int:
    """Images of a multi-picture file, by the directory in its first one; 1 if that is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(directory[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", directory, 4)
        (count,) = struct.unpack_from(order + "H", directory, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHII", directory, at)
            if tag == _NUMBER_OF_IMAGES:
                return int(value)
    except struct.error:
        pass
    return 1


def kept_segments(xmp: bytes, iptc: bytes, resources: bytes) -> bytes:
    """XMP and Photoshop's resources with IPTC, as segments of an output."""
    found = b""
    if fits_segment(xmp, XMP):
        found += _segment(1, XMP + xmp)
    if iptc or resources:
        body = _PHOTOSHOP + pack_resources(iptc, resources)
        parts = [body]
        if len(body) > _LONGEST_BODY:
            step = _LONGEST_BODY - len(_PHOTOSHOP)
            rest = body[len(_PHOTOSHOP) :]
            parts = [_PHOTOSHOP + rest[i : i + step] for i in range(0, len(rest), step)]
        found += b"".join(_segment(13, part) for part in parts)
    return found


def fits_segment(content: bytes, name: bytes) -> bool:
    """Whether there is content, and it fits into a single segment behind the name of its kind."""
    return 0 < len(content) <= _LONGEST_BODY - len(name)


def _segment(number: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, 0xE0 + number, 2 + len(body)) + body
