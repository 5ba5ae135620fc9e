"""OME-Zarr: versions 2 and 3, chunked and sharded, with and without metadata."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.intensities.validity import NoData
from unetmm.io.image import DTYPES, Box, ImageInfo, Plane, SinkOptions
from unetmm.io.metadata import DisplayFacts, GeoFacts, Metadata, PhotoFacts, ReadingFacts, TiffFacts
from unetmm.io.omezarr.kept import pack_metadata, unpack_metadata
from unetmm.io.open import open_sink, open_source

AXES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def random_pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    return (np.random.default_rng(5).random(shape) * 120).astype(dtype)


def multiscales(axes: str, scale: list[float], units: dict[str, str]) -> list[dict[str, Any]]:
    entries = [
        {"name": a, "type": AXES[a]} | ({"unit": units[a]} if a in units else {}) for a in axes
    ]
    transforms = [{"type": "scale", "scale": scale}]
    return [{"axes": entries, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}]


def write_image(path: Path, pixels: NDArray[Any], zarr_format: int, **options: Any) -> None:
    """An image of axes czyx with every kind of metadata."""
    image = multiscales("czyx", [1, 2, 0.5, 0.25], {a: "micrometer" for a in "zyx"})
    omero = {"channels": [{"label": f"channel {i}"} for i in range(len(pixels))]}
    ome: dict[str, Any] = {"multiscales": image, "omero": omero}
    attributes = {"ome": ome | {"version": "0.5"}} if zarr_format == 3 else ome
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format, attributes=attributes)  # type: ignore[arg-type]
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, **options)
    array[...] = pixels


STORES: list[tuple[str, int, dict[str, Any]]] = [
    ("version 2", 2, {"chunks": (1, 1, 16, 16)}),
    ("version 3", 3, {"chunks": (1, 1, 16, 16)}),
    ("sharded", 3, {"chunks": (1, 1, 8, 8), "shards": (1, 1, 32, 32)}),
    ("chunks of several planes", 3, {"chunks": (2, 3, 16, 32)}),
    ("one chunk, larger than the image", 3, {"chunks": (4, 4, 64, 64)}),
]


@pytest.mark.parametrize(("note", "version", "options"), STORES, ids=[s[0] for s in STORES])
def test_box_reads_equal_whole_reads(
    tmp_path: Path, note: str, version: int, options: dict[str, Any]
) -> None:
    pixels = random_pixels((2, 3, 37, 53))
    write_image(tmp_path / "a.zarr", pixels, version, **options)
    source = open_source(tmp_path / "a.zarr")
    info = source.info
    assert (info.format, info.axes, info.shape) == ("ome-zarr", "CZYX", pixels.shape)
    assert info.pixel_size == {
        "Z": (2.0, "micrometer"),
        "Y": (0.5, "micrometer"),
        "X": (0.25, "micrometer"),
    }
    assert info.channel_names == ("channel 0", "channel 1")
    for _, c, z in info.planes:
        for y in range(0, 37, 13):
            found = source.read((0, c, z), Box(y, 5, min(37, y + 13), 50))
            np.testing.assert_array_equal(found[..., 0], pixels[c, z, y : y + 13, 5:50])
    chunk_bytes = int(np.prod(options["chunks"])) * 2
    assert chunk_bytes <= source.read_bytes(37, 53) <= 4 * chunk_bytes


def test_transformations_of_image_and_dataset_follow_each_other(tmp_path: Path) -> None:
    """x = 10 * (0.5 * i + 3) + 1: the dataset's come first."""
    image = multiscales("yx", [0.5, 0.5], {"x": "micrometer", "y": "micrometer"})
    image[0]["datasets"][0]["coordinateTransformations"].append(
        {"type": "translation", "translation": [0, 3]}
    )
    image[0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [10, 10]},
        {"type": "translation", "translation": [0, 1]},
    ]
    omero = {"channels": [{"color": "00FF00", "window": {"start": 1, "end": 9}}]}
    group = zarr.open_group(
        str(tmp_path / "a.zarr"),
        mode="w",
        zarr_format=2,
        attributes={"multiscales": image, "omero": omero},
    )
    group.create_array("0", data=random_pixels((9, 8)))
    info = open_source(tmp_path / "a.zarr").info
    assert info.pixel_size == {"Y": (5.0, "micrometer"), "X": (5.0, "micrometer")}
    assert info.metadata.microscopy.origin == {"X": (31.0, "micrometer")}
    assert info.metadata.microscopy.omero == omero


