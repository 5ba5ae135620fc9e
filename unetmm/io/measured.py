"""Pixels of a box together with the mask that says which of them hold a measurement."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, ImageInfo, MaskedSource, Plane, Source

Mask = NDArray[np.bool_]
"""Flags of pixels that hold a measurement, (height, width)."""


def read_measured(source: Source, plane: Plane, box: Box) -> tuple[NDArray[Any], Mask | None]:
    """Pixels, and the mask that comes with them; None where all of them are measured.

    What values alone tell (NaN, values for "no data") is not in the mask:
    `unetmm.intensities.validity.valid_mask` puts both together.
    """
    pixels = source.read(plane, box)
    return pixels, mask_beside(source, plane, box, pixels)


def mask_beside(source: Source, plane: Plane, box: Box, pixels: NDArray[Any]) -> Mask | None:
    """The mask of a box whose pixels were read; None where all of them are measured."""
    mask = opaque_mask(pixels, source.info)
    given = mask_of(source, plane, box)
    if given is not None:
        mask = given if mask is None else np.logical_and(mask, given, out=mask)
    return None if mask is None or mask.all() else mask


def mask_of(source: Source, plane: Plane, box: Box) -> Mask | None:
    """The mask of the file; None if it has none."""
    if not source.info.nodata.masked:
        return None
    return cast("MaskedSource", source).read_mask(plane, box)


def opaque_mask(pixels: NDArray[Any], info: ImageInfo) -> Mask | None:
    """Where pixels are not fully transparent; None for images without opacity."""
    if not (info.alpha and info.nodata.by_opacity):
        return None
    mask: Mask = pixels[..., -1] != 0
    return mask
