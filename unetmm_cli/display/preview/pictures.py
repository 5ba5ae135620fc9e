"""Stored values as pictures of 8 bits: crops before and after, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.enlarged import repeated
from unetmm.io.measured import Mask

PERCENT = (0.1, 99.9)
"""Percentiles of a crop before that become black and white."""
WHITE = 255.0
"""Value of 8 bits that is white."""
GREY = 128
"""Value of 8 bits that shows no difference."""
COLOURS = 3
"""Samples of a colour picture."""
DARK = 100.0
"""Value of 8 bits below which a whole crop is brightened to be seen."""
DIFFERENCE_PERCENT = 99.5
"""Percentile of the differences of a crop that becomes black or white."""

Picture = NDArray[np.uint8]
"""Grey (height, width) or colours (height, width, 3)."""


@dataclass(frozen=True)
class Stretch:
    """Stored values that are shown black and white, for all pictures of a crop."""

    low: float
    """Value that is shown black."""
    high: float
    """Value that is shown white."""
    is_byte: bool = False
    """Whether values are of 8 bits, which are shown as they are, or only brightened."""

    @property
    def in_words(self) -> str:
        """What a reader has to know of it."""
        if self.is_byte and self.high == WHITE:
            return "Values are shown as they are."
        if self.is_byte:
            return f"Brightened: {self.high:.6g} is shown white, the same before and after."
        return (
            f"Shown from {self.low:.6g} (black) to {self.high:.6g} (white), which are "
            f"{PERCENT[0]} % and {PERCENT[1]} % of the values before: the same before and after."
        )


def shown_samples(pixels: NDArray[Any], alpha: bool) -> NDArray[Any]:
    """The samples that are shown: three colours, or one."""
    colours = pixels.shape[-1] - alpha
    return pixels[..., : 3 if colours >= 3 else 1]


def at_height(pixels: NDArray[Any], height: int) -> NDArray[Any]:
    """Pixels, each of them repeated so often that they are as high as that."""
    return repeated(pixels, height // len(pixels))


def stretch_of(before: NDArray[Any], measured: Mask | None) -> Stretch:
    """The stretch of a crop, by what it shows before."""
    is_byte, values = before.dtype == np.uint8, before if measured is None else before[measured]
    if not values.size:
        return Stretch(0.0, WHITE, is_byte)
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), PERCENT))
    if is_byte:
        return Stretch(0.0, max(high, 1.0) if high < DARK else WHITE, is_byte=True)
    return Stretch(low, high if high > low else low + 1.0)


def to_bytes(values: NDArray[Any], low: float, high: float) -> Picture:
    """Values as bytes, from low (0) to high (255); 0 where they are no numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.subtract(values, low, dtype=np.float64)
        scaled *= WHITE / (high - low)
        np.nan_to_num(scaled, copy=False)
        np.rint(np.clip(scaled, 0, WHITE, out=scaled), out=scaled)
    found: Picture = scaled.astype(np.uint8)
    return found


def to_picture(pixels: NDArray[Any], stretch: Stretch, measured: Mask | None) -> Picture:
    """A crop as it is shown; black where nothing is measured."""
    return finished(to_bytes(pixels, stretch.low, stretch.high), measured, 0)


def difference_range(
    before: NDArray[Any], afters: list[NDArray[Any]], measured: Mask | None
) -> float:
    """The difference that is shown black or white in all pictures of a crop; 0 where none is."""
    sizes = [_sizes(before, after, measured) for after in afters]
    return max((float(np.percentile(s, DIFFERENCE_PERCENT)) for s in sizes if s.size), default=0.0)


def to_difference(
    before: NDArray[Any], after: NDArray[Any], limit: float, measured: Mask | None
) -> Picture:
    """What was added (bright) and taken away (dark); grey in the middle where nothing changed."""
    return finished(difference_bytes(before, after, limit), measured, GREY)


def difference_bytes(before: NDArray[Any], after: NDArray[Any], limit: float) -> Picture:
    """Differences as bytes, from -limit (0) to limit (255)."""
    with np.errstate(over="ignore", invalid="ignore"):
        change = np.subtract(after, before, dtype=np.float64)
    return to_bytes(change, -(limit or 1.0), limit or 1.0)


def finished(shown: Picture, measured: Mask | None, nothing: int) -> Picture:
    """Bytes (height, width, 1 or 3) as a picture, with one value where nothing is measured."""
    if measured is not None:
        shown[~measured] = nothing
    return shown if shown.shape[-1] == COLOURS else shown[..., 0]


def to_png(picture: Picture, **texts: str) -> bytes:
    """A picture as a PNG file with some texts in it."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info, file = PngInfo(), BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.fromarray(picture).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def _sizes(before: NDArray[Any], after: NDArray[Any], measured: Mask | None) -> NDArray[np.float64]:
    change = np.abs(after.astype(np.float64) - before.astype(np.float64))
    return change.ravel() if measured is None else change[measured].ravel()
