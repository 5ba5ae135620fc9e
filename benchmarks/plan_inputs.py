"""Images of random size, type and cut for `plans.py`, in every format that is read."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image

Pixels = np.ndarray[Any, Any]


def draw_pixels(draw: random.Random) -> tuple[Pixels, str]:
    """Pixels and their axes; sides from a few pixels to some thousand."""
    height, width = (int(10 ** draw.uniform(1.2, 3.3)) for _ in "yx")
    samples, planes = draw.choice((1, 1, 1, 3, 4)), draw.choice((1, 1, 1, 2, 5))
    shape, axes = (height, width), "YX"
    if planes > 1:
        shape, axes = (planes, *shape), "Z" + axes
    if samples > 1:
        shape, axes = (*shape, samples), axes + "S"
    rng = np.random.default_rng(draw.randrange(2**32))
    levels = {"uint8": 200, "uint16": 30000, "int16": 9000, "float32": 3.0, "float64": 1e5}
    dtype = draw.choice(list(levels) if samples == 1 else ["uint8", "uint16", "float32"])
    ramp = np.linspace(0.1, 1, width)[:, None] if samples > 1 else np.linspace(0.1, 1, width)
    pixels = levels[dtype] * ramp * (1 + 0.1 * rng.standard_normal(shape, np.float32))
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(pixels, limits.min, limits.max).astype(dtype), axes
    if draw.random() < 0.3:
        pixels[rng.random(shape) < 0.001] = np.nan
    return pixels.astype(dtype), axes


def write_input(folder: Path, pixels: Pixels, axes: str, draw: random.Random) -> Path:
    """The pixels in a random format that holds them."""
    fit = [kind for kind, holds in HOLDS.items() if holds(pixels, axes)]
    kind = draw.choice([*fit, "tif", "tiles"])
    path = folder / f"in.{'tif' if kind == 'tiles' else kind}"
    if kind in ("tif", "tiles"):
        _write_tiff(path, pixels, axes, draw, tiled=kind == "tiles")
    else:
        WRITERS[kind](path, pixels, axes, draw)
    return path


def _write_tiff(path: Path, pixels: Pixels, axes: str, draw: random.Random, *, tiled: bool) -> None:
    more: dict[str, Any] = {"compression": draw.choice((None, "zlib", "lzw", "zstd"))}
    if tiled:
        more["tile"] = (draw.choice((64, 256, 512)),) * 2
    else:
        more["rowsperstrip"] = draw.choice((1, 16, 100, len(pixels)))
    if more["compression"] and pixels.dtype.kind in "ui":
        more["predictor"] = draw.random() < 0.5
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, metadata={"axes": axes}, **more)


def _npy(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    np.save(path, pixels)


def _png(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    path.write_bytes(imagecodecs.png_encode(pixels))


def _jpeg(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    Image.fromarray(pixels).save(path, progressive=draw.random() < 0.5)


def _jpeg2000(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="jp2"))


def _pillow(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    Image.fromarray(pixels).save(path)


def _heic(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    import pillow_heif

    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path)


def _jpeg_xl(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    path.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=draw.random() < 0.5, effort=3))


def _zarr(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    chunks = (1,) * (pixels.ndim - 2) + (draw.choice((64, 300, 512)),) * 2
    zarr.create_array(path, data=pixels, chunks=tuple(map(min, chunks, pixels.shape)))


def _hdf5(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    import h5py

    chunks = (1,) * (pixels.ndim - 2) + tuple(min(200, n) for n in pixels.shape[-2:])
    packed = {"chunks": chunks, "compression": "gzip"} if draw.random() < 0.5 else {}
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=pixels, **packed)


def _nrrd(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    import nrrd

    nrrd.write(str(path), pixels.T, {"encoding": draw.choice(("raw", "gzip"))})


def _fits(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    bits = {"int16": 16, "float32": -32, "float64": -64}[pixels.dtype.name]
    sides = enumerate(pixels.shape[::-1], 1)
    cards = ["SIMPLE  =                    T", f"BITPIX  = {bits:20}"]
    cards += [f"NAXIS   = {pixels.ndim:20}"] + [f"NAXIS{i}  = {n:20}" for i, n in sides]
    header = "".join(f"{card:80}" for card in [*cards, "END"])
    data = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(
        header.ljust(-(-len(header) // 2880) * 2880).encode()
        + data.ljust(-(-len(data) // 2880) * 2880, b"\0")
    )


def _mrc(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    stack = pixels.reshape(-1, *pixels.shape[-2:])
    header = np.zeros(256, "<i4")
    header[:3] = header[7:10] = stack.shape[::-1]
    header[3] = {"int16": 1, "float32": 2, "uint16": 6}[pixels.dtype.name]
    header[10:13] = np.ones(3, "<f4").view("<i4")
    header[16:19] = 1, 2, 3
    header[52:54] = np.frombuffer(b"MAP DD\0\0", "<i4")
    path.write_bytes(header.tobytes() + stack.tobytes())


def _exr(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    import OpenEXR

    names = "RGBA" if axes.endswith("S") else "Y"
    planes = np.atleast_3d(pixels)
    channels = {
        n: np.ascontiguousarray(planes[..., i]) for i, n in enumerate(names[: planes.shape[-1]])
    }
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def _dicom(path: Path, pixels: Pixels, axes: str, draw: random.Random) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    header.Rows, header.Columns = pixels.shape[-2:]
    header.NumberOfFrames = pixels.size // (header.Rows * header.Columns)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.PixelData = pixels.tobytes()
    header.save_as(path, enforce_file_format=True)


def _has(dtypes: str, *axes: str) -> Callable[[Pixels, str], bool]:
    """Whether an image is of one of these types, and has some of these axes."""
    return lambda pixels, found: pixels.dtype.name in dtypes.split() and found in axes


WRITERS: dict[str, Callable[[Path, Pixels, str, random.Random], None]] = {
    "npy": _npy, "png": _png, "jpg": _jpeg, "jp2": _jpeg2000, "webp": _pillow, "bmp": _pillow,
    "avif": _pillow, "heic": _heic, "jxl": _jpeg_xl, "zarr": _zarr, "h5": _hdf5, "nrrd": _nrrd,
    "fits": _fits, "mrc": _mrc, "exr": _exr, "dcm": _dicom,
}  # fmt: skip
"""Extension -> what writes such a file."""
_GREY = ("YX", "ZYX")
HOLDS: dict[str, Callable[[Pixels, str], bool]] = {
    "npy": lambda pixels, axes: True,
    "png": _has("uint8 uint16", "YX", "YXS"),
    "jpg": lambda p, axes: p.dtype == np.uint8 and axes in ("YX", "YXS") and p.shape[-1] != 4,
    "jp2": _has("uint8 uint16", "YX", "YXS"),
    "webp": _has("uint8", "YXS"),
    "bmp": lambda p, axes: p.dtype == np.uint8 and axes in ("YX", "YXS") and p.shape[-1] != 4,
    "avif": _has("uint8", "YXS"),
    "heic": _has("uint8", "YXS"),
    "jxl": lambda p, axes: p.dtype.name in ("uint8", "uint16", "float32") and axes in ("YX", "YXS"),
    "zarr": lambda pixels, axes: not axes.endswith("S"),
    "h5": lambda pixels, axes: not axes.endswith("S"),
    "nrrd": _has("uint8 uint16 int16 float32 float64", *_GREY),
    "fits": _has("int16 float32 float64", *_GREY),
    "mrc": _has("uint16 int16 float32", *_GREY),
    "exr": _has("float32", "YX", "YXS"),
    "dcm": _has("uint16", *_GREY),
}
"""Extension -> whether such a file holds an image."""
