"""What a row stream may be asked, whatever carries it out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError

Attention = Mapping[str, NDArray[np.float32]]
"""Frozen channel factors: block name -> (c,)."""


def check_strip(width_px: int, height_px: int, stride_px: int) -> None:
    """Refuse a strip that is not made of whole cells of the net.

    Raises
    ------
    ShapeError
        If it is not.
    """
    if width_px % stride_px or height_px % stride_px or min(width_px, height_px) < stride_px:
        raise ShapeError(
            f"a strip needs positive multiples of {stride_px} px, found {height_px} x {width_px}"
        )


def check_rows(
    shape: tuple[int, ...], width_px: int, channels: int, pushed: int, height_px: int
) -> None:
    """Refuse rows (n, width, channels) that do not follow `pushed` rows of such a strip.

    Raises
    ------
    ShapeError
        If they do not fit the strip or there are too many of them.
    """
    n, found_px, found = shape
    if found_px != width_px or found != channels:
        raise ShapeError(
            f"this stream takes rows of {width_px} px and {channels} "
            f"channels, found {found_px} px and {found}"
        )
    if pushed + n > height_px:
        raise ShapeError(f"this strip has {height_px} rows, {pushed + n} were pushed")


def factors_of(attention: Attention, name: str, channels: int) -> NDArray[np.float32]:
    """A block's channel factors.

    Raises
    ------
    ShapeError
        If the block has none or the wrong number of them.
    """
    factors = attention.get(name)
    if factors is None or factors.shape != (channels,):
        found = "none" if factors is None else f"shape {factors.shape}"
        raise ShapeError(
            f"calibration: block {name} needs {channels} channel factors, found "
            f"{found}; calibrate with this model"
        )
    return factors
