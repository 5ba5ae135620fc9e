"""XMP, the XML that photo software keeps beside pixels: made to fit pixels that were turned or cut.

It is changed as text, attribute by attribute, so that all else stays as its software wrote it.

<rdf:Description tiff:Orientation="6" exif:PixelXDimension="400"/>         as attributes
<tiff:Orientation>6</tiff:Orientation>                                     as elements
"""

from __future__ import annotations

import re

_SIZES = (
    (b"tiff:ImageLength", b"exif:PixelYDimension", b"exif:ImageHeight"),
    (b"tiff:ImageWidth", b"exif:PixelXDimension", b"exif:ImageWidth"),
)
"""Names of the height and of the width of an image."""
_PANORAMA = b"GPano:CroppedArea"
_GONE_ELEMENTS = re.compile(
    rb"<((?:xmp|xap):Thumbnails|(?:Container|GContainer):Directory|(?:hdrgm|HDRGainMap|apdi):\w+"
    rb"|GCamera:(?:Motion|Micro)\w+)\b[^<>]*?(/?)>"
)
_GONE_ATTRIBUTES = re.compile(
    rb"\s(?:(?:hdrgm|HDRGainMap|apdi):\w+|GCamera:(?:Motion|Micro)\w+|xmpNote:HasExtendedXMP)"
    rb"=(?:\"[^\"<]*\"|'[^'<]*')"
)
"""Patterns of words on parts of a file that an output does not have."""
_MOST_UNCLOSED = 20
"""Number of names of elements without an end after which no more are looked for."""
_GAIN_MAP = re.compile(rb"hdrgm:Version|HDRGainMap|Semantic=\"GainMap\"|apdi:AuxiliaryImageType")
_DEPTH = re.compile(rb"Semantic=\"Depth\"|GDepth:|GImage:")
_MOTION = re.compile(rb"GCamera:(Motion|Micro)(Photo|Video)(=\"1\"|>1<)")


def fit_xmp(xmp: bytes, height: int, width: int) -> bytes:
    """XMP of an image of that size in pixels whose rows lie as they are seen."""
    found = _replaced(xmp, b"tiff:Orientation", lambda old: 1)
    for names, size in zip(_SIZES, (height, width), strict=True):
        for name in names:
            found = _replaced(found, name, lambda old, size=size: size)
    return found


def crop_xmp(xmp: bytes, top: int, left: int, height: int, width: int) -> bytes:
    """XMP of a part of an image: its size, and where it lies in a panorama."""
    found = xmp
    for names, size in zip(_SIZES, (height, width), strict=True):
        for name in names:
            found = _replaced(found, name, lambda old, size=size: size)
    for ending, shift in ((b"TopPixels", top), (b"LeftPixels", left)):
        found = _replaced(found, _PANORAMA + ending, lambda old, by=shift: old + by)
    for ending, size in ((b"ImageHeightPixels", height), (b"ImageWidthPixels", width)):
        found = _replaced(found, _PANORAMA + ending, lambda old, size=size: size)
    return found


def scale_xmp(xmp: bytes, factor: int) -> bytes:
    """XMP of an image that is enlarged by a factor: sizes, and places in a panorama."""
    found = xmp
    names = [name for side in _SIZES for name in side]
    parts = (b"Top", b"Left", b"ImageHeight", b"ImageWidth")
    panorama = [_PANORAMA + part + b"Pixels" for part in parts]
    panorama += [b"GPano:FullPanoHeightPixels", b"GPano:FullPanoWidthPixels"]
    for name in (*names, *panorama):
        found = _replaced(found, name, lambda old: old * factor)
    return found


def without_companions(xmp: bytes) -> bytes:
    """XMP without its small copies of the image, and without words on other parts of the file."""
    kept, at, unclosed = [], 0, set[bytes]()
    for found in _GONE_ELEMENTS.finditer(xmp):
        if found.start() < at or found[1] in unclosed:
            continue
        end = found.end()
        if not found[2]:
            closing = b"</" + found[1] + b">"
            end = xmp.find(closing, end) + len(closing)
            if end < len(closing):
                unclosed.add(found[1])
                if len(unclosed) > _MOST_UNCLOSED:
                    break
                continue
        kept.append(xmp[at : found.start()])
        at = end
    return _GONE_ATTRIBUTES.sub(b"", b"".join([*kept, xmp[at:]]))


def companions_of(xmp: bytes) -> tuple[str, ...]:
    """Names of what the XMP says lies beside the image in its file."""
    kinds = (("gain map", _GAIN_MAP), ("depth map", _DEPTH), ("video of a motion photo", _MOTION))
    return tuple(name for name, pattern in kinds if pattern.search(xmp))


def _replaced(xmp: bytes, name: bytes, change: object) -> bytes:
    """XMP with another whole number wherever it has one of a name."""
    assert callable(change)
    if name not in xmp:
        return xmp
    quoted = re.escape(name)
    pattern = (
        rb"(\s" + quoted + rb"\s*=\s*[\"'])(-?\d+)(?=[\"'])|(<" + quoted + rb">\s*)(-?\d+)(?=\s*<)"
    )

    def put(found: re.Match[bytes]) -> bytes:
        before, number = (found[1], found[2]) if found[1] else (found[3], found[4])
        return before + str(change(int(number))).encode()

    return re.sub(pattern, put, xmp)
