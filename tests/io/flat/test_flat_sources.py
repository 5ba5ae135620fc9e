"""NumPy .npy and PNM: boxes straight from the file, every order and type; vendor files named."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.io.metadata import DisplayFacts, Metadata, ReadingFacts
from unetmm.io.open import open_source

BOX = Box(3, 4, 17, 29)


def values(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    return (np.random.default_rng(4).random(shape) * 200).astype(dtype)


SHAPES = [
    ((20, 30), "YX"),
    ((20, 30, 3), "YXS"),
    ((20, 30, 4), "YXS"),
    ((5, 20, 30), "ZYX"),
    ((2, 3, 20, 30), "CZYX"),
    ((2, 2, 3, 20, 30), "TCZYX"),
]


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "f2", "f4", ">f8", "i4"])
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_npy_boxes(tmp_path: Path, shape: tuple[int, ...], axes: str, dtype: str) -> None:
    pixels = values(shape, dtype)
    np.save(tmp_path / "a.npy", pixels)
    source = open_source(tmp_path / "a.npy")
    assert (source.info.axes, source.info.shape) == (axes, shape)
    assert source.info.alpha == (shape[-1] == 4)
    assert source.resident_bytes == source.read_bytes(100, 100) == 0
    for plane in source.info.planes:
        wanted = pixels[tuple(plane["TCZ".index(a)] for a in axes if a in "TCZ")]
        found = source.read(plane, BOX)
        assert found.dtype.isnative and found.dtype == source.info.dtype
        np.testing.assert_array_equal(found.reshape(wanted[3:17, 4:29].shape), wanted[3:17, 4:29])
    source.close()


def test_npy_in_fortran_order(tmp_path: Path) -> None:
    pixels = np.asfortranarray(values((20, 30), ">u2"))
    np.save(tmp_path / "a.npy", pixels)
    found = open_source(tmp_path / "a.npy").read((0, 0, 0), BOX)
    np.testing.assert_array_equal(found[..., 0], pixels[3:17, 4:29])
    np.save(tmp_path / "b.npy", np.asfortranarray(values((5, 20, 30), "u1")))
    with pytest.raises(ImageError, match="Fortran order.*ascontiguousarray"):
        open_source(tmp_path / "b.npy")


REFUSED = [
    ("one axis", np.zeros(5), "2 to 5 axes"),
    ("complex", np.zeros((4, 5), complex), "complex128 cannot be restored"),
    ("64-bit", np.zeros((4, 5), np.int64), "int64 cannot be restored"),
    ("empty", np.zeros((0, 5)), "no pixels"),
    ("objects", np.array([[{}]]), "cannot read it as NPY"),
    ("fields", np.zeros((4, 5), "u1,u1"), "cannot be restored"),
]


@pytest.mark.parametrize(("note", "array", "text"), REFUSED, ids=[r[0] for r in REFUSED])
def test_npy_that_is_no_image(tmp_path: Path, note: str, array: Any, text: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(ImageError, match=text) as caught:
        open_source(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("keep", [9, 60, 1000])
def test_cut_npy_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.npy"
    np.save(path, values((40, 30), "u2"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ImageError, match="cannot read it as NPY"):
        open_source(path)


def test_pnm_boxes(tmp_path: Path) -> None:
    for name, pixels in (("a.ppm", values((20, 30, 3), "u1")), ("a.pgm", values((20, 30), "u1"))):
        Image.fromarray(pixels).save(tmp_path / name)
        found = open_source(tmp_path / name).read((0, 0, 0), BOX)
        np.testing.assert_array_equal(
            found.reshape(14, 25, -1), pixels[3:17, 4:29].reshape(14, 25, -1)
        )


def test_12_bit_pgm_with_comments(tmp_path: Path) -> None:
    pixels = values((20, 30), "u2")
    head = b"P5 # made by hand\n# really\n30\t20\n4095\n"
    (tmp_path / "a.pgm").write_bytes(head + pixels.astype(">u2").tobytes())
    source = open_source(tmp_path / "a.pgm")
    assert source.info.dtype == np.uint16 and source.info.metadata == Metadata(
        display=DisplayFacts(bits=12), reading=ReadingFacts(left_out=("comments",))
    )
    np.testing.assert_array_equal(source.read((0, 0, 0), BOX)[..., 0], pixels[3:17, 4:29])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"P6 9999999 9999999 255\n", "truncated"),
        (b"P5 -3 4 255\n", "no valid PGM"),
        (b"P5 0 4 255\n", "claims 0 x 4"),
        (b"P6 3 4 70000\n", "up to 70000"),
        (b"P5", "no valid PGM"),
    ],
)
def test_bad_pnm_is_refused(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "a.ppm").write_bytes(data)
    with pytest.raises(ImageError, match=text):
        open_source(tmp_path / "a.ppm")


@pytest.mark.parametrize(
    ("data", "name"), [(b"ZISRAWFILE", "CZI"), (b"\xda\xce\xbe\n", "ND2"), (b"\x70\0\0\0", "LIF")]
)
def test_vendor_files_name_the_extra(
    tmp_path: Path, data: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)  # as if it were not installed
    (tmp_path / "a").write_bytes(data + bytes(100))
    with pytest.raises(ImageError, match=rf"{name} file; .*pip install bioio bioio-"):
        open_source(tmp_path / "a")


class FakeBioImage:
    """What the adapter uses of bioio.BioImage."""

    pixels = values((2, 3, 4, 20, 30), "u2")
    dims = SimpleNamespace(T=2, C=3, Z=4, Y=20, X=30)
    dtype = pixels.dtype
    physical_pixel_sizes = SimpleNamespace(Z=0.3, Y=0.1, X=None)
    channel_names = ("a", "b", "c")
    scenes = ("first", "second")

    def __init__(self, path: Path) -> None:
        self.dask_data = da.from_array(self.pixels, chunks=(1, 1, 1, 20, 30))


def test_vendor_planes_through_bioio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace(BioImage=FakeBioImage))
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    source = open_source(tmp_path / "a.czi")
    info = source.info
    assert (info.format, info.axes, info.shape) == ("czi", "TCZYX", (2, 3, 4, 20, 30))
    assert info.pixel_size == {"Z": (0.3, "micrometer"), "Y": (0.1, "micrometer")}
    assert info.channel_names == ("a", "b", "c") and info.metadata.reading.other_scenes == 1
    for plane in ((1, 2, 3), (0, 1, 2)):
        wanted = FakeBioImage.pixels[plane][3:17, 4:29]
        np.testing.assert_array_equal(source.read(plane, BOX)[..., 0], wanted)
    monkeypatch.setattr(FakeBioImage, "dims", SimpleNamespace(T=2, C=3, Z=4, Y=20, X=30, S=3))
    with pytest.raises(ImageError, match="holds colours in CZI; export it"):
        open_source(tmp_path / "a.czi")
