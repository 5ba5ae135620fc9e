"""GDAL reads what is written, and sees what the input said of its place on Earth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from rasterio.windows import Window
from roundtrip_copies import SEED, copy, random_pixels

from unetmm.io.select import Selection
from unetmm.provenance.verify import verify

# rasterio multiplies its transforms as affine would rather not have it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A satellite scene of five bands, of which the first three are colours."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    profile = {
        **{"driver": "GTiff", "height": 40, "width": 2200, "count": 5, "dtype": "uint16"},
        **{"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_200_000)},
        **{"nodata": 0, "photometric": "RGB"},
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(random_pixels((5, 40, 2200)))
        file.descriptions = ("red", "green", "blue", "nir", "größe")
        file.scales = (0.1, 0.2, 0.3, 0.4, 0.5)
        file.offsets = (1.0, 2.0, 3.0, 4.0, 5.0)
        file.units = ("a", "b", "c", "d", "e")
        for band in range(1, 6):
            file.update_tags(band, WAVELENGTH=str(100 * band))
        file.update_tags(1, STATISTICS_MEAN="59.5")
        file.update_tags(SENSOR="some")
    return path


@pytest.mark.parametrize("compression", ["none", "deflate", "zstd", "lzw"])
def test_gdal_sees_place_bands_and_overviews(scene: Path, tmp_path: Path, compression: str) -> None:
    output = copy(scene, tmp_path / "out.tif", compression=compression)
    with rasterio.open(output) as found, rasterio.open(scene) as expected:
        assert found.crs == expected.crs and found.transform == expected.transform
        assert found.nodata == 0 and found.descriptions == expected.descriptions
        assert found.colorinterp == expected.colorinterp
        assert found.colorinterp[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        assert found.scales == expected.scales
        assert found.tags()["SENSOR"] == "some"
        assert found.tags(1) == {"WAVELENGTH": "100"}, "old statistics are gone"
        assert not any("RESOLUTION" in name for name in found.tags()), "the input has none"
        assert found.overviews(1) == [2, 4, 8] and found.block_shapes[0] == (48, 512)
        assert np.array_equal(found.read(), expected.read())
        half = found.read(4, out_shape=(20, 1100))
        whole = expected.read(4).astype(np.int64)
    valid = np.count_nonzero(whole.reshape(20, 2, 1100, 2), axis=(1, 3))
    mean = whole.reshape(20, 2, 1100, 2).sum((1, 3)) / np.maximum(valid, 1)
    assert np.array_equal(half, np.floor(mean + 0.5)), "an overview is the mean of what is measured"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_scene_comes_back_from_ome_zarr_as_it_was(
    scene: Path, tmp_path: Path, version: str
) -> None:
    between = copy(scene, tmp_path / "between.ome.zarr", ome_zarr=version)
    output = copy(between, tmp_path / "out.tif")
    with rasterio.open(output) as found, rasterio.open(scene) as expected:
        assert found.crs == expected.crs and found.transform == expected.transform
        assert found.nodata == 0 and found.descriptions == expected.descriptions
        assert found.colorinterp == expected.colorinterp and found.tags()["SENSOR"] == "some"
        assert np.array_equal(found.read(), expected.read())


SELECTIONS = {
    "some": (Selection(channels=("3", "1")), [4, 2]),
    "another order": (Selection(channels=("1", "0", "2", "3", "4")), [2, 1, 3, 4, 5]),
    "one": (Selection(channels=("4",)), [5]),
    "as colours": (Selection(rgb_bands=(4, 3, 2)), [4, 3, 2]),
    "the first as colours": (Selection(rgb_bands=(1, 2, 3)), [1, 2, 3]),
}


@pytest.mark.parametrize("between", ["", "between.ome.zarr"])
@pytest.mark.parametrize(("select", "bands"), SELECTIONS.values(), ids=SELECTIONS)
def test_gdal_sees_what_was_said_of_selected_bands(
    scene: Path, tmp_path: Path, select: Selection, bands: list[int], between: str
) -> None:
    output = tmp_path / "out.tif"
    if between:
        copy(copy(scene, tmp_path / between, select), output)
    else:
        copy(scene, output, select)
    with rasterio.open(output) as found, rasterio.open(scene) as expected:
        assert np.array_equal(found.read(), expected.read(bands))
        for name in ("descriptions", "scales", "offsets", "units"):
            wanted = getattr(expected, name)
            assert getattr(found, name) == tuple(wanted[band - 1] for band in bands), name
        for i, band in enumerate(bands, start=1):
            assert found.tags(i) == {"WAVELENGTH": str(100 * band)}
        if select.rgb_bands:
            colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
            assert found.colorinterp == colours
        elif len(bands) > 1:
            pairs = zip(
                found.colorinterp, (expected.colorinterp[b - 1] for b in bands), strict=True
            )
            assert all(a == b for a, b in pairs if b != ColorInterp.undefined)
        assert found.crs == expected.crs and found.tags()["SENSOR"] == "some"


def test_gdal_finds_the_layout_of_cloud_optimized_geotiff(scene: Path, tmp_path: Path) -> None:
    """All directories come before all pixels, and overviews before the full resolution."""
    output = copy(scene, tmp_path / "out.tif")
    with rasterio.open(output) as found:
        tile = Window(0, 0, 512, 40)
        assert found.read(1, window=tile).shape == (40, 512)
        offsets = [
            int(found.get_tag_item(f"BLOCK_OFFSET_{block}_0", "TIFF", bidx=1)) for block in (0, 1)
        ]
        overview = int(found.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=0))
        smallest = int(found.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=2))
        ifds = [int(found.get_tag_item("IFD_OFFSET", "TIFF", bidx=1))] + [
            int(found.get_tag_item("IFD_OFFSET", "TIFF", bidx=1, ovr=n)) for n in range(3)
        ]
    assert ifds == sorted(ifds) and ifds[0] in (8, 16)
    assert ifds[-1] < smallest < overview < offsets[0] < offsets[1]


PLACE = Affine(10, 0, 500_000, 0, -10, 5_200_000)
MASKED = {
    "one band": {"count": 1, "height": 70, "width": 90},
    "colours, tiles, overviews": {"count": 3, "height": 300, "width": 2100, "photometric": "RGB"},
    "bands apart": {"count": 5, "height": 70, "width": 90, "interleave": "band"},
}


@pytest.fixture(params=MASKED.values(), ids=MASKED)
def masked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A scene with GDAL's mask of valid pixels inside."""
    path, profile = tmp_path / "masked.tif", {"driver": "GTiff", "dtype": "uint8", **request.param}
    if profile["width"] > 2000:
        profile |= {"tiled": True, "compress": "deflate"}
    profile |= {"crs": "EPSG:32633", "transform": PLACE}
    shape = (profile["height"], profile["width"])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(random_pixels((profile["count"], *shape), "uint8"))
        file.write_mask(np.random.default_rng(SEED).random(shape) < 0.5)
    return path


