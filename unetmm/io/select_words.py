"""Parts of an image as a user writes them: channels, planes, bands, axes."""

from __future__ import annotations

from unetmm.errors import ShapeError
from unetmm.io.axes import AXES

END = 2**62
"""Number of a plane beyond the end of any axis."""


def parse_axes(text: str) -> str:
    """Letters of axes in upper case.

    Raises
    ------
    ShapeError
        If these are none.
    """
    axes = text.strip().upper()
    if len(set(axes)) < len(axes) or not {"Y", "X"} <= set(axes) <= set(AXES):
        raise ShapeError(
            f'"{text}" names no axes; write letters of {AXES}, each once, Y and X among them: YXC'
        )
    return axes


def parse_channels(text: str) -> tuple[str, ...]:
    """ "0,2" or "DAPI,Cy5".

    Raises
    ------
    ShapeError
        If it lists nothing, or something twice.
    """
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts) or len(set(parts)) < len(parts):
        raise ShapeError(f'"{text}" lists no channels; write 0,2 or names, each once')
    return parts


def parse_planes(text: str) -> dict[str, tuple[int, int]]:
    """ "T=0:5,Z=3": times 0 to 4 and depth 3.

    Raises
    ------
    ShapeError
        If it is written in another way.
    """
    found: dict[str, tuple[int, int]] = {}
    for part in text.split(","):
        axis, _, span = (text.strip() for text in part.partition("="))
        first, colon, last = span.partition(":")
        try:
            start = int(first) if first or not colon else 0
            stop = int(last) if last else END if colon or start == -1 else start + 1
        except ValueError:
            start, stop = 0, 0
        axis = axis.upper()
        if axis not in ("T", "Z") or axis in found or start == stop:
            raise ShapeError(f'"{text}" names no planes; write T=0:5,Z=3 (up to 5, without it)')
        found[axis] = (start, stop)
    return found


def parse_bands(text: str) -> tuple[str, ...]:
    """ "4,3" or "B04,Red": bands, counted from 1.

    Raises
    ------
    ShapeError
        If it lists nothing, something twice, or a band 0.
    """
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts) or len(set(parts)) < len(parts) or "0" in parts:
        raise ShapeError(f'"{text}" lists no bands; write 4,3 (the first is 1) or names, each once')
    return parts


def parse_rgb_bands(text: str) -> tuple[int | str, ...]:
    """ "4,3,2" or "Red,Green,Blue": bands for red, green and blue, counted from 1.

    Raises
    ------
    ShapeError
        If these are not three.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(parts) or "0" in parts:
        raise ShapeError(
            f'"{text}" is not three bands; write 4,3,2 (the first is 1) or Red,Green,Blue'
        )
    return tuple(int(part) if part.isdecimal() else part for part in parts)
