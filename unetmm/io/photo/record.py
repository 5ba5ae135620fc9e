"""How an output was made, inside a PNG or JPEG: compressed JSON in a place of its own."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unetmm.io.photo.jpeg_header import segments_before_pixels
from unetmm.io.photo.png_header import OWN_RECORD, pack_chunk, walk_chunks

_MARKER = 0xEA
"""Marker of the JPEG segments that a record lies in: APP10."""
_MOST_BYTES = 65535 - 2 - len(OWN_RECORD) - 1
"""Most bytes of a record in one segment, beside its length, its name and its number."""
_MOST_JSON_BYTES = 2**26
"""Longest record that is unpacked."""


def png_chunk(record: Mapping[str, Any]) -> bytes:
    """A record as a zTXt chunk."""
    return pack_chunk(b"zTXt", OWN_RECORD + b"\0" + _packed(record))


def read_png_record(path: Path) -> Any:
    """How a PNG of ours was made; None if it does not say so."""
    with path.open("rb") as file:
        copied = walk_chunks(path, file).copied
    found = (text for name, text in copied if name == b"zTXt" and text.startswith(OWN_RECORD))
    text = next(found, None)
    return None if text is None else _unpacked(text[len(OWN_RECORD) + 1 :])


def jpeg_segments(record: Mapping[str, Any]) -> bytes:
    """A record as segments of a JPEG, each with its number."""
    return b"".join(_segments(_packed(record)))


def _segments(data: bytes) -> Iterator[bytes]:
    for number, start in enumerate(range(0, len(data), _MOST_BYTES)):
        body = OWN_RECORD + bytes([number]) + data[start : start + _MOST_BYTES]
        yield struct.pack(">BBH", 0xFF, _MARKER, 2 + len(body)) + body


def read_jpeg_record(path: Path) -> Any:
    """How a JPEG of ours was made; None if it does not say so."""
    with path.open("rb") as file:
        found = [
            body[len(OWN_RECORD) :]
            for marker, body in segments_before_pixels(path, file)
            if marker == _MARKER and body.startswith(OWN_RECORD)
        ]
    found.sort(key=lambda body: body[0])
    return _unpacked(b"".join(body[1:] for body in found)) if found else None


def _packed(record: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(dict(record)).encode(), 9)


def _unpacked(data: bytes) -> Any:
    """The record, None if it is damaged."""
    try:
        return json.loads(zlib.decompressobj().decompress(data, _MOST_JSON_BYTES))
    except (zlib.error, ValueError):
        return None
