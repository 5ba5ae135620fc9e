"""How an image is cut: strips in x, segments in y, each with a halo. Integers only.

    read x0      write x0            write x1      read x1
      |---halo-----|====================|----halo-----|
The write boxes of all strips and segments cover the image exactly once. Read boxes start at
multiples of the net's stride, so every cut sees the same pixel grid, and the halo is the
receptive field, so every cut gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A cut of one axis: what is read and what of it is written, in image pixels."""

    read_start: int
    read_stop: int
    """End of what is read, a multiple of the stride; beyond the image see `mirrored`."""
    write_start: int
    write_stop: int

    @property
    def read_px(self) -> int:
        return self.read_stop - self.read_start

    @property
    def write_px(self) -> int:
        return self.write_stop - self.write_start


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below value."""
    return -(-value // multiple) * multiple


def mirrored(length: int, count: int) -> list[int]:
    """Which rows stand in for `count` rows beyond an axis' last: the last ones, backwards.

    Zeros would look like a dark neighbour to the net, which then darkens the edge.
    """
    indices = (i % (2 * length) for i in range(length, length + count))
    return [min(i, 2 * length - 1 - i) for i in indices]


def split_axis(
    length_px: int,
    parts: int,
    align_px: int,
    halo_px: int,
    stride_px: int,
    written: tuple[int, int] | None = None,
) -> list[Span]:
    """Cut an axis into at most `parts` spans of about equal length.

    Writes start at multiples of `align_px` (itself a multiple of the stride), so no two spans
    share a chunk of the output.

    Parameters
    ----------
    written : first pixel that is written and the one behind the last, from which chunks are
        counted; None for the whole axis.
    """
    first, stop = written or (0, length_px)
    cells = -(-(stop - first) // align_px)
    parts = max(1, min(parts, cells))
    edges = [first + cells * i // parts * align_px for i in range(parts)] + [stop]
    return [
        make_span(start, stop, length_px, halo_px, stride_px)
        for start, stop in zip(edges, edges[1:], strict=False)
    ]


def make_span(start: int, stop: int, length_px: int, halo_px: int, stride_px: int) -> Span:
    """What is to be written of an axis, and around it the halo, out to multiples of the stride."""
    return Span(
        max(0, (start - halo_px) // stride_px * stride_px),
        min(round_up(length_px, stride_px), round_up(stop + halo_px, stride_px)),
        start,
        stop,
    )


def recomputed_share(spans: list[Span], length_px: int) -> float:
    """Share of work along an axis that is done more than once."""
    return sum(s.read_px for s in spans) / max(1, length_px) - 1
