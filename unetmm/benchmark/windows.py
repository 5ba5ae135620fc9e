"""How tilers cut an image: windows that overlap, and the part of each that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A box that is read, and the part of it that is kept, in image pixels."""

    y: slice
    x: slice
    keep_y: slice
    keep_x: slice

    @property
    def inside_y(self) -> slice:
        """The part that is kept, counted from the window's first row."""
        return slice(self.keep_y.start - self.y.start, self.keep_y.stop - self.y.start)

    @property
    def inside_x(self) -> slice:
        return slice(self.keep_x.start - self.x.start, self.keep_x.stop - self.x.start)


def windows(shape: tuple[int, int], size_px: int, halo_px: int, stride_px: int) -> list[Window]:
    """Windows of one size that keep whatever is `halo_px` or more from a cut.

    Windows begin at multiples of `stride_px`; the last of a row moves inwards, so that all have
    the same size and none reaches beyond the image.
    """
    return [
        Window(y, x, keep_y, keep_x)
        for y, keep_y in _along(shape[0], size_px, halo_px, stride_px)
        for x, keep_x in _along(shape[1], size_px, halo_px, stride_px)
    ]


def _along(
    length: int, size_px: int, halo_px: int, stride_px: int
) -> Iterator[tuple[slice, slice]]:
    size = min(size_px, length)
    last = (length - size) // stride_px * stride_px
    size = length - last if size < length else size  # the same where length fits the stride
    step = (size - 2 * halo_px) // stride_px * stride_px
    assert step > 0 or size == length, "a window holds its halo on both sides"
    start = kept = 0
    while True:
        stop = start + size
        keep = length if stop >= length else stop - halo_px
        yield slice(start, stop), slice(kept, keep)
        if keep == length:
            return
        kept = keep
        start = min(start + step, last)
