"""Axes of a bare Zarr array: stated by the user, named by the array, or guessed."""

from __future__ import annotations

import logging
from typing import Any

from unetmm.errors import ImageError, ShapeError
from unetmm.io.axes import COLOUR_SAMPLES, Guess, doubt_opacity, guess_axes
from unetmm.io.places import Place

log = logging.getLogger(__name__)

_ROWS_AND_COLUMNS = (
    *(("y", "x"), ("lat", "lon"), ("latitude", "longitude"), ("row", "col"), ("rows", "cols")),
    *(("row", "column"), ("rows", "columns"), ("height", "width"), ("northing", "easting")),
    *(("rlat", "rlon"), ("yc", "xc"), ("j", "i"), ("nj", "ni"), ("line", "pixel")),
)
"""Names of rows and columns, which go together."""
_LETTERS = {
    **dict.fromkeys(("t", "time", "times", "date", "frame", "frames"), "T"),
    **dict.fromkeys(("z", "depth", "lev", "level", "altitude", "plane", "slice"), "Z"),
    **dict.fromkeys(("c", "channel", "channels", "ch", "band", "bands", "wavelength"), "C"),
    **dict.fromkeys(("s", "sample", "samples", "rgb", "rgba", "color", "colour"), "S"),
}
"""Names of other dimensions."""
_FREE = "CTZ"
"""Letters for dimensions of other names, the last one first."""


def bare_axes(path: Place, array: Any, stated: str) -> tuple[str, str]:
    """(axes, those of them that were guessed or empty) of an array of Zarr without OME's metadata.

    stated : letters that the user gave, or empty.
    """
    return axes_by_names(path, tuple(array.shape), _dimension_names(array), stated, array.dtype)


def axes_by_names(
    path: Place, shape: tuple[int, ...], names: list[str], stated: str, dtype: Any
) -> tuple[str, str]:
    """(axes, those of them that were guessed or empty) of an array by its dimensions' names.

    Parameters
    ----------
    names : of all dimensions, in small letters, or none.
    stated : letters that the user gave, or empty.
    dtype : of the pixels.

    Raises
    ------
    ImageError
        If they cannot be told, or do not fit.
    """
    if stated:
        if len(stated) != len(shape):
            raise ImageError(f"{path}: axes {stated} do not fit shape {shape}; state one each")
        return stated, ""
    if axes := _named_axes(names, shape):
        return axes, ""
    try:
        guess: Guess = guess_axes(shape, "--axes {}")
        guess = doubt_opacity(guess, shape, "--axes {}", is_photo=dtype == "uint8")
    except ShapeError as error:
        raise ImageError(f"{path}: {error}") from None
    if guess.doubt:
        log.warning("%s: %s", path, guess.doubt)
    elif len(shape) > 2:
        log.info(
            "%s: does not name its axes, shape %s is taken for %s; --axes names others",
            path, shape, ", ".join(guess.axes),
        )  # fmt: skip
    return guess.axes, guess.axes if len(shape) > 2 else ""


def _dimension_names(array: Any) -> list[str]:
    """Names as Zarr v3 keeps them, or as xarray does in v2; none where one is missing."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n for n in names):
        return []
    return [name.lower() for name in names]


def _named_axes(names: list[str], shape: tuple[int, ...]) -> str:
    """Letters of named dimensions; empty if rows and columns are not among them, or too many."""
    pair = next((p for p in _ROWS_AND_COLUMNS if set(p) <= set(names)), None)
    if pair is None or len(names) != len(shape) or len(names) > 5:
        return ""
    letters = [dict(zip(pair, "YX", strict=True)).get(n) or _LETTERS.get(n, "") for n in names]
    for i, letter in enumerate(letters):
        is_colour = shape[i] in (1, 2, *COLOUR_SAMPLES)
        taken_twice = letters.count(letter) > 1
        if letter not in ("Y", "X") and (taken_twice or (letter == "S" and not is_colour)):
            letters[i] = ""
    free = [letter for letter in _FREE if letter not in letters]
    for i in reversed(range(len(letters))):
        if not letters[i]:
            if not free:
                return ""
            letters[i] = free.pop()
    return "".join(letters)