@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_gdal_sees_the_mask_of_valid_pixels(masked: Path, tmp_path: Path, compression: str) -> None:
    output = copy(masked, tmp_path / "out.tif", compression=compression)
    again = copy(output, tmp_path / "again.tif", compression=compression)
    for path in (output, again):
        with rasterio.open(path) as found, rasterio.open(masked) as expected:
            assert found.mask_flag_enums == expected.mask_flag_enums
            assert np.array_equal(found.dataset_mask(), expected.dataset_mask())
            assert np.array_equal(found.read(), expected.read())
            assert found.colorinterp == expected.colorinterp
    assert not verify(output).damaged


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.png", "out.ome.tif"])
def test_a_mask_that_is_lost_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path, profile = tmp_path / "a.tif", {"driver": "GTiff", "dtype": "uint8", "count": 1}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile, height=20, width=30, transform=PLACE) as file,
    ):
        file.write(random_pixels((1, 20, 30), "uint8"))
        file.write_mask(np.eye(20, 30, dtype=bool))
    copy(path, tmp_path / name)
    told = [r.getMessage() for r in caplog.records if "mask of valid pixels" in r.getMessage()]
    assert len(told) == 1 and told[0].startswith(f"{tmp_path / name}: ")


def test_the_map_of_a_grey_geotiff_stays(tmp_path: Path) -> None:
    """As rasterio's `write_colormap` leaves it, without saying that the page has a palette."""
    source, output = tmp_path / "classes.tif", tmp_path / "out.tif"
    shape = {"height": 40, "width": 50, "count": 1, "dtype": "uint8", "driver": "GTiff"}
    with rasterio.open(source, "w", **shape, transform=Affine(10, 0, 9, 0, -10, 99)) as file:
        file.write(np.arange(2000, dtype=np.uint8).reshape(40, 50) % 5, 1)
        file.write_colormap(1, {i: (50 * i, 9, 255 - i, 255) for i in range(256)})
    copy(source, output)
    with rasterio.open(source) as before, rasterio.open(output) as after:
        assert before.colormap(1) == after.colormap(1)
        np.testing.assert_array_equal(before.read(), after.read())
