"""What the chunks of a PNG say beside its pixels: kept as it is, understood, or named as lost."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterator

from unetmm.io.photo.resources import read_resources

COPIED = (
    *(b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi"),
    *(b"tEXt", b"zTXt", b"iTXt", b"bKGD", b"sPLT", b"pCAL", b"sCAL", b"sTER", b"oFFs"),
)
"""Names of chunks that a PNG output keeps as they are: the meaning of colours and values, texts."""
_STRUCTURE = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"pHYs", b"acTL", b"eXIf", b"sBIT"),
    *(b"fcTL", b"fdAT", b"hIST", b"iDOT"),
)
"""Names of chunks that are understood elsewhere, or that hold nothing beside the pixels."""
_NAMED = {b"tIME": "time of change (tIME)", b"caBX": "content credentials"}
"""Name of a chunk that no output keeps -> its name for readers."""
_XMP = b"XML:com.adobe.xmp\0"
_RAW = b"Raw profile type "
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MOST_TEXT_BYTES = 2**22
"""Longest text that is unpacked."""

Chunk = tuple[bytes, bytes]
"""Name and content of a chunk."""


def is_copied(name: bytes) -> bool:
    """Whether an output keeps a chunk: by its name, or because it is marked as safe to copy."""
    unknown = name not in (*COPIED, *_STRUCTURE, *_NAMED)
    return name in COPIED or (unknown and name[0] & 32 != 0 and name[3] & 32 != 0)


def name_lost(name: bytes, content: bytes, bits: int) -> str:
    """What a chunk is called that no output keeps; empty if it holds nothing that is lost.

    Parameters
    ----------
    bits : of a stored sample.
    """
    if name == b"sBIT":
        return "significant bits (sBIT)" if any(n < bits for n in content) else ""
    if name in _NAMED:
        return _NAMED[name]
    return "" if name in _STRUCTURE or is_copied(name) else f"chunk {name.decode('latin-1')}"


def take_profiles(chunks: list[Chunk]) -> tuple[bytes, bytes, list[Chunk]]:
    """(XMP, IPTC, the other chunks) of those that hold them as texts."""
    xmp, iptc, others = b"", b"", []
    for name, content in chunks:
        if name == b"iTXt" and content.startswith(_XMP):
            xmp = xmp or _text_of(name, content)
        elif name in _TEXTS and content.startswith(_RAW):
            kind = content[len(_RAW) :].split(b"\0")[0].lower()
            raw = _unhex(_text_of(name, content))
            if kind == b"xmp":
                xmp = xmp or raw
            elif kind in (b"iptc", b"8bim"):
                iptc = iptc or _iptc_of(raw)
            else:
                others.append((name, content))
        else:
            others.append((name, content))
    return xmp, iptc, others


def _iptc_of(raw: bytes) -> bytes:
    """IPTC of a profile that is a resource of Photoshop, or IPTC itself."""
    return read_resources(raw)[0] if raw.startswith(b"8BIM") else raw


def profile_chunks(xmp: bytes, iptc: bytes) -> Iterator[Chunk]:
    """Chunks that hold XMP and IPTC, in the way that others read them."""
    if xmp:
        yield b"iTXt", _XMP + b"\0\0\0\0" + xmp
    if iptc:
        text = f"\niptc\n{len(iptc):8}\n{_hex_lines(iptc)}\n".encode()
        yield b"zTXt", _RAW + b"iptc\0\0" + zlib.compress(text)


def comment_chunk(comment: bytes) -> Chunk:
    """The comment of a JPEG as a text."""
    text = comment.decode("utf-8", "replace").encode("latin-1", "replace")
    return b"tEXt", b"Comment\0" + text.replace(b"\0", b" ")


def _hex_lines(data: bytes) -> str:
    text = data.hex()
    return "\n".join(text[i : i + 72] for i in range(0, len(text), 72))


def _unhex(text: bytes) -> bytes:
    """Bytes of a profile: a line with its kind, a line with its length, then hexadecimal."""
    lines = text.strip(b"\n ").split(b"\n")
    try:
        return binascii.unhexlify(b"".join(line.strip() for line in lines[2:]))
    except (binascii.Error, ValueError):
        return b""


def _text_of(name: bytes, content: bytes) -> bytes:
    """The text of a chunk, empty if it is damaged."""
    _, _, rest = content.partition(b"\0")
    packed = name == b"zTXt"
    if name == b"zTXt":
        rest = rest[1:]
    elif name == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = (rest[2:].split(b"\0", 2) + [b"", b"", b""])[2]
    if not packed:
        return rest
    try:
        return zlib.decompressobj().decompress(rest, _MOST_TEXT_BYTES)
    except zlib.error:
        return b""


def fits(chunk: Chunk, colours: int) -> bool:
    """Whether a chunk means the same in an image of 1 or 3 colours; bKGD depends on these."""
    name, content = chunk
    return name != b"bKGD" or len(content) == 2 * colours
