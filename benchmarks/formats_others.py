"""What tifffile, Pillow, imagecodecs, NumPy and zarr make of a file, and whether unetmm differs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from PIL import Image, ImageOps

from unetmm.io.image import Box, ImageInfo, Source

BOXES, PLANES = 6, 6
"""Boxes of each plane that are compared, and planes."""


def find_difference(path: Path, source: Source) -> str:
    """Where a read differs from another reader's, empty if nowhere."""
    info, rng = source.info, np.random.default_rng(1)
    try:
        expected = reference(path, info)
    except Exception as error:
        for plane in info.planes[:PLANES]:
            source.read(plane, Box(0, 0, info.height, info.width))
        return f"no other reader could: {error!r}"
    order = [axis for axis in info.axes if axis in "TCZ"]
    lengths = [info.length(axis) for axis in order]
    flat = np.arange(math.prod(lengths)).reshape(lengths)
    for index in rng.permutation(flat.size)[:PLANES]:
        where = dict(zip(order, np.argwhere(flat == index)[0].tolist(), strict=True))
        plane = where.get("T", 0), where.get("C", 0), where.get("Z", 0)
        for _ in range(BOXES):
            y0, x0 = int(rng.integers(info.height)), int(rng.integers(info.width))
            y1, x1 = int(rng.integers(y0, info.height)) + 1, int(rng.integers(x0, info.width)) + 1
            wanted = expected[index, y0:y1, x0:x1]
            got = source.read(plane, Box(y0, x0, y1, x1))
            if got.dtype != wanted.dtype or got.tobytes() != wanted.tobytes():
                return f"plane {plane}, rows {y0} to {y1}, columns {x0} to {x1}"
    return ""


def reference(path: Path, info: ImageInfo) -> Any:
    """All planes as another reader has them, (planes, height, width, samples)."""
    shape = (-1, info.height, info.width, info.samples)
    if info.format == "tiff":
        try:
            return tiff_planes(path, info)
        except Exception:
            return pillow_pixels(path, info).reshape(shape)
    if info.format in ("ome-zarr", "zarr"):
        return zarr_pixels(path).reshape(shape)
    if info.format == "npy":
        return np.load(path).reshape(shape)
    if info.dtype == np.uint16 and info.format in ("png", "jpeg2000"):
        import imagecodecs

        decode = imagecodecs.png_decode if info.format == "png" else imagecodecs.jpeg2k_decode
        return decode(path.read_bytes()).reshape(shape)
    return pillow_pixels(path, info).reshape(shape)


def pillow_pixels(path: Path, info: ImageInfo) -> Any:
    with Image.open(path) as image:
        if info.format != "tiff" and "exif" in image.info:  # an orientation in XMP is not obeyed
            image = ImageOps.exif_transpose(image)
        if info.dtype == np.uint8:
            image = image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[info.samples])
        return np.asarray(image).astype(info.dtype, copy=False)


def tiff_planes(path: Path, info: ImageInfo) -> Any:
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        pixels, axes = series.asarray(), series.axes
        if pixels.dtype == bool:
            pixels = pixels * np.uint8(255)
        if info.metadata.display.palette == "expanded":
            pixels, axes = colours(pixels, series.keyframe, info), axes + "S"
    if "S" not in axes:
        pixels, axes = pixels[..., None], axes + "S"
    pixels = np.moveaxis(pixels, [axes.index(a) for a in "YXS"], [-3, -2, -1])
    if info.samples == 1:  # samples that are no colours are planes
        pixels = np.moveaxis(pixels, -1, -3)[..., None]
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(pixels).reshape(-1, info.height, info.width, info.samples)


def colours(indices: Any, page: Any, info: ImageInfo) -> Any:
    """Colours of a palette's indices; nodata becomes transparent."""
    table = page.colormap.T
    pixels = (table >> 8 if table.max() > 255 else table).astype(np.uint8)[indices]
    if info.samples == 3:
        return pixels
    opacity = np.where(indices == page.nodata, 0, 255).astype(np.uint8)
    return np.concatenate([pixels, opacity[..., None]], axis=-1)


def zarr_pixels(path: Path) -> Any:
    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return node[...]
    attributes = dict(node.attrs)
    scales = (attributes.get("ome") or attributes)["multiscales"]
    return node[scales[0]["datasets"][0]["path"]][...]
