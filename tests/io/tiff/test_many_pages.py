"""Very many pages and very long OME-XML: opened quickly, or refused before they are parsed."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.io.limits import check_room, reading_within
from unetmm.io.open import open_source
from unetmm.io.tiff.directories import count_directories
from unetmm.io.tiff.page_list import PageList
from unetmm.io.tiff.segments import PageData, SegmentGrid


def write_pages(path: Path, count: int) -> None:
    """Pages of 8 x 8 px, each a directory; the strip of one lies behind that of the last."""
    tags = [
        (256, 3, 8), (257, 3, 8), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 0), (277, 3, 1),
        (278, 3, 8), (279, 4, 64),
    ]  # fmt: skip
    size, out = 2 + 12 * len(tags) + 4, [b"II*\0" + struct.pack("<I", 8)]
    for page in range(count):
        out.append(struct.pack("<H", len(tags)))
        for code, kind, value in tags:
            value = 8 + count * size + 64 * page if code == 273 else value
            out.append(struct.pack("<HHII", code, kind, 1, value))
        out.append(struct.pack("<I", 8 + size * (page + 1) if page < count - 1 else 0))
    pixels = np.arange(count, dtype=np.uint8).repeat(64)
    path.write_bytes(b"".join(out) + pixels.tobytes())


def test_many_pages_are_two_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.tif"
    write_pages(path, 5000)
    assert count_directories(path, 10**6) == 5000 and count_directories(path, 7) == 7
    with closing(open_source(path)) as source:
        assert isinstance(source._pages, PageList)
        assert source.read((0, 0, 4999), Box(0, 0, 1, 1)).item() == 4999 % 256
        with tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            grid = SegmentGrid.of(series.keyframe)
            for number in (0, 1, 4999):
                one = PageData.of(series[number]).with_counts(grid)
                listed = source._pages[number]
                assert (listed.offsets, listed.counts) == (one.offsets, one.counts)
        assert len(source._pages) == 5000 and None not in source._pages
    monkeypatch.setattr("unetmm.io.limits.FREE_BYTES", 0)
    with reading_within(10**6), pytest.raises(ImageError, match="list of more than 2500 pages"):
        open_source(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="is truncated"):
        open_source(path)


def test_long_ome_xml_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    planes = '<Plane TheZ="0" TheT="0" TheC="0" DeltaT="0.5"/>' * 50_000
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME '
        'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="16" SizeY="16" SizeZ="1" '
        'SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/>'
        f"{planes}</Pixels></Image></OME>"
    )
    path = tmp_path / "long.ome.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint16), description=xml.encode(), metadata=None)
    with closing(open_source(path)) as source:
        assert source.resident_bytes > len(xml)
    with reading_within(20 * 10**6), pytest.raises(ImageError, match=r"its OME-XML of 2 MB takes"):
        open_source(path)
    check_room("a small file", "its text", 10**6)
