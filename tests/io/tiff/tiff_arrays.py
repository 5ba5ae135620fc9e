"""Arrays that tests of TIFF read and write in boxes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, ImageInfo, Plane, Sink

SEED = 7


def random_pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    return (np.random.default_rng(SEED).random(shape) * 120).astype(dtype)


def plane_of(pixels: NDArray[Any], axes: str, plane: Plane) -> NDArray[Any]:
    """(height, width, samples) of a plane of an array whose last axes are YX or YXS."""
    where = tuple(plane["TCZ".index(axis)] for axis in axes if axis in "TCZ")
    found = pixels[where]
    return found if found.ndim == 3 else found[..., None]


def boxes_of(info: ImageInfo, height: int, width: int) -> list[tuple[Plane, Box]]:
    return [
        (plane, Box(y, x, min(y + height, info.height), min(x + width, info.width)))
        for plane in info.planes
        for y in range(0, info.height, height)
        for x in range(0, info.width, width)
    ]


def fill(sink: Sink, info: ImageInfo, pixels: NDArray[Any]) -> None:
    """Write every box, in random order, from four threads."""
    boxes = boxes_of(info, 2 * sink.chunk[0], sink.chunk[1])
    np.random.default_rng(SEED).shuffle(boxes)  # type: ignore[arg-type]

    def write(item: tuple[Any, Box]) -> None:
        plane, box = tuple(int(i) for i in item[0]), item[1]
        part = plane_of(pixels, info.axes, plane)[box.y0 : box.y1, box.x0 : box.x1]
        sink.write(plane, box, part)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, boxes))


COMPRESSIONS = ("none", "deflate", "zstd", "lzw")
