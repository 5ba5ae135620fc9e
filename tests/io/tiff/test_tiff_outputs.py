"""TIFF outputs keep pixels and metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tiff_arrays import COMPRESSIONS, boxes_of, fill, random_pixels

from unetmm.io.image import DTYPES, Encoding, ImageInfo, SinkOptions
from unetmm.io.open import open_sink, open_source


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_survives_source_and_sink(tmp_path: Path, dtype: str, compression: str) -> None:
    pixels = random_pixels((37, 53), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    info = open_source(tmp_path / "a.tif").info
    options = SinkOptions(tmp_path / "b.tif", chunk_px=16, encoding=Encoding(compression))
    sink = open_sink(options, info)
    fill(sink, info, pixels)
    sink.close()
    found = tifffile.imread(tmp_path / "b.tif")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


SINKS: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
    ("grey, ragged edges", "YX", (37, 53), {}),
    ("smaller than a tile", "YX", (5, 7), {}),
    ("exactly one tile", "YX", (16, 16), {}),
    ("RGB", "YXS", (37, 53, 3), {}),
    ("RGBA", "YXS", (37, 53, 4), {"alpha": True}),
    ("grey and alpha", "YXS", (37, 53, 2), {"alpha": True}),
    ("five axes", "TCZYX", (2, 3, 4, 20, 18), {}),
    ("unusual order", "ZCYX", (4, 2, 20, 18), {}),
    ("stack of RGB", "ZYXS", (3, 20, 18, 3), {}),
    ("stack of one-tile pages", "CYX", (3, 16, 16), {}),
]


@pytest.mark.parametrize(("note", "axes", "shape", "more"), SINKS, ids=[row[0] for row in SINKS])
def test_boxes_in_random_order_from_threads_make_the_image(
    tmp_path: Path, note: str, axes: str, shape: tuple[int, ...], more: dict[str, Any]
) -> None:
    pixels = random_pixels(shape)
    info = ImageInfo("any", axes, shape, pixels.dtype, (1, 1), **more)
    sink = open_sink(SinkOptions(tmp_path / "a.tif", chunk_px=16), info)
    fill(sink, info, pixels)
    sink.close()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
    found = open_source(tmp_path / "a.tif").info
    assert (found.axes, found.shape, found.alpha) == (axes, shape, info.alpha)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.pages[0].software == "unetmm"  # type: ignore[union-attr]
        assert tif.is_ome == (len(info.planes) > 1)


def test_tiff_to_omezarr_to_tiff_keeps_axes_sizes_and_names(tmp_path: Path) -> None:
    pixels = random_pixels((2, 3, 2, 37, 53))
    metadata = {
        "axes": "TCZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.6,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 300.0,
        "PhysicalSizeZUnit": "nm",
        "TimeIncrement": 2.0,
        "TimeIncrementUnit": "s",
        "Channel": {"Name": ["DAPI", "a<b", "µ-tubule"]},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata=metadata)
    first = open_source(tmp_path / "a.ome.tif").info
    previous = tmp_path / "a.ome.tif"
    for name in ("b.ome.zarr", "c.tif"):
        source = open_source(previous)
        sink = open_sink(SinkOptions(tmp_path / name, chunk_px=32), source.info)
        for plane, box in boxes_of(source.info, *sink.chunk):
            sink.write(plane, box, source.read(plane, box))
        sink.close()
        previous = tmp_path / name
    last = open_source(tmp_path / "c.tif").info
    assert last.axes == first.axes == "TCZYX"
    assert last.pixel_size == first.pixel_size
    assert last.pixel_size["Z"] == (300.0, "nanometer")
    assert last.channel_names == first.channel_names == ("DAPI", "a<b", "µ-tubule")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "c.tif"), pixels)


def test_profile_resolution_nodata_and_place_on_earth_are_kept(tmp_path: Path) -> None:
    pixels = random_pixels((37, 53))
    scale = (33550, 12, 3, (10.0, 10.0, 0.0), True)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        resolution=(300, 200),
        resolutionunit="INCH",
        iccprofile=b"profile " * 20,
        extratags=[scale, (42113, 2, 0, "-1", True)],
    )
    info = open_source(tmp_path / "a.tif").info
    assert info.nodata.single == -1
    sink = open_sink(SinkOptions(tmp_path / "b.tif", chunk_px=16), info)
    fill(sink, info, pixels)
    sink.close()
    kept = open_source(tmp_path / "b.tif").info
    assert kept.metadata.photo == info.metadata.photo
    assert kept.metadata.tiff.tags == info.metadata.tiff.tags != ()
    assert kept.nodata == info.nodata


def test_bands_go_back_into_one_page(tmp_path: Path) -> None:
    pixels = random_pixels((5, 37, 53))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="separate")
    info = open_source(tmp_path / "a.tif").info
    sink = open_sink(SinkOptions(tmp_path / "b.tif", chunk_px=16), info)
    fill(sink, info, pixels)
    sink.close()
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert len(tif.pages) == 1
        np.testing.assert_array_equal(tif.asarray(), pixels)
