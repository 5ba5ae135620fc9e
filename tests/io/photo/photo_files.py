"""Pixels and files of photos that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box
from unetmm.io.open import open_source

ORIGIN = (0, 0, 0)


def random_pixels(shape: tuple[int, ...], dtype: str = "uint8") -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(3).integers(0, top, shape, dtype=dtype, endpoint=True)


def whole(path: Path) -> NDArray[Any]:
    source = open_source(path)
    return source.read(ORIGIN, Box(0, 0, source.info.height, source.info.width))
