"""Microscope vendors' files (CZI, ND2, LIF) through bioio, an optional extra."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.image import DTYPES, ImageInfo
from unetmm.io.metadata import Metadata, ReadingFacts
from unetmm.io.remedy import remedy
from unetmm.io.whole.source import FrameSource, one_frame

log = logging.getLogger(__name__)

_COPIES = 2.0
"""Copies of a plane while it is decoded: as decoded, and as put together."""


def open_vendor(path: Path, format: str, series: int | None = None) -> FrameSource:
    """A scene of a vendor's file, the first if none is asked for; a plane is read as a whole.

    Raises
    ------
    ImageError
        If bioio is not installed, there is no such scene, or it cannot be restored.
    """
    with translated(path, f"read it as {format.upper()}"):
        image = _open(path, format)
        _choose_scene(path, image, series)
        info = _describe(path, image, format)

    def decode(number: int) -> NDArray[Any]:
        lazy = image.dask_data[info.planes[number]]
        return np.asarray(lazy.compute(scheduler="synchronous"))

    return FrameSource(path, info, one_frame(info), decode, _COPIES)


def _open(path: Path, format: str) -> Any:
    """The file as bioio has it.

    Raises
    ------
    ImageError
        If bioio is not installed.
    """
    try:
        from bioio import BioImage
    except ImportError:
        raise ImageError(
            f"{path}: is a {format.upper()} file; to read it: pip install bioio bioio-{format}"
        ) from None
    return BioImage(path)


def count_scenes(path: Path, format: str) -> int:
    """Number of the scenes of a file."""
    with translated(path, f"read it as {format.upper()}"):
        return max(1, len(_open(path, format).scenes))


def _choose_scene(path: Path, image: Any, series: int | None) -> None:
    """Go to the scene that is wanted, and say that there are others.

    Raises
    ------
    ImageError
        If there is no such scene.
    """
    scenes = [str(name) for name in image.scenes]
    listed = ", ".join(f"{i} ({name})" for i, name in enumerate(scenes[:4]))
    listed += ", ..." if len(scenes) > 4 else ""
    if series is not None:
        if series >= len(scenes):
            raise ImageError(
                f"{path}: scene {series} was asked for (--series); it holds {len(scenes)}: {listed}"
            )
        image.set_scene(series)
    elif len(scenes) > 1:
        log.warning(
            "%s: holds %d scenes: %s; the first is read; --series N reads another",
            path, len(scenes), listed,
        )  # fmt: skip


def _lost(format: str, others: int) -> tuple[str, ...]:
    """Names of what no output keeps of a vendor's file."""
    scenes = [f"{others} further scene{'s' * (others > 1)}"] if others > 0 else []
    return (f"metadata of the {format.upper()} beyond sizes and channels", *scenes)


def _describe(path: Path, image: Any, format: str) -> ImageInfo:
    dims, dtype = image.dims, np.dtype(image.dtype)
    if dtype.name not in DTYPES:
        raise ImageError(f"{path}: holds {dtype.name} pixels; convert them to one of {DTYPES}")
    if int(getattr(dims, "S", 1)) > 1:
        # bioio gives the blue sample first for some formats, and the chunks of others a wrong size.
        raise ImageError(f"{path}: holds colours in {format.upper()}; export it as OME-TIFF")
    shape = tuple(int(getattr(dims, axis)) for axis in "TCZYX")
    sizes = image.physical_pixel_sizes
    found = {axis: getattr(sizes, axis, None) for axis in "ZYX"}
    names = tuple(str(name) for name in image.channel_names or ())
    reading = ReadingFacts(
        other_scenes=max(0, len(image.scenes) - 1),
        left_out=_lost(format, len(image.scenes) - 1),
        remedy=remedy(f"a {format.upper()} plane", shape[3] * shape[4] * dtype.itemsize),
    )
    return ImageInfo(
        format=format,
        axes="TCZYX",
        shape=shape,
        dtype=dtype.newbyteorder("="),
        chunk=(shape[3], shape[4]),
        pixel_size={a: (float(s), "micrometer") for a, s in found.items() if s and s > 0},
        channel_names=names if len(names) == shape[1] else (),
        metadata=Metadata(reading=reading),
    )
