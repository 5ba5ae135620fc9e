"""What is known of an image: every fact has a name for readers, and the default knows nothing."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from unetmm.io.image import ImageInfo
from unetmm.io.metadata import (
    NAMES,
    DisplayFacts,
    GeoFacts,
    Mask,
    Metadata,
    MicroscopyFacts,
    PhotoFacts,
    ReadingFacts,
    TiffFacts,
)
from unetmm.io.omezarr.kept import KEPT

KNOWN = Metadata(
    PhotoFacts(
        *(b"profile", b"exif", (72.0, 72.0, "inch"), ((b"gAMA", b"1"),), b"comment"),
        *(b"<x:xmpmeta/>", b"\x1c", b"8BIM", True),
    ),
    TiffFacts(((271, 2, 0, "Maker"),), "text", 2, ("a", "b"), ("Red", "NIR"), Mask(lost="why")),
    GeoFacts("EPSG:4326", "WGS 84", (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), 4, True),
    MicroscopyFacts(
        *("<OME/>", {"mode": "color"}, {"rdefs": {}}, ("#ff0000",), {"X": (1.0, "mm")}, "/labels"),
    ),
    DisplayFacts(12, "miniswhite", True, "expanded", True, (b"map",), "labels", ("cell",)),
    ReadingFacts(
        *("LZW", 3, "first", "EXIF 6", (2, 3), 4, 1, 2, ("/a",), ("/b",), "advice", "ZYX"),
        ("gain map",),
    ),
)


def test_nothing_is_known_by_default() -> None:
    info = ImageInfo("any", "YX", (2, 3), np.dtype("u1"), (1, 1))
    assert info.metadata == Metadata() and Metadata().as_dict() == {}


def test_every_fact_has_a_name_for_readers() -> None:
    parts = [getattr(KNOWN, f.name) for f in fields(KNOWN)]
    count = sum(len(fields(part)) for part in parts if not isinstance(part, GeoFacts)) + 1
    assert len(set(NAMES)) == len(NAMES) == count
    assert tuple(KNOWN.as_dict()) == NAMES and set(KEPT) < set(NAMES)


def test_parts_of_a_part_are_shown_by_their_names() -> None:
    shown = KNOWN.as_dict()
    assert shown["mask"] == {"lost": "why"} and shown["tiff_tags"] == ((271, 2, 0, "Maker"),)
    assert list(shown["geo"]) == ["crs", "citation", "transform", "gcps", "rpc"]
    assert GeoFacts(crs="EPSG:4326").as_dict() == {"crs": "EPSG:4326"}
    strips = Mask(compression=8, rows=5, counts=(0,))
    assert list(strips.as_dict()) == ["compression", "bits", "rows", "counts", "data"]
    assert "rows" not in Mask(compression=8, tile=(16, 16), counts=(0,)).as_dict()
