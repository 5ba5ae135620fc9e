"""Pixel sizes, places and sizes in metadata of an image that is enlarged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from helpers import lively_model

import unetmm
from unetmm.io.enlarged import EnlargedSource, chunk_px, enlarged_info
from unetmm.io.exif import resolution_of
from unetmm.io.geo import RPC_NAMES
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig

NET = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=2)
GRAY = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)


def restored(path: Path, name: str) -> Path:
    zeros = {k: 0 * v for k, v in lively_model(NET).tensors.items()}
    model = Model("twice", NET, {"task": "upscale"}, None, zeros)
    unetmm.restore(str(path), model, output=path.parent / name)
    return path.parent / name


@pytest.mark.parametrize("is_point", [False, True])
def test_a_geotiff_keeps_its_corner(tmp_path: Path, is_point: bool) -> None:
    import rasterio
    from rasterio.transform import Affine

    place = Affine(10, 0, 500_000, 0, -20, 4_000_000)
    tags = {"AREA_OR_POINT": "Point" if is_point else "Area"}
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", height=40, width=60, count=1, dtype="uint16",
        crs="EPSG:32633", transform=place, nodata=7,
    ) as file:  # fmt: skip
        file.write(GRAY, 1)
        file.update_tags(**tags)
    for name in ("out.tif", "out.ome.zarr"):
        output = restored(tmp_path / "in.tif", name)
        info = open_source(output).info
        assert info.shape == (80, 120)
    with rasterio.open(tmp_path / "in.tif") as before, rasterio.open(tmp_path / "out.tif") as after:
        np.testing.assert_allclose(after.bounds, before.bounds)
        assert after.res == (5, 10) and after.nodata == 7 and after.crs == before.crs
        assert after.tags().get("AREA_OR_POINT") == tags["AREA_OR_POINT"]


def test_a_turned_geotiff_and_ground_control_points_follow(tmp_path: Path) -> None:
    import rasterio
    from rasterio.control import GroundControlPoint
    from rasterio.transform import Affine

    turned = Affine(8.5, 5, 300, 5, -8.5, 700)
    profile = {"driver": "GTiff", "height": 40, "width": 60, "count": 1, "dtype": "uint16"}
    with rasterio.open(tmp_path / "a.tif", "w", crs="EPSG:32633", transform=turned, **profile) as f:
        f.write(GRAY, 1)
    corners = [(row, col) for row in (0, 40) for col in (0, 60)]
    points = [GroundControlPoint(row, col, col * 2.0, row * 3.0) for row, col in corners]
    with rasterio.open(tmp_path / "b.tif", "w", gcps=points, crs="EPSG:4326", **profile) as f:
        f.write(GRAY, 1)
    with rasterio.open(restored(tmp_path / "a.tif", "a2.tif")) as after:
        np.testing.assert_allclose(after.transform @ (120, 80), turned @ (60, 40))
    with rasterio.open(restored(tmp_path / "b.tif", "b2.tif")) as after:
        found = [(p.row, p.col, p.x, p.y) for p in after.gcps[0]]
        assert found == [(2 * p.row, 2 * p.col, p.x, p.y) for p in points]


def test_rational_polynomials_count_the_new_pixels(tmp_path: Path) -> None:
    values = dict.fromkeys(RPC_NAMES, 0.5) | {"LINE_OFF": 10.0, "LINE_SCALE": 20.0}
    rpc = (50844, 12, len(RPC_NAMES), tuple(values[name] for name in RPC_NAMES))
    tifffile.imwrite(tmp_path / "in.tif", GRAY, extratags=[(*rpc, True)])
    with tifffile.TiffFile(restored(tmp_path / "in.tif", "out.tif")) as tif:
        found = dict(zip(RPC_NAMES, tif.pages.first.tags.valueof(50844), strict=True))
    # The centre of line 10 lies half a line above that of its lower half.
    assert (found["LINE_OFF"], found["LINE_SCALE"], found["LAT_OFF"]) == (20.5, 40.0, 0.5)


def test_ome_sizes_and_positions(tmp_path: Path) -> None:
    import ome_types

    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
    planes = {"PositionX": [3.0, 3.0], "PositionXUnit": ["µm", "µm"]}
    said = {"axes": "ZYX", **sizes, "Plane": planes}
    tifffile.imwrite(tmp_path / "in.ome.tif", np.stack([GRAY, GRAY]), metadata=said)
    pixels = ome_types.from_tiff(restored(tmp_path / "in.ome.tif", "out.ome.tif")).images[0].pixels
    assert (pixels.size_x, pixels.size_y, pixels.size_z) == (120, 80, 2)
    found = pixels.physical_size_x, pixels.physical_size_y, pixels.physical_size_z
    assert found == (0.25, 0.125, 2.0)
    # The centre of the first pixel lies a quarter of a pixel before that of the input's.
    assert [plane.position_x for plane in pixels.planes] == [3.0 - 0.5 / 4] * 2
    attributes = zarr.open(restored(tmp_path / "in.ome.tif", "out.ome.zarr")).attrs["ome"]
    steps = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert steps[0]["scale"][1:] == [0.125, 0.25]
    assert steps[1]["translation"][2] == 3.0 - 0.5 / 4


def test_imagej_prints_and_photos(tmp_path: Path) -> None:
    from PIL import Image

    tifffile.imwrite(
        tmp_path / "in.tif", GRAY, imagej=True, resolution=(4, 4), metadata={"unit": "um"}
    )
    info = open_source(restored(tmp_path / "in.tif", "out.tif")).info
    assert info.pixel_size["X"] == (0.125, "micrometer")
    photo = Image.fromarray((GRAY % 251).astype(np.uint8))
    exif = photo.getexif()
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    exif.get_ifd(34665).update({40962: 60, 40963: 40})
    photo.save(tmp_path / "in.jpg", dpi=(300, 300), exif=exif, quality=95)
    with Image.open(restored(tmp_path / "in.jpg", "out.jpg")) as made:
        assert made.size == (120, 80) and made.info["dpi"] == pytest.approx((600, 600))
        assert made.getexif().get_ifd(34665)[40962] == 120
        assert resolution_of(made.info["exif"].removeprefix(b"Exif\0\0"))[:2] == (600.0, 600.0)


def test_regions_and_labels_are_said_to_be_left_out(tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    roi = b"Iout" + bytes(60)
    tifffile.imwrite(tmp_path / "in.tif", GRAY, imagej=True, metadata={"Overlays": [roi]})
    output = restored(tmp_path / "in.tif", "out.tif")
    assert "regions of interest" in caplog.text
    with tifffile.TiffFile(output) as tif:
        assert "Overlays" not in (tif.imagej_metadata or {})


def test_boxes_of_an_enlarged_source(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", GRAY)
    source = EnlargedSource(open_source(tmp_path / "in.tif"), 3)
    large = GRAY.repeat(3, 0).repeat(3, 1)
    box = Box(4, 7, 50, 101)
    np.testing.assert_array_equal(source.read((0, 0, 0), box)[..., 0], large[4:50, 7:101])
    facts = enlarged_info(open_source(tmp_path / "in.tif").info, 3)
    assert source.info.shape == facts.shape == large.shape


def test_chunks_are_made_of_whole_pixels() -> None:
    assert [chunk_px(512, scale) for scale in (1, 2, 3, 4)] == [512, 512, 576, 512]


def test_coordinates_of_xarray_become_finer() -> None:
    import xarray

    zeros = {k: 0 * v for k, v in lively_model(NET).tensors.items()}
    model = Model("twice", NET, {"task": "upscale"}, None, zeros)
    image = xarray.DataArray(
        GRAY.astype(np.float32), dims=("y", "x"),
        coords={"x": np.arange(60) * 10.0 + 5, "y": 400 - np.arange(40) * 10.0, "band": 3},
        attrs={"units": "dB"}, name="s1",
    )  # fmt: skip
    found = unetmm.restore(image, model)
    assert found.shape == (80, 120) and found.attrs == image.attrs and found.name == "s1"
    np.testing.assert_allclose(found.x[:3], [2.5, 7.5, 12.5])
    np.testing.assert_allclose(found.y[:2], [402.5, 397.5])
    assert int(found.band) == 3
