"""Places on Earth that files beside an image, boxes of JPEG 2000 and CF state, against GDAL."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from PIL import Image
from rasterio.shutil import copy as gdal_copy
from rasterio.transform import Affine

from unetmm.errors import ImageError
from unetmm.io.framed import framed_info
from unetmm.io.geo import GeoPlace, epsg_of, place_tags, transform_of_centres
from unetmm.io.image import Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.keeping import not_kept
from unetmm.io.open import open_sink, open_source

# rasterio multiplies its transforms as affine would rather not have it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
PIXELS = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
PLACE = Affine(10, 0, 5e5, 0, -10, 5e6)
UTM33 = rasterio.crs.CRS.from_epsg(32633)


def copied(source: Path, target: Path) -> ImageInfo:
    """The same image in another file; gives what was known of it."""
    opened = open_source(source)
    info = opened.info
    sink = open_sink(SinkOptions(target, True), info)
    box = Box(0, 0, info.height, info.width)
    for plane in info.planes:
        sink.write(plane, box, opened.read(plane, box))
    sink.close()
    opened.close()
    return info


def by_gdal(path: Path) -> Any:
    """What GDAL says of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path)


@pytest.mark.parametrize(
    ("image", "world"),
    [("a.tif", "a.tfw"), ("a.tif", "a.TFW"), ("a.tif", "a.tifw"), ("a.png", "a.pgw"),
     ("a.png", "a.wld")],
)  # fmt: skip
@pytest.mark.parametrize("skew", [0, 2])
def test_world_files(tmp_path: Path, image: str, world: str, skew: float) -> None:
    path = tmp_path / image
    Image.fromarray(PIXELS).save(path)
    x, y = 5e5 + 5 + skew / 2, 5e6 - 5 + skew / 2
    (tmp_path / world).write_text(f"10.0\n{skew}\n{skew}\n-10.0\n{x}\n{y}\n")
    (tmp_path / "a.prj").write_text(UTM33.to_wkt())
    info = copied(path, tmp_path / "b.tif")
    assert info.metadata.geo.crs == "EPSG:32633"
    assert [Path(p).name for p in info.metadata.reading.sidecars] == [world, "a.prj"]
    with by_gdal(tmp_path / "b.tif") as found:
        assert found.crs == UTM33
        assert found.transform.almost_equals(Affine(10, skew, 5e5, skew, -10, 5e6))
    assert not_kept(info, "png") == ("place on Earth",)
    part = framed_info(info, Box(2, 3, 12, 20)).metadata.geo.transform
    assert (part[0], part[3]) == (5e5 + 30 + 2 * skew, 5e6 - 20 + 3 * skew)


def test_a_place_in_the_file_goes_before_a_world_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 12, "width": 20}
    with rasterio.open(path, "w", **profile, crs=UTM33, transform=PLACE) as file:
        file.write(PIXELS, 1)
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    assert open_source(path).info.metadata.geo.transform[:2] == (5e5, 10.0)
    text = rasterio.crs.CRS.from_epsg(32634).to_wkt().replace('"', "&quot;")
    (tmp_path / "a.tif.aux.xml").write_text(
        f"<PAMDataset><SRS>{text}</SRS><GeoTransform>1, 2, 0, 3, 0, -2</GeoTransform><Metadata>"
        '<MDI key="SENSOR">x</MDI></Metadata></PAMDataset>'
    )
    info = copied(path, tmp_path / "b.tif")
    assert not_kept(info, "tiff") == ("items of .aux.xml",)
    with by_gdal(path) as expected, by_gdal(tmp_path / "b.tif") as found:
        assert found.transform == expected.transform == Affine(2, 0, 1, 0, -2, 3)
        assert found.crs == expected.crs == rasterio.crs.CRS.from_epsg(32634)


