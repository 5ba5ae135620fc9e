"""Small files of every format that is read, made by code, to be damaged by `fuzz.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image

GREY = (np.add.outer(np.arange(40), np.arange(56)) * 300 % 60000).astype(np.uint16)
COLOUR = np.stack([GREY >> 8, GREY & 255, 255 - (GREY >> 8)], -1).astype(np.uint8)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME '
    'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0" Name="a">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="56" SizeY="40" SizeZ="3" '
    'SizeC="1" SizeT="1" PhysicalSizeX="0.2" PhysicalSizeXUnit="um">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="1" Name="DAPI"/><TiffData IFD="0" PlaneCount="3"/>'
    '<Plane TheZ="0" TheT="0" TheC="0" PositionX="1.5"/></Pixels></Image></OME>'
)


def _tiff(folder: Path) -> None:
    stack = np.stack([GREY, GREY // 2, GREY // 3])
    write: Any = tifffile.imwrite
    for name in ("none", "lzw", "deflate", "zstd", "packbits", "lzma"):
        write(folder / f"{name}.tif", GREY, compression=name, rowsperstrip=16)
    for name in ("deflate", "lzw"):
        write(folder / f"{name}-tiles.tif", stack, compression=name, tile=(16, 16), predictor=True)
    floats = GREY.astype(np.float32) / 7
    write(folder / "float.tif", floats, compression="deflate", predictor=3, bigtiff=True)
    write(folder / "big.tif", stack, bigtiff=True, byteorder=">")
    for name in ("jpeg", "jpeg2000", "png", "webp", "jpegxl"):
        write(folder / f"{name}.tif", COLOUR, compression=name, tile=(32, 32), photometric="rgb")
    write(folder / "imagej.tif", stack, imagej=True, metadata={"axes": "ZYX", "unit": "um"})
    write(folder / "ome.ome.tif", stack, description=OME.encode(), metadata=None)
    write(folder / "planar.tif", np.moveaxis(COLOUR, -1, 0), planarconfig="separate")
    write(folder / "shaped.tif", np.stack([stack, stack]), metadata={"axes": "TZYX"})
    image = Image.fromarray(COLOUR).quantize(16)
    image.save(folder / "palette.tif")
    pyramid: Any = tifffile.TiffWriter(folder / "pyramid.tif")
    with pyramid as writer:
        writer.write(GREY, tile=(16, 16), subifds=1)
        writer.write(GREY[::2, ::2], tile=(16, 16), subfiletype=1)


def _png(folder: Path) -> None:
    for name, pixels in {"grey": GREY, "colour": COLOUR}.items():
        (folder / f"{name}.png").write_bytes(imagecodecs.png_encode(pixels))
    image = Image.fromarray(COLOUR)
    image.quantize(16).save(folder / "palette.png", dpi=(72, 72))
    image.convert("1").save(folder / "bits.png")
    exif = Image.Exif()
    exif[274] = 6
    image.save(folder / "exif.png", exif=exif.tobytes(), icc_profile=bytes(range(200)))


def _jpeg(folder: Path) -> None:
    image, exif = Image.fromarray(COLOUR), Image.Exif()
    exif[274], exif[271] = 6, "maker"
    image.save(folder / "exif.jpg", exif=exif.tobytes(), icc_profile=bytes(range(200)))
    image.save(folder / "progressive.jpg", progressive=True)
    image.convert("L").save(folder / "grey.jpg", dpi=(72, 72))


def _jpeg2000(folder: Path) -> None:
    for name, pixels in {"grey": GREY, "colour": COLOUR}.items():
        for codec in ("jp2", "j2k"):
            data = imagecodecs.jpeg2k_encode(pixels, codecformat=codec)
            (folder / f"{name}.{codec}").write_bytes(data)


def _webp(folder: Path) -> None:
    image = Image.fromarray(COLOUR)
    image.save(folder / "lossy.webp")
    image.save(folder / "lossless.webp", lossless=True, exif=Image.Exif().tobytes())


def _bmp(folder: Path) -> None:
    image = Image.fromarray(COLOUR)
    image.save(folder / "colour.bmp")
    image.quantize(16).save(folder / "palette.bmp")


def _npy(folder: Path) -> None:
    np.save(folder / "grey.npy", GREY)
    np.save(folder / "stack.npy", np.stack([GREY, GREY]))
    np.lib.format.open_memmap(folder / "float.npy", "w+", np.float32, GREY.shape, version=(2, 0))


def _zarr(folder: Path) -> None:
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    for version in (2, 3):
        zarr.save_array(folder / f"bare{version}.zarr", GREY, zarr_format=version)
    for name, codec in {"zstd": ZstdCodec(), "gzip": GzipCodec(), "blosc": BloscCodec()}.items():
        group = zarr.open_group(folder / f"{name}.ome.zarr", mode="w")
        axes = [{"name": axis, "type": "space"} for axis in "yx"]
        scale = [{"type": "scale", "scale": [1, 1]}]
        datasets = [{"path": "0", "coordinateTransformations": scale}]
        image = {"axes": axes, "datasets": datasets}
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
        more = {"shards": (32, 64)} if name == "gzip" else {}
        array = group.create_array(
            "0", shape=GREY.shape, chunks=(16, 32), dtype="uint16", compressors=codec, **more
        )
        array[...] = GREY


def _avif(folder: Path) -> None:
    Image.fromarray(COLOUR).save(folder / "colour.avif", exif=Image.Exif().tobytes())
    deep = COLOUR.astype(np.uint16) * 4
    (folder / "deep.avif").write_bytes(imagecodecs.avif_encode(deep, bitspersample=10))


def _heic(folder: Path) -> None:
    import pillow_heif

    several = pillow_heif.from_pillow(Image.fromarray(COLOUR))
    several.add_from_pillow(Image.fromarray(COLOUR[::-1]))
    several.save(folder / "several.heic", exif=Image.Exif().tobytes())


def _jxl(folder: Path) -> None:
    encode: Any = imagecodecs.jpegxl_encode
    floats = (COLOUR / 255).astype(np.float32)
    for name, pixels in {"grey": GREY, "colour": COLOUR, "float": floats}.items():
        (folder / f"{name}.jxl").write_bytes(encode(pixels, lossless=True, usecontainer=True))
    (folder / "lossy.jxl").write_bytes(encode(COLOUR, level=60))
    (folder / "tiled.jxl").write_bytes(encode(np.tile(COLOUR, (8, 12, 1)), level=60))
    opacity = np.dstack([COLOUR, COLOUR[..., :1]])
    (folder / "opacity.jxl").write_bytes(encode(opacity, lossless=True))


def _hdf5(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "scan.h5", "w") as file:
        file.create_dataset("raw/plain", data=np.stack([GREY, GREY]))
        packed = file.create_dataset("raw/packed", data=GREY, chunks=(16, 32), compression="gzip")
        packed.attrs["axistags"] = '{"axes": [{"key": "y"}, {"key": "x"}]}'
        packed.attrs["_FillValue"] = np.uint16(0)


def _dicom(folder: Path) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1

    for name, syntax in {"plain": ExplicitVRLittleEndian, "packed": JPEGLosslessSV1}.items():
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = syntax
        header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
        header.Rows, header.Columns, header.NumberOfFrames = *GREY.shape, 2
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 0
        packed = encapsulate([imagecodecs.ljpeg_encode(GREY)] * 2)
        header.PixelData = GREY.tobytes() * 2 if name == "plain" else packed
        header.save_as(folder / f"{name}.dcm", enforce_file_format=True)


def _nrrd(folder: Path) -> None:
    import nrrd

    for encoding in ("raw", "gzip", "bzip2"):
        nrrd.write(str(folder / f"{encoding}.nrrd"), np.stack([GREY, GREY]), {"encoding": encoding})


def _exr(folder: Path) -> None:
    import OpenEXR

    channels = {name: COLOUR[..., i].astype(np.float16) for i, name in enumerate("RGB")}
    for name in ("ZIP", "PIZ", "DWAB", "NO"):
        how = getattr(OpenEXR, f"{name}_COMPRESSION")
        header = {"compression": how, "type": OpenEXR.scanlineimage}
        with OpenEXR.File(header, channels) as file:
            file.write(str(folder / f"{name.lower()}.exr"))


def _weights(folder: Path) -> None:
    from unetmm.models.weights import save_model
    from unetmm.nets.config import AggregateConfig, NetConfig
    from unetmm.nets.shapes import tensor_shapes

    config = NetConfig(1, 1, 8, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1)))
    tensors = {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(config).items()}
    save_model(folder / "small.safetensors", config, tensors, {"task": "denoise"})


SEEDS: dict[str, Callable[[Path], None]] = {
    "tiff": _tiff, "png": _png, "jpeg": _jpeg, "jpeg2000": _jpeg2000, "webp": _webp, "bmp": _bmp,
    "npy": _npy, "zarr": _zarr, "avif": _avif, "heic": _heic, "jxl": _jxl, "hdf5": _hdf5,
    "dicom": _dicom, "nrrd": _nrrd, "exr": _exr, "weights": _weights,
}  # fmt: skip
"""Name of a reader -> what writes its seeds into a folder."""
