"""OME-Zarr in a zip archive, both ways."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from unetmm.errors import ImageError
from unetmm.io.image import Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.open import open_sink, open_source

PIXELS = (np.random.default_rng(5).random((40, 53)) * 900).astype(np.uint16)


def written(source: Path, target: Path, **encoding: object) -> ImageInfo:
    """A copy in chunks of 16 px; gives what is known of it."""
    opened = open_source(source)
    info = opened.info
    options = SinkOptions(target, True, 16, Encoding(**encoding))  # type: ignore[arg-type]
    sink = open_sink(options, info)
    for y in range(0, 40, 16):
        for x in range(0, 53, 16):
            box = Box(y, x, min(y + 16, 40), min(x + 16, 53))
            sink.write((0, 0, 0), box, opened.read((0, 0, 0), box))
    sink.close()
    opened.close()
    copy = open_source(target)
    copy.close()
    return copy.info


def test_an_archive_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, PIXELS, resolution=(20000, 20000), resolutionunit=3)
    info = written(source, tmp_path / "a.ozx")
    assert info.format == "ome-zarr" and info.pixel_size["X"] == (0.5, "micrometer")
    (tmp_path / "again").mkdir()
    written(source, tmp_path / "again" / "a.ozx")
    again = (tmp_path / "again" / "a.ozx").read_bytes()
    assert (tmp_path / "a.ozx").read_bytes() == again, "no date is in it"
    with zipfile.ZipFile(tmp_path / "a.ozx") as archive:
        assert archive.namelist()[0] == "zarr.json"
        assert json.loads(archive.comment)["ome"]["version"] == "0.5"
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
    store = zarr.storage.ZipStore(tmp_path / "a.ozx", mode="r")
    np.testing.assert_array_equal(np.asarray(zarr.open(store, mode="r")["0"][...]), PIXELS)
    store.close()
    written(tmp_path / "a.ozx", tmp_path / "c.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "c.tif"), PIXELS)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", PIXELS)
    with pytest.raises(ImageError, match="zip archive .* without a Zarr at its top"):
        open_source(tmp_path / "a.npz")
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    with pytest.raises(ImageError, match=r"\.ozx holds OME-Zarr 0\.5"):
        written(tmp_path / "a.tif", tmp_path / "b.ozx", ome_zarr="0.4")
    (tmp_path / "c.ozx").write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(ImageError, match="cannot read it as a zip archive"):
        open_source(tmp_path / "c.ozx")
