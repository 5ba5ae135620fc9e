"""What reading a file of another project gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.nets.config import NetConfig

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Values:
    """How values of 0 to 1 become those that a net sees: value * factor + shift."""

    factors: tuple[float, ...] = (1.0,)
    """Factor of each channel, or a single one of all."""
    shifts: tuple[float, ...] = (0.0,)
    """Number that is added to each channel, or a single one to all."""

    def seen(self, image: Array) -> Array:
        """What the net sees of (1, channels, rows, columns)."""
        factors, shifts = self._columns
        return np.asarray(image * factors + shifts, np.float32)

    def back(self, answer: Array) -> Array:
        """The reverse, of an answer that is an image like it."""
        factors, shifts = self._columns
        return np.asarray((answer - shifts) / factors, np.float32)

    @property
    def _columns(self) -> tuple[Array, Array]:
        factors, shifts = (np.array(n, np.float32) for n in (self.factors, self.shifts))
        return factors[:, None, None], shifts[:, None, None]


USUAL_VALUES = Values()
"""Values of 0 to 1 as they are."""


@dataclass(frozen=True)
class ForeignNet:
    """What was read of a file."""

    layout: str
    """Name of what was recognised: a layout of checkpoints, or ONNX."""
    config: NetConfig
    tensors: Mapping[str, Array]
    lines: tuple[str, ...]
    """Lines on what was recognised, folded, frozen or assumed."""
    size_px: tuple[int, int] | None = None
    """Rows and columns that a graph was made for, 0: any; None for a checkpoint."""
    is_half: bool = False
    """Whether a graph computes with 16 bits, which we do with 32."""
    axes: tuple[int, ...] = (0, 1, 2, 3)
    """Order in which a graph has the axes of (1, channels, rows, columns)."""
    values: Values = USUAL_VALUES
    """Values that the file's own net sees."""
    end: str = ""
    """Function at the very end that tells what it gives: sigmoid, softmax or argmax, if any."""