BARE = [
    ("2-D", (37, 53), "YX"),
    ("3-D", (5, 37, 53), "ZYX"),
    ("3-D with colours last", (37, 53, 3), "YXS"),
    ("4-D", (2, 5, 37, 53), "CZYX"),
    ("5-D", (2, 3, 2, 37, 53), "TCZYX"),
]


@pytest.mark.parametrize(("note", "shape", "axes"), BARE, ids=[b[0] for b in BARE])
def test_axes_of_bare_arrays_are_guessed(
    tmp_path: Path, note: str, shape: tuple[int, ...], axes: str
) -> None:
    pixels = random_pixels(shape)
    zarr.save_array(str(tmp_path / "a.zarr"), pixels)
    source = open_source(tmp_path / "a.zarr")
    assert (source.info.format, source.info.axes) == ("zarr", axes)
    last: Plane = source.info.planes[-1]
    where = tuple(last["TCZ".index(a)] for a in axes if a in "TCZ")
    found = source.read(last, Box(3, 4, 37, 53))
    np.testing.assert_array_equal(found.squeeze(), pixels[where][3:, 4:])


SINKS: list[tuple[str, str, tuple[int, ...], str, dict[str, Any]]] = [
    ("grey", "YX", (37, 53), "YX", {}),
    ("smaller than a chunk", "YX", (5, 7), "YX", {}),
    ("RGB", "YXS", (37, 53, 3), "SYX", {}),
    ("RGBA", "YXS", (37, 53, 4), "SYX", {"alpha": True}),
    ("five axes", "TCZYX", (2, 3, 2, 20, 18), "TCZYX", {"channel_names": ("a", "b", "c")}),
    ("stack of RGB", "ZYXS", (3, 20, 18, 3), "SZYX", {}),
    ("nodata that JSON lacks", "YX", (37, 53), "YX", {"nodata": NoData.of(float("inf"))}),
]


@pytest.mark.parametrize(
    ("note", "axes", "shape", "axes_read", "more"), SINKS, ids=[s[0] for s in SINKS]
)
def test_boxes_in_random_order_from_threads_make_the_image(
    tmp_path: Path,
    note: str,
    axes: str,
    shape: tuple[int, ...],
    axes_read: str,
    more: dict[str, Any],
) -> None:
    pixels, path = random_pixels(shape), tmp_path / "a.ome.zarr"
    sizes = {"X": (0.5, "micrometer"), "Y": (0.75, "micrometer")}
    info = ImageInfo("any", axes, shape, pixels.dtype, (1, 1), pixel_size=sizes, **more)
    sink = open_sink(SinkOptions(path, chunk_px=16), info)
    rows, columns = sink.chunk

    def part(plane: Plane, box: Box) -> NDArray[Any]:
        where = tuple(plane["TCZ".index(a)] for a in axes if a in "TCZ")
        found = pixels[where][box.y0 : box.y1, box.x0 : box.x1]
        return found.reshape(box.height, box.width, info.samples)

    boxes = [
        (plane, Box(y, x, min(y + rows, info.height), min(x + 2 * columns, info.width)))
        for plane in info.planes
        for y in range(0, info.height, rows)
        for x in range(0, info.width, 2 * columns)
    ]
    order = np.random.default_rng(1).permutation(len(boxes))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: sink.write(*boxes[i], part(*boxes[i])), order))
    assert not path.exists()
    sink.close()
    source = open_source(path)
    for field in ("alpha", "pixel_size", "channel_names", "nodata"):
        assert getattr(source.info, field) == getattr(info, field)
    assert source.info.axes == axes_read
    for plane in info.planes:
        box = Box(1, 2, info.height, info.width)
        np.testing.assert_array_equal(source.read(plane, box), part(plane, box))
    assert zarr.open_group(str(path), mode="r").attrs["ome"]["version"] == "0.5"  # type: ignore[index,call-overload]


