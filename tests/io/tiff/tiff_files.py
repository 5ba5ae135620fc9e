"""Files that tests of TIFF compare with other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.io.image import Box
from unetmm.io.open import open_source

ORIGIN = (0, 0, 0)


def values(shape: tuple[int, ...], dtype: str = "uint8", top: int = 200) -> NDArray[Any]:
    return (np.random.default_rng(5).random(shape) * top).astype(dtype)


def whole(path: Path) -> NDArray[Any]:
    source = open_source(path)
    pixels = source.read(ORIGIN, Box(0, 0, source.info.height, source.info.width))
    source.close()
    return pixels


def same_by_boxes(path: Path, expected: NDArray[Any]) -> None:
    """Compare boxes of a plane with (height, width, samples)."""
    source, rng = open_source(path), np.random.default_rng(6)
    for _ in range(8):
        y0, x0 = int(rng.integers(source.info.height)), int(rng.integers(source.info.width))
        y1, x1 = int(rng.integers(y0, source.info.height)), int(rng.integers(x0, source.info.width))
        found = source.read(ORIGIN, Box(y0, x0, y1 + 1, x1 + 1))
        assert found.dtype == expected.dtype and found.dtype.isnative
        np.testing.assert_array_equal(found, expected[y0 : y1 + 1, x0 : x1 + 1])
    source.close()


def write_ome(
    path: Path,
    pages: int,
    sizes: dict[str, int],
    inside: str = "",
    order: str = "XYZCT",
    more: str = "",
) -> NDArray[Any]:
    """An OME-TIFF that describes what its pages may not hold; gives their pixels."""
    pixels = values((pages, 20, 30), "uint16")
    stated = "".join(f' Size{axis}="{n}"' for axis, n in sizes.items())
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
        f'OME/2016-06"><Image ID="Image:0" Name="first"><Pixels ID="Pixels:0" DimensionOrder='
        f'"{order}" Type="uint16" SizeX="30" SizeY="20"{stated}>{inside}'
        f'<TiffData IFD="0" PlaneCount="{np.prod(list(sizes.values()))}"/></Pixels></Image>{more}'
        "</OME>"
    )
    with tifffile.TiffWriter(path) as file:
        for i, page in enumerate(pixels):
            description = None if i else xml
            file.write(page, description=description, metadata=None, contiguous=False)
    return pixels
