"""Small blocks of an image as frequencies, and what is told of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 32
"""Side of a block in pixels."""
COLUMNS = BLOCK_PX // 2 + 1
"""Frequencies across that are kept; the others mirror them."""
JOINED = 1.944**2
"""Number of frequencies that the window joins into one, as far as chance goes."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Spectra = NDArray[np.complex64]
"""Frequencies of blocks, (blocks, BLOCK_PX * COLUMNS)."""


def _window() -> Numbers:
    """One axis of the window, a Hann window with a mean square of 1."""
    line = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, BLOCK_PX + 1) / (BLOCK_PX + 1))
    found: Numbers = line / np.sqrt(np.square(line).mean())
    return found


LINE = _window()
"""One axis of the window that blocks are seen through."""
WINDOW: Floats = np.outer(LINE, LINE).astype(np.float32)
"""ResolvedPart that blocks are seen through."""
DOWN: Numbers = np.repeat(np.fft.fftfreq(BLOCK_PX), COLUMNS)
"""Frequency down of each of the flat list, in cycles a pixel."""
ACROSS: Numbers = np.tile(np.fft.rfftfreq(BLOCK_PX), BLOCK_PX)
"""Frequency across of each."""
DISTANCE: Numbers = np.hypot(DOWN, ACROSS)
"""Frequency of each, whatever its direction."""
WEIGHTS: Numbers = np.where((ACROSS == 0) | (np.abs(ACROSS) == 0.5), 1.0, 2.0)
"""Number of frequencies that each stands for."""
EDGES = (0.05, 0.1, 0.16, 0.25, 0.36, 0.5)
"""Edges of the bands in cycles a pixel; below the first there is the window's own blur."""
BANDS = tuple(
    np.where((DISTANCE > low) & (DISTANCE <= high), WEIGHTS, 0.0)
    for low, high in zip(EDGES, EDGES[1:], strict=False)
)
"""Weights of the frequencies of each band."""
CORNERS: Numbers = np.where(DISTANCE > EDGES[-1], WEIGHTS, 0.0)
"""Weights of the frequencies beyond all bands, which only slanted detail has."""
ALL_BANDS: Numbers = np.sum(BANDS, axis=0)
"""Weights of the frequencies of all bands."""
FINE: Numbers = BANDS[-1] + BANDS[-2]
"""Weights of the finest frequencies, where most noise and least structure is."""


def band_means(power: NDArray[Any], band: Numbers) -> NDArray[Any]:
    """Mean over the frequencies of a band, of the last axis."""
    found: NDArray[Any] = power @ (band / band.sum()).astype(power.dtype)
    return found


def cut_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """All whole blocks of (height, width): (blocks, BLOCK_PX, BLOCK_PX)."""
    rows, columns = (n // BLOCK_PX for n in values.shape)
    cut = values[: rows * BLOCK_PX, : columns * BLOCK_PX]
    return cut.reshape(rows, BLOCK_PX, columns, BLOCK_PX).swapaxes(1, 2).reshape(
        -1, BLOCK_PX, BLOCK_PX
    )  # fmt: skip


def seen_means(blocks: Floats) -> Floats:
    """Means of blocks as the power of their frequencies is weighed: the middle counts most.

    Noise that grows with the signal is seen as strong as it is at these.
    """
    found: Floats = (blocks * np.square(WINDOW)).mean((1, 2))
    return found


def to_spectra(blocks: Floats, means: Floats, units: Floats) -> Spectra:
    """Frequencies of blocks less their means, in the unit of each."""
    shown = (blocks - means[:, None, None]) * (WINDOW / units[:, None, None])
    found = np.fft.rfft2(shown).reshape(len(blocks), -1)
    return np.asarray(found, np.complex64)
