"""Copies of files that other people's software looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, Encoding, SinkOptions
from unetmm.io.open import open_sink, open_source
from unetmm.io.select import Selection

SEED = 11


def random_pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    return (np.random.default_rng(SEED).random(shape) * 120).astype(dtype)


def copy(
    source: Path, target: Path, select: Selection | None = None, chunk_px: int = 512, **more: Any
) -> Path:
    """The same image in another file, as a net that changes nothing would write it."""
    opened = open_source(source, select)
    info = opened.info
    options = SinkOptions(target, True, chunk_px, Encoding(**more))
    sink = open_sink(options, info)
    height, width = sink.chunk
    for plane in info.planes:
        for y in range(0, info.height, height):
            for x in range(0, info.width, width):
                box = Box(y, x, min(y + height, info.height), min(x + width, info.width))
                sink.write(plane, box, opened.read(plane, box))
    sink.close()
    opened.close()
    return target


def whole(path: Path) -> NDArray[Any]:
    source = open_source(path)
    return source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width))
