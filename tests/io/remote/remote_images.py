"""Images behind URLs that tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unetmm.io.image import Box, ImageInfo, SinkOptions
from unetmm.io.open import open_sink
from unetmm.io.places import to_place
from unetmm.nets.config import NetConfig

NET = NetConfig(1, 1, 8, (1, 1), 0, (1, 1))
PIXELS = np.random.default_rng(1).normal(3000, 400, (1300, 700)).astype(np.uint16)
INFO = ImageInfo("any", "YX", PIXELS.shape, PIXELS.dtype, (1, 1))


def write_image(where: str | Path) -> None:
    sink = open_sink(SinkOptions(to_place(where)), INFO)
    sink.write((0, 0, 0), Box(0, 0, *PIXELS.shape), PIXELS[..., None])
    sink.close()
