"""The function at the very end of a net, which rows go through once they have left the stream.

No engine has to know of it: it takes a pixel's channels as they come, and looks at no other pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def finish_rows(rows: NDArray[np.float32], final: str) -> None:
    """Put rows (n, width, channels) through a function of `nets.config.FINALS`, in place.

    Row by row, so that what it takes beyond them is a row.
    """
    if not final:
        return
    for row in rows:
        if final == "softmax":
            row -= row.max(-1, keepdims=True)
            np.exp(row, out=row)
            row /= row.sum(-1, keepdims=True)
        else:
            _sigmoid(row)


def _sigmoid(row: NDArray[np.float32]) -> None:
    """By the exponential of what is below 0 only, which does not overflow."""
    small = np.exp(-np.abs(row))
    np.divide(np.where(row < 0, small, np.float32(1)), 1 + small, out=row)