def test_metadata_of_other_formats_survives_and_damaged_one_is_left_out() -> None:
    tags = ((33550, 12, 3, (10.0, 10.0, 0.0)), (42112, 2, 5, "<a/>"), (1, 7, 2, b"ab"))
    kept = Metadata(
        PhotoFacts(exif=bytes(range(256)), resolution=(np.float32(72), 72.0, "inch")),
        TiffFacts(tags=tags),
        GeoFacts(crs="EPSG:32633", transform=(1.0, 0.0)),
        display=DisplayFacts(bits=12, premultiplied=True),
    )
    known = replace(kept, reading=ReadingFacts(compression="not kept: it is not the image's"))
    stored = json.loads(json.dumps(pack_metadata(known)))
    assert unpack_metadata(stored) == kept
    assert unpack_metadata(stored | {"geo": {"crs": "EPSG:1", "of later versions": 1}}) == replace(
        kept, geo=GeoFacts(crs="EPSG:1")
    )
    for damaged in (stored | {"exif": {"base64": "?"}}, stored | {"geo": 7}, None, {}, 3):
        assert unpack_metadata(damaged) == Metadata()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_survives_source_and_sink(tmp_path: Path, dtype: str) -> None:
    pixels = random_pixels((20, 18, 1), dtype)
    info = ImageInfo("any", "YX", (20, 18), pixels.dtype, (1, 1))
    sink = open_sink(SinkOptions(tmp_path / "a.zarr"), info)
    sink.write((0, 0, 0), Box(0, 0, 20, 18), pixels)
    sink.close()
    found = open_source(tmp_path / "a.zarr").read((0, 0, 0), Box(0, 0, 20, 18))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


GROUPS: list[tuple[str, dict[str, Any], str]] = [
    ("nothing said", {}, "without OME 'multiscales'"),
    ("plate", {"plate": {"wells": [{"path": "B/03"}]}}, "B/03/0"),
    ("well", {"well": {"images": []}}, "give one"),
    ("several images", {"bioformats2raw.layout": 3}, "try .*/0"),
    ("image not there", {"multiscales": multiscales("yx", [1, 1], {})}, "not there"),
    ("no datasets", {"multiscales": [{"axes": []}]}, "cannot read it as Zarr|axes"),
    ("twice the same axis", {"multiscales": multiscales("yyx", [1, 1, 1], {})}, "once each"),
]


@pytest.mark.parametrize(("note", "attributes", "text"), GROUPS, ids=[g[0] for g in GROUPS])
def test_groups_that_are_no_image_are_refused(
    tmp_path: Path, note: str, attributes: dict[str, Any], text: str
) -> None:
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2, attributes=attributes)
    with pytest.raises(ImageError, match=text):
        open_source(tmp_path / "a.zarr")


def test_damaged_chunk_and_damaged_metadata_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", random_pixels((2, 3, 37, 53)), 3, chunks=(1, 1, 64, 64))
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "0" / "0" / "0").write_bytes(b"no such codec")
    source = open_source(tmp_path / "a.zarr")
    with pytest.raises(ImageError, match="cannot decode"):
        source.read((0, 0, 0), Box(0, 0, 5, 5))
    (tmp_path / "a.zarr" / "0" / "zarr.json").write_text("{")
    with pytest.raises(ImageError, match="cannot read it as Zarr"):
        open_source(tmp_path / "a.zarr")


def test_colours_and_channels_at_once_are_refused(tmp_path: Path) -> None:
    info = ImageInfo("any", "CYXS", (2, 5, 6, 3), np.dtype("u1"), (1, 1))
    with pytest.raises(ImageError, match="write .tif"):
        open_sink(SinkOptions(tmp_path / "a.zarr"), info)
    assert not list(tmp_path.iterdir())
