"""What reading a file of another project gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.nets.config import NetConfig

Array = NDArray[np.float32]


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
    values: tuple[float, float] = (0.0, 1.0)
    """Values of black and white that the file's own net sees."""
    end: str = ""
    """Function at the very end that tells what it gives: sigmoid, softmax or argmax, if any."""
