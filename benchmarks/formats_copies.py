"""Copies of an image, unchanged, in each format that is written: pixels and metadata compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetmm.errors import UnetmmError
from unetmm.io.exif import CAMERA, GPS, read_directories
from unetmm.io.image import Box, Encoding, ImageInfo, Plane, SinkOptions, Source
from unetmm.io.open import open_sink, open_source
from unetmm.io.photo.source import upright

COPY_BYTES = 24 * 10**6
"""Largest size of an image that is copied, in bytes of its pixels."""
TARGETS = {
    "OME-Zarr": ("copy.ome.zarr", None),
    "TIFF": ("copy.tif", None),
    "TIFF zstd": ("copy.tif", "zstd"),
    "TIFF plain": ("copy.tif", "none"),
    "PNG": ("copy.png", None),
}
"""Name -> (file, compression) of the copies."""
FACTS = (
    *("pixel sizes", "channel names", "channel colours", "stage position", "significant bits"),
    *("place on Earth", "GeoTIFF tags", "nodata", "band names", "colour profile", "EXIF"),
    "resolution",
)
"""Names of the metadata that are compared."""
PLACING_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""GeoTIFF tags that place an image on Earth."""


@dataclass(frozen=True)
class Copy:
    """What became of a copy."""

    state: str
    """Verdict: exact, refused, or words on what went wrong."""
    lost: tuple[str, ...] = ()
    """Facts of FACTS that the copy does not say any more."""


def copy_everywhere(source: Source) -> dict[str, Copy]:
    """What became of a copy of each kind; no copies of an image that is too large."""
    info = source.info
    if len(info.planes) * info.plane_bytes > COPY_BYTES:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        return {kind: copied(source, kind, Path(folder)) for kind in TARGETS}


def copied(source: Source, kind: str, folder: Path) -> Copy:
    """Copy an image into one format and compare."""
    name, compression = TARGETS[kind]
    info = source.info
    try:
        options = SinkOptions(folder / name, True, encoding=Encoding(compression))
        sink = open_sink(options, info)
    except UnetmmError:
        return Copy("refused")
    try:
        for plane, box in boxes(info, sink.chunk):
            sink.write(plane, box, source.read(plane, box))
        sink.close()
        copy = open_source(folder / name)
        for plane in info.planes:
            expected = as_shown(source, plane) if kind == "PNG" else whole(source, plane)
            if whole(copy, plane).tobytes() != expected.tobytes():
                return Copy(f"differs in plane {plane}")
        lost = tuple(fact for fact in FACTS if not same(fact, info, copy.info))
        copy.close()
    except UnetmmError as error:
        return Copy(f"error: {error}")
    return Copy("exact", lost)


def whole(source: Source, plane: Plane) -> Any:
    return source.read(plane, Box(0, 0, source.info.height, source.info.width))


def as_shown(source: Source, plane: Plane) -> Any:
    """Pixels upright, 0 black and colours whole, whatever a TIFF says: PNG cannot say that."""
    display, pixels = source.info.metadata.display, whole(source, plane)
    if display.photometric == "miniswhite":
        bits = display.bits or 8 * source.info.dtype.itemsize
        pixels = (2**bits - 1 - pixels.astype(np.int64)).astype(source.info.dtype)
    if display.premultiplied:
        limit, alpha = np.iinfo(pixels.dtype).max, pixels[..., -1:]
        seen = pixels[..., :-1] * (limit / np.maximum(alpha, 1).astype(float))
        seen = np.minimum(np.floor(seen + 0.5 + 1e-9), limit).astype(pixels.dtype)
        pixels = np.concatenate([seen, alpha], axis=-1)
    tags = {tag[0]: tag[3] for tag in source.info.metadata.tiff.tags}
    return np.ascontiguousarray(upright(pixels, tags.get(274, 1)))


def boxes(info: ImageInfo, chunk: tuple[int, int]) -> Iterator[tuple[Plane, Box]]:
    """Every chunk of an image, with its plane."""
    for plane in info.planes:
        for y in range(0, info.height, chunk[0]):
            for x in range(0, info.width, chunk[1]):
                yield (
                    plane,
                    Box(y, x, min(y + chunk[0], info.height), min(x + chunk[1], info.width)),
                )


def same(name: str, before: ImageInfo, after: ImageInfo) -> bool:
    """Whether a copy says what the image said; what was not said cannot be lost."""
    said, now = fact(name, before), fact(name, after)
    if name == "resolution" and said and now:
        return bool(np.allclose(said, now, rtol=0.01))
    return not said or said == now


def fact(name: str, info: ImageInfo) -> Any:
    """Something that the metadata says, in a form that can be compared."""
    metadata = info.metadata
    photo, seen = metadata.photo, metadata.microscopy
    if name == "EXIF":
        tables = read_directories(photo.exif)
        return [sorted(tables.get(code, ()), key=lambda e: e.code) for code in (CAMERA, GPS)
                if tables.get(code)]  # fmt: skip
    if name == "GeoTIFF tags":
        return sorted(tag[0] for tag in metadata.tiff.tags if tag[0] in PLACING_TAGS)
    if name == "resolution" and photo.resolution:
        *per_unit, unit = photo.resolution
        return [n * (2.54 if unit == "centimeter" else 1) for n in per_unit]
    if name == "nodata":
        return None if info.nodata is None else repr(info.nodata)
    return {
        "pixel sizes": info.pixel_size,
        "channel names": info.channel_names,
        "channel colours": seen.channel_colors,
        "stage position": seen.origin,
        "significant bits": metadata.display.bits,
        "place on Earth": metadata.geo.as_dict(),
        "band names": metadata.tiff.descriptions,
        "colour profile": photo.icc_profile,
    }.get(name)
