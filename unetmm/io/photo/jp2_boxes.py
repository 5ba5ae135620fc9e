"""What the boxes of a JPEG 2000 say beside its codestream: profile, EXIF, XMP, place on Earth.

Each box: length (4 bytes; 1: 8 more follow the name; 0: to the end), name (4 bytes), content.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from unetmm.io.exif import read_directories
from unetmm.io.geo import (
    PLACING_TAGS,
    GeoPlace,
    Transform,
    place_facts,
    place_tags,
    transform_of_tags,
)
from unetmm.io.metadata import GeoFacts, Tag
from unetmm.io.photo.boxes import find_box
from unetmm.io.photo.header import MAX_PROFILE_BYTES, PhotoHeader
from unetmm.io.xmp import without_companions

_SUPERBOXES = (b"jp2h", b"res ", b"asoc", b"uinf")
_STRUCTURE = (
    *(b"jP  ", b"ftyp", b"ihdr", b"bpcc", b"colr", b"resc", b"resd", b"lbl ", b"jp2c", b"cdef"),
    *(b"rreq", b"pclr", b"cmap", b"free", b"uuid", b"xml ", b"ulst", b"url "),
)
_GEO = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_EXIF = b"JpgTiffExif->JP2"
_MOST_BOXES, _DEEPEST = 1000, 8
_ICC_METHODS = (2, 3)
_POSITION = re.compile(r"<gml:(?:pos|coordinates)[^>]*>([^<]+)<")
_VECTOR = re.compile(r"<gml:offsetVector[^>]*>([^<]+)<")
_SYSTEM = re.compile(r"EPSG[:/0-9.]*?(\d{4,6})\b")
_KINDS = {2: "S", 3: "u2", 4: "u4", 12: "f8"}
"""Type of a value of a TIFF -> NumPy's name of it."""
_PROJECTED_KEY, _GEOGRAPHIC_KEY = 3072, 2048


@dataclass(frozen=True)
class Jp2Box:
    """A box that is no other boxes' and no pixels'."""

    name: bytes
    """Four letters."""
    content: bytes
    """Content of the box; empty if it is too long to be kept."""


def read_boxes(file: BinaryIO) -> list[Jp2Box]:
    """Boxes of a file, those within others too."""
    file.seek(0, 2)
    return list(_walk(file, 0, file.tell(), [_MOST_BOXES], _DEEPEST))


def _walk(file: BinaryIO, at: int, end: int, left: list[int], depth: int) -> Iterator[Jp2Box]:
    """Boxes between two offsets; of those within others no more than some, and not too deep."""
    while at + 8 <= end and left[0] > 0:
        left[0] -= 1
        name, start, stop = find_box(file, at, end)
        if stop < start or stop > end:
            return
        if name in _SUPERBOXES:
            if depth:
                yield from _walk(file, start, stop, left, depth - 1)
        elif name != b"jp2c":
            file.seek(start)
            yield Jp2Box(name, file.read(stop - start) if stop - start < MAX_PROFILE_BYTES else b"")
        at = stop


def take_boxes(header: PhotoHeader, boxes: list[Jp2Box]) -> None:
    """Keep what boxes say, and name those that nothing keeps."""
    lost: list[str] = []
    place: tuple[tuple[Tag, ...], GeoFacts] | None = None
    gml = ""
    for box in boxes:
        if box.name == b"colr" and box.content[:1] and box.content[0] in _ICC_METHODS:
            header.photo = replace(header.photo, icc_profile=box.content[3:])
        elif box.name in (b"resc", b"resd") and len(box.content) == 10:
            header.photo = replace(header.photo, resolution=_resolution(box.content))
        elif box.name == b"xml ":
            text = box.content.decode("utf-8", "replace")
            gml = gml or (text if "gml" in text and "origin" in text else "")
            if "<gml" not in text and "gmljp2" not in text:
                lost.append("XML")
        elif box.name == b"uuid":
            kind, content = box.content[:16], box.content[16:]
            place = place or (_geotiff(content) if kind == _GEO else None)
            lost += _take_uuid(header, kind, content)
        elif box.name not in _STRUCTURE:
            lost.append(f"box {box.name.decode('latin-1').strip()}")
    if place is None and gml and (found := _gml_place(gml)) is not None:
        place = place_tags(found), place_facts(found)
    if place is not None:
        header.tiff, header.geo = replace(header.tiff, tags=place[0]), place[1]
    if lost:
        header.reading = header.reading.without(*lost)


def _take_uuid(header: PhotoHeader, kind: bytes, content: bytes) -> list[str]:
    """Keep the content of a box of a registered kind; the name of one that is not."""
    if kind == _XMP:
        header.photo = replace(header.photo, xmp=without_companions(content))
    elif kind == _IPTC:
        header.photo = replace(header.photo, iptc=content)
    elif kind == _EXIF:
        header.take_exif(content)
    elif kind != _GEO:
        return ["a box of a kind of its own (uuid)"]
    return []


def _resolution(content: bytes) -> tuple[float, float, str] | None:
    """Pixels per centimetre along x and y, which are stored per metre."""
    y, y_per, x, x_per, y_power, x_power = struct.unpack(">4H2b", content)
    if not (x and y and x_per and y_per):
        return None
    return (x / x_per * 10**x_power / 100, y / y_per * 10**y_power / 100, "centimeter")


def _geotiff(content: bytes) -> tuple[tuple[Tag, ...], GeoFacts] | None:
    """Tags of the GeoTIFF of one pixel that a box holds; None if it is damaged."""
    tags: list[Tag] = []
    for entry in read_directories(content).get(0, ()):
        if entry.code in PLACING_TAGS and entry.kind in _KINDS:
            if entry.kind == 2:
                tags.append((entry.code, 2, 0, entry.value.decode("ascii", "replace").rstrip("\0")))
                continue
            values = np.frombuffer(entry.value, f"<{_KINDS[entry.kind]}").tolist()
            tags.append((entry.code, entry.kind, entry.count, tuple(values)))
    if not tags:
        return None
    keys = next((tag[3] for tag in tags if tag[0] == 34735), ())
    stated = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4)}
    code = stated.get(_PROJECTED_KEY) or stated.get(_GEOGRAPHIC_KEY) or 0
    return tuple(tags), place_facts(GeoPlace(transform_of_tags(tags), epsg=code))


def _gml_place(text: str) -> GeoPlace | None:
    """The place that GMLJP2 says: the centre of the first pixel, and a vector each way."""
    position, vectors, system = _POSITION.search(text), _VECTOR.findall(text), _SYSTEM.search(text)
    if position is None or len(vectors) < 2:
        return None
    try:
        x, y = map(float, position[1].replace(",", " ").split()[:2])
        (dx, dy), (ex, ey) = (map(float, v.replace(",", " ").split()[:2]) for v in vectors[:2])
    except ValueError:
        return None
    code = int(system[1]) if system else 0
    if 4000 <= code < 5000 and "urn:ogc:def:crs:EPSG" in text:  # latitudes come first there
        x, y, dx, dy, ex, ey = y, x, dy, dx, ey, ex
    transform: Transform = (x - (dx + ex) / 2, dx, ex, y - (dy + ey) / 2, dy, ey)
    return GeoPlace(transform, epsg=code)
