"""Pixels of the input and those of an output that is larger: each becomes a square of them.

All of a run counts pixels of the input. Only what is handed to the sink is enlarged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unshuffled(answer: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """A net's answer (n, width, c * scale**2) as pixels (n * scale, width * scale, c)."""
    if scale == 1:
        return answer
    n, width, values = answer.shape
    cells = answer.reshape(n, width, values // scale**2, scale, scale)
    return cells.transpose(0, 3, 1, 4, 2).reshape(n * scale, width * scale, -1)


def averaged(pixels: NDArray[Any], scale: int) -> NDArray[Any]:
    """The mean of the output's pixels that come of each pixel of the input."""
    if scale == 1:
        return pixels
    n, width = (length // scale for length in pixels.shape[:2])
    cells = pixels.reshape(n, scale, width, scale, -1)
    return np.asarray(cells.mean((1, 3), dtype=np.float64))
