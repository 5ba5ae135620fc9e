"""Reference systems by number, and names of bands, in a .aux.xml beside an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from unetmm.io.geo import epsg_of
from unetmm.io.open import open_source
from unetmm.options import Options
from unetmm.run.of_file import restore_file

NUMBERS = {
    "EPSG:32632": 32632,
    "EPSG:4326": 4326,
    "epsg:25832": 25832,
    "urn:ogc:def:crs:EPSG::25832": 25832,
    "urn:ogc:def:crs:EPSG:9.9.1:32633": 32633,
    "http://www.opengis.net/def/crs/EPSG/0/32632": 32632,
    "EPSG:1234567": 0,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_of_the_registry_is_read_whole(text: str) -> None:
    assert epsg_of(text) == NUMBERS[text]


def test_system_and_names_beside_an_image_go_into_its_output(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 4000, (2, 40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", bands, photometric="minisblack", planarconfig="separate")
    named = "".join(
        f'<PAMRasterBand band="{i}"><Description>{name}</Description></PAMRasterBand>'
        for i, name in ((1, "red"), (2, "near infrared"))
    )
    place = "<GeoTransform>5e5, 10, 0, 4e6, 0, -10</GeoTransform><SRS>EPSG:32632</SRS>"
    xml = f"<PAMDataset>{place}{named}</PAMDataset>"
    (tmp_path / "in.tif.aux.xml").write_text(xml)
    info = open_source(tmp_path / "in.tif").info
    assert info.metadata.geo.crs == "EPSG:32632"
    restore_file(tmp_path / "in.tif", tmp_path / "out.tif", Options(model="tiny-mono"))
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.crs.to_epsg() == 32632 and made.res == (10, 10)
        assert made.descriptions == ("red", "near infrared")


def test_names_that_are_no_numbers_of_bands_are_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((8, 8), np.uint8))
    band = '<PAMRasterBand band="x"><Description>red</Description></PAMRasterBand>'
    (tmp_path / "in.tif.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")
    assert open_source(tmp_path / "in.tif").info.metadata.tiff.descriptions == ()
