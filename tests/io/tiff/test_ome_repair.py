"""OME-XML that is cut off, not closed, or counts wrongly: put right where certain, else said."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetmm.io.image import Box, ImageInfo
from unetmm.io.ome_repair import repair
from unetmm.io.open import open_source

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/'
    '2016-06"><Instrument ID="Microscope"><Detector ID="Multi Camera"/>'
)
PIXELS = (
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="20" '
    'SizeY="16" SizeC="2" SizeZ="3" SizeT="2" PhysicalSizeX="0.325" PhysicalSizeY="0.325">'
)
CHANNELS = (
    '<Channel ID="Channel:0:0" Name="DAPI &amp; more" SamplesPerPixel="1"/>'
    '<Channel ID="Channel:0:1" Name="GFP" SamplesPerPixel="1"/>'
)
DATA, END = '<TiffData IFD="0" PlaneCount="12"/>', "</Pixels></Image></OME>"
GOOD = HEAD + "</Instrument>" + PIXELS + CHANNELS + DATA + END
PLACES = "".join(
    f'<TiffData FirstC="{i % 2}" FirstZ="{i // 2 % 3}" FirstT="{i // 6}" IFD="{i}" '
    'PlaneCount="1"/>'
    for i in range(12)
)  # fmt: skip


def opened(path: Path, xml: str, pages: int = 12) -> ImageInfo:
    """A file of 16 x 20 px pages, each of its own number, with such OME-XML."""
    pixels = np.broadcast_to(np.arange(pages, dtype=np.uint16)[:, None, None], (pages, 16, 20))
    tifffile.imwrite(
        path, pixels, description=xml.encode(), metadata=None, photometric="minisblack"
    )
    source = open_source(path)
    info = source.info
    for plane in info.planes:
        t, c, z = plane
        number = (t * info.length("Z") + z) * info.length("C") + c
        assert source.read(plane, Box(0, 0, 1, 1)) == number
    source.close()
    return info


@pytest.mark.parametrize(
    "xml",
    [
        HEAD + "</Instrument>" + PIXELS + CHANNELS + DATA,
        HEAD + "</Instrument>" + PIXELS + CHANNELS,
        HEAD + PIXELS + CHANNELS + DATA + END,
        GOOD.replace('SizeC="2"', 'SizeC="1"'),
        HEAD + "</Instrument>" + PIXELS + CHANNELS + PLACES[:400],
        GOOD.replace("<OME xmlns", "<OME:OME xmlns:OME").replace("</OME>", ""),
        GOOD[:-7] + "</Plane></OME>",
    ],
)
def test_what_is_certain_is_recovered(
    tmp_path: Path, xml: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "unetmm")
    info = opened(tmp_path / "a.ome.tif", xml)
    assert (info.axes, info.shape[:3]) == ("TZCYX", (2, 3, 2))
    assert info.channel_names == ("DAPI & more", "GFP")
    assert info.pixel_size["X"] == (0.325, "micrometer")
    said = [m for m in caplog.messages if "its 12 pages are read as T 2, C 2, Z 3" in m]
    assert len(said) == 1


def test_two_cameras_that_count_as_one_channel(tmp_path: Path) -> None:
    one = PIXELS.replace('SizeC="2" SizeZ="3" SizeT="2"', 'SizeC="1" SizeZ="1" SizeT="1"')
    places = "".join(f'<TiffData FirstC="{i}" IFD="{i}" PlaneCount="1"/>' for i in (0, 1))
    named = CHANNELS.partition('<Channel ID="Channel:0:1"')[0]
    info = opened(tmp_path / "a.ome.tif", HEAD + "</Instrument>" + one + named + places + END, 2)
    assert (info.axes, info.channel_names) == ("CYX", ("DAPI & more", ""))


@pytest.mark.parametrize(
    ("xml", "pages", "words"),
    [
        (HEAD + "</Instrument><Image ID=", 12, "does not say what its 12 pages are"),
        (HEAD + "</Instrument>" + PIXELS + CHANNELS, 11, "it describes 12 planes in 11 pages"),
        (GOOD, 14, "describes 12 planes, but it holds 14 pages; the last 2 are not read"),
    ],
)
def test_what_is_not_certain_is_said(
    tmp_path: Path, xml: str, pages: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, pixels = tmp_path / "a.ome.tif", np.zeros((pages, 16, 20), np.uint16)
    tifffile.imwrite(
        path, pixels, description=xml.encode(), metadata=None, photometric="minisblack"
    )
    open_source(path).close()
    assert words in caplog.text


def test_a_size_that_is_not_the_pages(tmp_path: Path) -> None:
    info = opened(tmp_path / "a.ome.tif", GOOD.replace('SizeX="20"', 'SizeX="25"'))
    assert (info.axes, info.shape) == ("TZCYX", (2, 3, 2, 16, 20))


def test_good_text_is_left_alone() -> None:
    found = repair(GOOD, 12, (16, 20))
    assert (found.xml, found.words, found.pages_left) == (GOOD, (), 0)
    other = GOOD.replace("/></Pixels>", '><UUID FileName="b.tif">u</UUID></TiffData></Pixels>')
    assert repair(other, 4, (16, 20), "a.tif").xml == other
