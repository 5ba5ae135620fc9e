"""DICOM, NRRD and OpenEXR are read frame by frame, or as a whole, as other software wrote them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import nrrd
import numpy as np
import OpenEXR
import pydicom
import pytest
import tifffile
from helpers import plane_of
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

import unetmm
from unetmm.errors import ImageError, MissingPackageError
from unetmm.io.image import Box
from unetmm.io.open import open_source

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (4, 60, 50)).astype(np.uint16)


def write_dicom(path: Path, pixels: NDArray[Any] | bytes, **more: Any) -> Path:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = more.pop("syntax", ExplicitVRLittleEndian)
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    shown = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16}
    for name, value in (shown | {"PixelRepresentation": 0} | more).items():
        setattr(header, name, value)
    header.BitsStored = more.get("BitsStored", header.BitsAllocated)
    header.HighBit = header.BitsStored - 1
    header.PixelData = pixels if isinstance(pixels, bytes) else pixels.tobytes()
    pydicom.dcmwrite(path, header, enforce_file_format=True)
    return path


def test_a_slice_of_signed_values_keeps_its_meaning(tmp_path: Path) -> None:
    values = STACK[0].astype(np.int16) // 2 - 1000
    path = write_dicom(
        tmp_path / "ct.dcm", values, Rows=60, Columns=50, PixelRepresentation=1, BitsStored=12,
        PixelSpacing=[0.5, 0.25], PixelPaddingValue=-1000, RescaleSlope=2, RescaleIntercept=-1024,
        SliceThickness=3, PatientName="Somebody",
    )  # fmt: skip
    source = open_source(path)
    info = source.info
    assert (info.axes, info.dtype, info.nodata.values) == ("YX", np.int16, (-1000.0,))
    assert info.pixel_size["Y"] == (0.5, "millimeter")
    assert info.metadata.display.bits == 12
    assert any("Rescale" in words for words in info.metadata.reading.left_out)
    assert np.array_equal(plane_of(source, (0, 0, 0))[..., 0], values)


def test_frames_are_planes(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", STACK, Rows=60, Columns=50, NumberOfFrames=4)
    source = open_source(path)
    assert (source.info.axes, source.info.shape) == ("ZYX", STACK.shape)
    assert np.array_equal(plane_of(source, (0, 0, 3))[..., 0], STACK[3])
    unetmm.restore(str(path), "tiny-mono", output=str(tmp_path / "out.npy"))
    restored = unetmm.restore(STACK, "tiny-mono", axes="ZYX")
    assert np.array_equal(np.load(tmp_path / "out.npy"), restored)


@pytest.mark.parametrize("placed", [False, True])
def test_a_slide_is_put_together_of_its_tiles(tmp_path: Path, placed: bool) -> None:
    picture = np.stack([np.add.outer(np.arange(40) * 4, np.arange(56) * k) for k in (1, 2, 0)], -1)
    picture = picture.clip(0, 255).astype(np.uint8)
    tiles = [
        np.pad(picture[y : y + 16, x : x + 24], ((0, 16), (0, 24), (0, 0)))[:16, :24]
        for y in range(0, 40, 16) for x in range(0, 56, 24)
    ]  # fmt: skip
    packed = []
    for tile in tiles:
        file = io.BytesIO()
        Image.fromarray(tile).save(file, "JPEG", quality=95, subsampling=0)
        packed.append(file.getvalue())
    order = list(range(9))
    more: dict[str, Any] = {"DimensionOrganizationType": "TILED_FULL"}
    if placed:
        order = order[::-1]
        groups = []
        for number in order:
            place, group = Dataset(), Dataset()
            place.RowPositionInTotalImagePixelMatrix = number // 3 * 16 + 1
            place.ColumnPositionInTotalImagePixelMatrix = number % 3 * 24 + 1
            group.PlanePositionSlideSequence = [place]
            groups.append(group)
        more = {"PerFrameFunctionalGroupsSequence": groups}
    path = write_dicom(
        tmp_path / "slide.dcm", encapsulate([packed[i] for i in order]), Rows=16, Columns=24,
        NumberOfFrames=9, TotalPixelMatrixRows=40, TotalPixelMatrixColumns=56, SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL", BitsAllocated=8, PlanarConfiguration=0,
        syntax=JPEGBaseline8Bit, **more,
    )  # fmt: skip
    source = open_source(path)
    assert (source.info.axes, source.info.shape, source.info.chunk) == (
        "YXS",
        (40, 56, 3),
        (16, 24),
    )
    assert np.abs(plane_of(source, (0, 0, 0)).astype(int) - picture).mean() < 4


@pytest.mark.parametrize("codec", ["ljpeg", "jpegls"])
def test_lossless_compressions_of_hospitals_are_read(tmp_path: Path, codec: str) -> None:
    values = STACK[0].astype(np.int16) // 2 - 1000
    stored = values.view(np.uint16) & 0xFFF  # of 12 bits, the highest of which is the sign
    encode = {"ljpeg": imagecodecs.ljpeg_encode, "jpegls": imagecodecs.jpegls_encode}[codec]
    syntax = {"ljpeg": JPEGLosslessSV1, "jpegls": JPEGLSLossless}[codec]
    path = write_dicom(
        tmp_path / "ct.dcm", encapsulate([encode(stored)]), Rows=60, Columns=50,
        PixelRepresentation=1, BitsStored=12, syntax=syntax,
    )  # fmt: skip
    source = open_source(path)
    assert source.info.dtype == np.int16
    assert np.array_equal(plane_of(source, (0, 0, 0))[..., 0], values)


def test_what_no_dicom_image_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    palette = write_dicom(
        tmp_path / "p.dcm", STACK[0], Rows=60, Columns=50, PhotometricInterpretation="PALETTE COLOR"
    )
    many = write_dicom(tmp_path / "m.dcm", STACK[0], Rows=60, Columns=50, NumberOfFrames=10**7)
    short = write_dicom(tmp_path / "s.dcm", STACK[0, :9], Rows=60, Columns=50)
    for path, words in ((palette, "PALETTE"), (many, "frames"), (short, "cannot decode")):
        with pytest.raises(ImageError, match=words):
            open_source(path).read((0, 0, 0), Box(0, 0, 60, 50))
    monkeypatch.setattr("unetmm.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"unetmm\[dicom\]"):
        open_source(palette)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("dtype", [np.uint16, ">i2", np.float32])
def test_nrrd_has_its_axes_and_sizes(tmp_path: Path, encoding: str, dtype: Any) -> None:
    path = tmp_path / "scan.nrrd"
    header = {"encoding": encoding, "spacings": [3.0, 0.5, 0.25], "units": ["mm"] * 3}
    nrrd.write(str(path), STACK.astype(dtype), header, index_order="C")
    source = open_source(path)
    assert (source.info.axes, source.info.shape) == ("ZYX", STACK.shape)
    sizes = {axis: size for axis, (size, unit) in source.info.pixel_size.items()}
    assert sizes == {"X": 3.0, "Y": 0.5, "Z": 0.25}
    for z in (3, 0):
        assert np.array_equal(plane_of(source, (0, 0, z))[..., 0], STACK[z].astype(dtype))


@pytest.mark.parametrize("is_turned", [False, True])
def test_nrrd_that_lies_askew_is_named(tmp_path: Path, is_turned: bool) -> None:
    directions = np.diag([0.5, 0.25, 3.0])
    if is_turned:
        directions[0, 1] = 0.1
    path = tmp_path / "a.nrrd"
    header = {"space": "left-posterior-superior", "space directions": directions}
    nrrd.write(str(path), STACK, header, index_order="C")
    lost = open_source(path).info.metadata.reading.left_out
    assert lost == (("fields of the NRRD (space directions)",) if is_turned else ())


def test_nrrd_of_colours_and_what_is_refused(tmp_path: Path) -> None:
    colours = RNG.integers(0, 255, (3, 50, 60)).astype(np.uint8)  # samples, columns, rows
    path = tmp_path / "photo.nrrd"
    nrrd.write(str(path), colours, {"kinds": ["RGB-color", "domain", "domain"], "encoding": "gzip"})
    source = open_source(path)
    assert source.info.axes == "YXS"
    assert np.array_equal(plane_of(source, (0, 0, 0)), colours.transpose(2, 1, 0))
    vectors = tmp_path / "vectors.nrrd"
    nrrd.write(str(vectors), colours, {"kinds": ["vector", "domain", "domain"]})
    apart = tmp_path / "apart.nhdr"
    nrrd.write(str(apart), STACK, {"encoding": "raw"}, detached_header=True)
    cut = tmp_path / "cut.nrrd"
    cut.write_bytes(path.read_bytes()[:-900])
    for wrong, words in ((vectors, "axes of kinds"), (apart, "another file"), (cut, "cannot")):
        with pytest.raises(ImageError, match=words):
            open_source(wrong).read((0, 0, 0), Box(0, 0, 60, 50))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_openexr_is_linear_light_in_floats(tmp_path: Path, dtype: Any) -> None:
    values = (RNG.random((60, 50, 4)) * 20).astype(dtype)
    path = tmp_path / "scene.exr"
    channels = {name: values[..., i].copy() for i, name in enumerate("RGBA")}
    channels["Z"] = values[..., 0].copy()
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))
    source = open_source(path)
    assert (source.info.axes, source.info.dtype, source.info.alpha) == ("YXS", dtype, True)
    assert "channels Z" in source.info.metadata.reading.left_out
    assert np.array_equal(plane_of(source, (0, 0, 0)), values)
    cut = tmp_path / "cut.exr"
    cut.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ImageError):
        open_source(cut).read((0, 0, 0), Box(0, 0, 60, 50))


def write_exr(path: Path, channels: dict[str, NDArray[Any]], **header: Any) -> Path:
    plain = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(plain | header, channels) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize("colours", ["RGBA", "YA"])
def test_colours_of_openexr_are_multiplied_by_opacity(tmp_path: Path, colours: str) -> None:
    values = RNG.random((40, 50)).astype(np.float32)
    path = write_exr(tmp_path / "a.exr", {name: values * 0.5 for name in colours})
    assert open_source(path).info.metadata.display.premultiplied
    unetmm.restore(str(path), "tiny-mono", output=str(tmp_path / "b.tif"))
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages[0].extrasamples == (1,), "associated"
    opaque = write_exr(tmp_path / "c.exr", dict.fromkeys("RGB", values))
    assert not open_source(opaque).info.metadata.display.premultiplied


def test_all_that_is_left_out_of_an_openexr_is_named(tmp_path: Path) -> None:
    plane = np.zeros((40, 50), np.float32)
    layers = [f"{layer}.{k}" for layer in ("N", "light_a", "diffuse.left") for k in "RGB"]
    channels = dict.fromkeys([*"RGB", "Z", "id", *layers], plane)
    window = {
        "dataWindow": (np.array([10, 5], "i4"), np.array([59, 44], "i4")),
        "displayWindow": (np.array([0, -5], "i4"), np.array([99, 74], "i4")),
    }
    path = write_exr(tmp_path / "a.exr", channels, **window, pixelAspectRatio=2.0)
    assert open_source(path).info.metadata.reading.left_out == (
        "channels Z id", "layer N (B G R)", "layer diffuse.left (B G R)", "layer light_a (B G R)",
        "place in the picture (from 10, 10 on, in 100 x 80)",
        "attributes of the OpenEXR (pixelAspectRatio)",
    )  # fmt: skip
    usual = write_exr(tmp_path / "b.exr", dict.fromkeys("RGB", plane))
    assert open_source(usual).info.metadata.reading.left_out == ()


def test_openexr_of_other_channels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "passes.exr"
    channels = {name: np.zeros((6, 5), np.float32) for name in ("N.X", "N.Y")}
    header = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))
    with pytest.raises(ImageError, match="neither R, G and B nor Y"):
        open_source(path)
