"""Where a file says which pixels hold no measurement: every way gives the same mask."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from numpy.typing import NDArray
from rasterio import Affine

from unetmm.intensities.validity import NoData, valid_mask
from unetmm.io.image import Box, ImageInfo, SinkOptions
from unetmm.io.measured import read_measured
from unetmm.io.open import open_sink, open_source
from unetmm.io.select import Selection

SHAPE = (70, 90)
RNG = np.random.default_rng(4)
VALID = RNG.random(SHAPE) < 0.7
VALID[20:40, 30:60] = False
PIXELS = RNG.integers(10, 200, SHAPE)
PLACE = Affine(10, 0, 1e6, 0, -10, 6e6)
NODATA_TAG = 42113

Maker = Callable[[Path], Path]


def filled(fill: float, dtype: str) -> NDArray[Any]:
    return np.where(VALID, PIXELS, fill).astype(dtype)


def tag(text: str) -> dict[str, Any]:
    return {"extratags": [(NODATA_TAG, 2, 0, text, True)]}


def by_tag(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", filled(-9999, "f4"), **tag("-9999"))
    return folder / "a.tif"


def by_tag_of_several(folder: Path) -> Path:
    pixels = filled(-9999, "i2")
    pixels[:30][~VALID[:30]] = 0
    tifffile.imwrite(folder / "a.tif", pixels, **tag("-9999,0"))
    return folder / "a.tif"


def by_few_digits(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", filled(9.969209968386869e36, "f4"), **tag("9.96921e+36"))
    return folder / "a.tif"


def by_xml(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", filled(-9999, "f4"))
    band = '<PAMRasterBand band="1"><NoDataValue>-9999</NoDataValue></PAMRasterBand>'
    (folder / "a.tif.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>", encoding="utf-8")
    return folder / "a.tif"


def by_gdal_mask(folder: Path, internal: bool, **more: Any) -> Path:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "transform": PLACE, **more}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(folder / "a.tif", "w", height=SHAPE[0], width=SHAPE[1], **profile) as file,
    ):
        for band in range(profile["count"]):
            file.write(filled(0, "u1"), band + 1)
        file.write_mask(VALID)
    assert (folder / "a.tif.msk").exists() != internal
    return folder / "a.tif"


def by_opacity(folder: Path) -> Path:
    colours = [filled(0, "u1")] * 3
    opacity = np.where(VALID, 200, 0).astype("u1")
    pixels = np.stack([*colours, opacity], -1)
    tifffile.imwrite(folder / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    return folder / "a.tif"


def by_cf(folder: Path, version: int, fill: float, attributes: dict[str, Any]) -> Path:
    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=version)
    array = group.create_array(
        "refl", shape=SHAPE, chunks=(32, 32), dtype="f4", fill_value=fill, attributes=attributes
    )
    array[...] = filled(-9999, "f4")
    return folder / "a.zarr"


FLOAT = base64.b64encode(struct.pack("<d", -9999)).decode()
WAYS: dict[str, Maker] = {
    "tag": by_tag,
    "tag of several values": by_tag_of_several,
    "tag of few digits": by_few_digits,
    "aux.xml": by_xml,
    "internal mask": lambda folder: by_gdal_mask(folder, True),
    "internal mask of colours, tiled": lambda folder: by_gdal_mask(
        folder, True, count=3, tiled=True, blockxsize=32, blockysize=32, compress="deflate"
    ),
    "msk": lambda folder: by_gdal_mask(folder, False),
    "opacity": by_opacity,
    "xarray in Zarr 2": lambda f: by_cf(f, 2, -9999, {"_ARRAY_DIMENSIONS": ["y", "x"]}),
    "_FillValue of Zarr 3": lambda f: by_cf(f, 3, 0, {"_FillValue": FLOAT}),
    "missing_value": lambda f: by_cf(f, 3, 0, {"missing_value": [-9999, -5]}),
    "valid_range": lambda f: by_cf(f, 3, 0, {"valid_range": [0, 1000]}),
    "valid_min": lambda f: by_cf(f, 2, 0, {"valid_min": 0.0}),
}


def measured(path: Path, box: Box, **more: Any) -> NDArray[np.bool_]:
    """Where all samples of a box are measured, by all that is said of them."""
    source = open_source(path, **more)
    pixels, given = read_measured(source, (0, 0, 0), box)
    info = source.info
    colours = range(info.samples - info.alpha)
    mask = valid_mask(pixels[..., : len(colours)], info.nodata_of(0, colours), given)
    source.close()
    everywhere = np.ones((box.height, box.width), bool)
    return everywhere if mask is None else mask.all(axis=-1)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_saying_so_gives_the_same_mask(way: str, tmp_path: Path) -> None:
    path = WAYS[way](tmp_path)
    for y0, x0, y1, x1 in ((0, 0, *SHAPE), (3, 5, 4, 6), (17, 29, 61, 88)):
        found = measured(path, Box(y0, x0, y1, x1))
        assert np.array_equal(found, VALID[y0:y1, x0:x1])


@pytest.mark.parametrize("way", WAYS)
def test_none_makes_every_pixel_count(way: str, tmp_path: Path) -> None:
    assert measured(WAYS[way](tmp_path), Box(0, 0, *SHAPE), nodata=()).all()


def test_given_values_take_the_place_of_stated_ones(tmp_path: Path) -> None:
    path = by_tag(tmp_path)
    found = measured(path, Box(0, 0, *SHAPE), nodata=(50.0, 60.0))
    assert np.array_equal(found, ~np.isin(filled(-9999, "f4"), (50, 60)))


@pytest.mark.parametrize("fill", [0, 7.0])
def test_a_fill_value_that_xarray_did_not_write_says_nothing(tmp_path: Path, fill: float) -> None:
    path = by_cf(tmp_path, 2, fill, {})
    assert not open_source(path).info.nodata.stated


def test_bands_have_values_of_their_own(tmp_path: Path) -> None:
    two = np.stack([filled(-9999, "f4"), filled(0, "f4")])
    tifffile.imwrite(tmp_path / "a.tif", two, planarconfig="separate", **tag("-9999,0"))
    source = open_source(tmp_path / "a.tif")
    assert [source.info.nodata_of(c, [0]).values for c in (0, 1)] == [(-9999.0,), (0.0,)]
    chosen = open_source(tmp_path / "a.tif", Selection(channels=("1",)))
    assert chosen.info.nodata.single == 0
    tifffile.imwrite(tmp_path / "b.tif", two, planarconfig="separate")
    band = '<PAMRasterBand band="2"><NoDataValue>0</NoDataValue></PAMRasterBand>'
    (tmp_path / "b.tif.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>", encoding="utf-8")
    info = open_source(tmp_path / "b.tif").info
    assert [info.nodata_of(c, [0]).values for c in (0, 1)] == [(), (0.0,)]


def test_what_is_no_number_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", filled(0, "u1"), **tag("none at all"))
    assert not open_source(tmp_path / "a.tif").info.nodata.stated
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset>", encoding="utf-8")
    (tmp_path / "a.tif.msk").write_bytes(b"II*\0")
    open_source(tmp_path / "a.tif")
    told = " ".join(record.getMessage() for record in caplog.records)
    assert '"none at all", is no number' in told
    assert "a.tif.aux.xml: its values for no data cannot be read" in told
    assert "a.tif.msk: is no mask that can be read" in told


def test_a_mask_of_another_size_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = by_gdal_mask(tmp_path, False)
    tifffile.imwrite(path, np.zeros((71, 90), "u1"))
    assert not open_source(path).info.nodata.masked
    assert "is not of the image's size" in caplog.text


@pytest.mark.parametrize(
    ("nodata", "name", "kept"),
    [
        (NoData.of(-9999), "a.tif", NoData.of(-9999)),
        (NoData.of(-9999, 0), "a.tif", NoData.of(-9999, 0)),
        (NoData.of(-9999), "a.ome.zarr", NoData.of(-9999)),
        (NoData.of(-9999, 0), "a.ome.zarr", NoData.of(-9999, 0)),
        (NoData(low=0, high=1000), "a.ome.zarr", NoData(low=0, high=1000)),
        (NoData(low=0, high=1000), "a.tif", None),
        (NoData.of(3), "a.npy", None),
    ],
)
def test_outputs_state_what_their_format_has_a_place_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, nodata: NoData, name: str, kept: NoData | None
) -> None:

    info = ImageInfo("any", "YX", SHAPE, np.dtype("f4"), (1, 1), nodata=nodata)
    sink = open_sink(SinkOptions(tmp_path / name), info)
    sink.write((0, 0, 0), Box(0, 0, *SHAPE), filled(-9999, "f4")[..., None])
    sink.close()
    found = open_source(tmp_path / name).info.nodata
    assert found == (kept or NoData())
    assert ("has no place" in caplog.text) == (kept is None)


def test_a_mask_beside_becomes_one_inside(tmp_path: Path) -> None:
    path, out = by_gdal_mask(tmp_path, False), tmp_path / "out.tif"
    source = open_source(path)
    sink = open_sink(SinkOptions(out), source.info, masks=source)
    sink.write((0, 0, 0), Box(0, 0, *SHAPE), source.read((0, 0, 0), Box(0, 0, *SHAPE)))
    sink.close()
    with rasterio.open(out) as found:
        assert np.array_equal(found.dataset_mask() > 0, VALID)
    assert np.array_equal(measured(out, Box(0, 0, *SHAPE)), VALID)
