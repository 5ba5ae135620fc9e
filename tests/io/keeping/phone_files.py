"""Photos as cameras and phones leave them, made byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6" '
    b'xmp:Rating="4" hdrgm:Version="1.0" exif:PixelXDimension="30">'
    b"<tiff:ImageWidth>30</tiff:ImageWidth><xmp:Thumbnails>old</xmp:Thumbnails>"
    b'<Container:Directory><rdf:li Item:Semantic="GainMap"/></Container:Directory>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
IPTC = b"\x1c\x02\x19\x00\x07holiday"


def segment(number: int, body: bytes) -> bytes:
    """An application segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, 0xE0 + number, 2 + len(body)) + body


def resource(number: int, content: bytes) -> bytes:
    """One of Photoshop's image resources."""
    head = b"8BIM" + struct.pack(">HHI", number, 0, len(content))
    return head + content + b"\0" * (len(content) % 2)


def exif_with_thumbnail(size: tuple[int, int]) -> bytes:
    """EXIF of a camera held upright: turned by 90 degrees, with a small copy."""
    small = io.BytesIO()
    Image.new("RGB", (20, 15), "red").save(small, "JPEG")
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Acme"
    exif.get_ifd(34665).update({40962: size[0], 40963: size[1], 33434: 0.02})
    block = bytearray(exif.tobytes()[6:])
    order = "<" if block[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, start)
    struct.pack_into(order + "I", block, start + 2 + 12 * count, len(block))
    at = len(block) + 2 + 24 + 4
    block += struct.pack(order + "H", 2)
    for tag, value in ((513, at), (514, len(small.getvalue()))):
        block += struct.pack(order + "HHII", tag, 4, 1, value)
    return bytes(block + bytes(4) + small.getvalue())


def phone_jpeg(path: Path, comment: bytes = b"by hand") -> Path:
    """A JPEG of 30 x 40 px, to be shown as 40 x 30: EXIF, XMP, IPTC, gain map, unknown segments."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    data = file.getvalue()
    pictures = b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0xB001, 4, 1, 3) + bytes(4)
    more = segment(1, b"Exif\0\0" + exif_with_thumbnail((30, 40)))
    more += segment(1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    more += segment(2, b"MPF\0" + pictures) + segment(4, b"QVCI\0" + bytes(9))
    parts = resource(0x0404, IPTC) + resource(0x040C, b"old") + resource(0x03ED, bytes(16))
    more += segment(13, b"Photoshop 3.0\0" + parts)
    more += struct.pack(">BBH", 0xFF, 0xFE, 2 + len(comment)) + comment
    path.write_bytes(data[:2] + more + data[2:])
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(path: Path, *chunks: tuple[bytes, bytes]) -> Path:
    """An RGB PNG of 16 bits, 20 x 12 px, with chunks before its pixels."""
    pixels = np.random.default_rng(1).integers(0, 65536, (12, 20, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 12, 16, 2, 0, 0, 0))
    body = b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))
    return path