def test_rational_polynomials_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS)
    offsets = ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
    lines = [f"{n}_OFF: +00{i}.5 units" for i, n in enumerate(offsets, 1)]
    lines += [f"{n}_SCALE: {i * 100}" for i, n in enumerate(offsets, 1)]
    for part in ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN"):
        lines += [f"{part}_COEFF_{i}: {i * 1e-3:+.6E}" for i in range(1, 21)]
    (tmp_path / "a_RPC.TXT").write_text("\n".join(lines))
    info = copied(path, tmp_path / "b.tif")
    assert info.metadata.geo.rpc and "RPC" in not_kept(info, "png")
    with by_gdal(path) as expected, by_gdal(tmp_path / "b.tif") as found:
        before, after = (f.rpcs.to_dict() for f in (expected, found))
    assert {k: v for k, v in after.items() if "err" not in k} == {
        k: v for k, v in before.items() if "err" not in k
    }
    (tmp_path / "a_RPC.TXT").write_text("\n".join(lines[:-1]))
    assert not open_source(path).info.metadata.geo.rpc


@pytest.mark.parametrize("more", [{"GMLJP2": "NO"}, {"GeoJP2": "NO"}])
def test_boxes_of_jpeg_2000(tmp_path: Path, more: dict[str, str]) -> None:
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 12, "width": 20}
    with rasterio.open(path, "w", **profile, crs=UTM33, transform=PLACE) as file:
        file.write(PIXELS, 1)
    options = {"QUALITY": 100, "REVERSIBLE": "YES", **more}
    gdal_copy(path, tmp_path / "a.jp2", driver="JP2OpenJPEG", **options)
    (tmp_path / "a.jp2.aux.xml").unlink(missing_ok=True)
    info = copied(tmp_path / "a.jp2", tmp_path / "b.tif")
    assert info.metadata.geo.crs == "EPSG:32633" and not_kept(info, "tiff") == ()
    with by_gdal(tmp_path / "b.tif") as found:
        assert found.crs == UTM33 and found.transform == PLACE
        np.testing.assert_array_equal(found.read(1), PIXELS)


