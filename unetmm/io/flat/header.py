"""What a reader of flat files has to know of one: where its pixels lie, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unetmm.io.image import ImageInfo


@dataclass(frozen=True)
class FlatLayout:
    """Where the pixels of a file lie, and how they are stored."""

    info: ImageInfo
    """Image as it is read."""
    stored: np.dtype[Any]
    """Type of a stored sample, with its byte order."""
    offset: int
    """Offset of the first pixel in bytes."""
    by_columns: bool = False
    """Whether columns lie behind one another rather than rows."""
    shifted: bool = False
    """Whether half of the range was taken off or added to make values signed or not."""