def cf_group(path: Path, version: Any, attributes: dict[str, Any]) -> Any:
    """Two bands of rows and columns with coordinates and a grid mapping, as xarray writes them."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    coordinates = {
        "x": 5e5 + 10 * (np.arange(20) + 0.5),
        "y": 5e6 - 10 * (np.arange(12) + 0.5),
    }
    pixels = {name: (PIXELS.astype(np.uint16), ("y", "x")) for name in ("b02", "b03")}
    for name, (values, names) in ({n: (v, (n,)) for n, v in coordinates.items()} | pixels).items():
        more: dict[str, Any] = {"dimension_names": names} if version == 3 else {}
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, **more)
        array[...] = values
        array.attrs.update({} if version == 3 else {"_ARRAY_DIMENSIONS": list(names)})
        array.attrs.update(attributes if len(names) == 2 else {})
    group.create_array("crs_of_it", shape=(), dtype="i4").attrs["crs_wkt"] = UTM33.to_wkt()
    return group


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("version", [2, 3])
def test_cf_places_and_scales(tmp_path: Path, version: int) -> None:
    attributes = {"scale_factor": 1e-4, "add_offset": -0.1, "units": "1", "long_name": "blue"}
    cf_group(tmp_path / "s2.zarr", version, attributes | {"grid_mapping": "crs_of_it"})
    with pytest.raises(ImageError, match=r"a group of several arrays; give one: .*s2.zarr/b02, "):
        open_source(tmp_path / "s2.zarr")
    info = copied(tmp_path / "s2.zarr" / "b02", tmp_path / "b.tif")
    assert not_kept(info, "tiff") == not_kept(info, "ome-zarr") == ()
    copied(tmp_path / "s2.zarr" / "b02", tmp_path / "b.ome.zarr")
    own = zarr.open_array(tmp_path / "b.ome.zarr" / "0", mode="r").attrs
    assert (own["scale_factor"], own["add_offset"]) == (1e-4, -0.1)
    copied(tmp_path / "b.ome.zarr", tmp_path / "c.tif")
    for name in ("b.tif", "c.tif"):
        with by_gdal(tmp_path / name) as found:
            assert found.crs == UTM33 and found.transform == PLACE
            assert (found.scales, found.offsets) == ((1e-4,), (-0.1,))
            assert (found.units, found.descriptions) == (("1",), ("blue",))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "attributes",
    [
        {"proj:epsg": 32633},
        {"proj:code": "EPSG:32633"},
        {"_CRS": {"url": "http://www.opengis.net/def/crs/EPSG/0/32633"}},
        {"_CRS": {"wkt": UTM33.to_wkt()}},
    ],
)
def test_other_words_for_the_system(tmp_path: Path, attributes: dict[str, Any]) -> None:
    cf_group(tmp_path / "s2.zarr", 2, attributes)
    assert open_source(tmp_path / "s2.zarr" / "b03").info.metadata.geo.crs == "EPSG:32633"


def test_systems_without_a_number_keep_their_text() -> None:
    text = 'PROJCS["Mine",GEOGCS["GCS_WGS_1984"],PROJECTION["Mercator"]]'
    tags = {tag[0]: tag[3] for tag in place_tags(GeoPlace((0, 1, 0, 0, 0, -1), text))}
    assert tags[34737] == f"ESRI PE String = {text}|" and 32767 in tags[34735]
    assert not GeoPlace(wkt='GEOGCS["Mine"]').is_said


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (UTM33.to_wkt(), 32633),
        (UTM33.to_wkt(version="WKT2_2019"), 32633),
        ('PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984"]]', 32633),
        ('GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]]', 4326),
        ("urn:ogc:def:crs:EPSG::3857", 3857),
        ("EPSG:3857", 3857),
        ('LOCAL_CS["x"]', 0),
    ],
)
def test_numbers_of_systems(text: str, code: int) -> None:
    assert epsg_of(text) == code


def test_uneven_coordinates_say_no_place() -> None:
    assert transform_of_centres([0, 1, 3], [0, 1, 2]) is None
    assert transform_of_centres([0.5, 1.5], [9.5, 8.5]) == (0, 1, 0, 10, 0, -1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_geozarr_out(tmp_path: Path, version: str) -> None:
    attributes = {"scale_factor": 1e-4, "add_offset": -0.1, "grid_mapping": "crs_of_it"}
    cf_group(tmp_path / "s2.zarr", 3, attributes)
    source, target = open_source(tmp_path / "s2.zarr" / "b02"), tmp_path / "b.geo.zarr"
    options = SinkOptions(target, encoding=Encoding(ome_zarr=version))
    sink = open_sink(options, source.info, "geozarr")
    box = Box(0, 0, 12, 20)
    sink.write((0, 0, 0), box, source.read((0, 0, 0), box))
    sink.close()
    group = zarr.open_group(target, mode="r")
    np.testing.assert_allclose(group["x"][:2], [5e5 + 5, 5e5 + 15])
    np.testing.assert_allclose(group["y"][:2], [5e6 - 5, 5e6 - 15])
    assert group["spatial_ref"].attrs["spatial_ref"] == "EPSG:32633"
    own = group["0"].attrs
    assert (own["grid_mapping"], own["proj:code"]) == ("spatial_ref", "EPSG:32633")
    assert (own["scale_factor"], own["add_offset"]) == (1e-4, -0.1)
    again, geo = open_source(target / "0").info.metadata.geo, source.info.metadata.geo
    assert (again.crs, again.transform) == (geo.crs, geo.transform)
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    with pytest.raises(ImageError, match="GeoZarr is for images with a place on Earth"):
        other = SinkOptions(tmp_path / "c.geo.zarr")
        open_sink(other, open_source(tmp_path / "a.tif").info, "geozarr")
