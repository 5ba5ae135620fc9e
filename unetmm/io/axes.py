"""Names of axes that nobody has stated: guessed by their lengths, refused where that would harm.

A stack of planes and an image with its channels last have the same number of axes. Taken for a
stack, such an image is restored across its channels, and nothing shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unetmm.errors import ImageError, ShapeError

AXES = "TCZYXS"
COLOUR_SAMPLES = (3, 4)
OPAQUE_SAMPLES = 4
"""Number of samples of a pixel whose last one may be opacity."""
_USUAL = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}
_CHANNELS_LAST = {3: "YXC", 4: "ZYXC", 5: "TZYXC"}
REFUSED_RATIO, DOUBTED_RATIO = 3, 2
"""Ratios of both axes before the last to it. Beyond them it looks like channels: nothing is guessed
any more, or only with a word."""
_FEW_CHANNELS = 5
"""Largest length of an axis that looks like channels where a longer one stands before it."""


@dataclass(frozen=True)
class Guess:
    """Axes that were guessed."""

    axes: str
    """Letters of TCZYXS."""
    doubt: str = ""
    """Words on what else they may be; empty if nothing speaks for it."""


def guess_axes(shape: tuple[int, ...], remedy: str = 'axes="{}"') -> Guess:
    """YX; YXS if the last of three axes is 3 or 4 long, else ZYX; CZYX; TCZYX.

    Parameters
    ----------
    remedy : how a user states axes, {} in the place of the letters.

    Raises
    ------
    ShapeError
        If there are no rows and columns, too many axes, or the last one looks like channels.
    """
    count = len(shape)
    if count not in _USUAL:
        raise ShapeError(f"an image array has 2 to 5 axes, found shape {shape}; give its axes")
    if count == 3 and shape[-1] in COLOUR_SAMPLES:
        return Guess("YXS")
    usual, other = _USUAL[count], _CHANNELS_LAST[count] if count > 2 else ""
    if count > 3 and shape[-1] in COLOUR_SAMPLES:
        other = other.replace("C", "S")
    if looks_like_channels(shape):
        last = "colours" if other.endswith("S") else "channels"
        raise ShapeError(
            f"shape {shape} has {last} last, or is a stack of planes of {shape[-2]} x {shape[-1]} "
            f"px; give {remedy.format(other)} or, for a stack, {remedy.format(usual)}"
        )
    square = count == 3 and shape[0] == shape[1] != shape[2]
    if square or _last_is_shorter(shape, DOUBTED_RATIO):
        return Guess(usual, _doubt(shape, usual, remedy.format(other)))
    if count > 3 and 1 < shape[-3] <= _FEW_CHANNELS < shape[-4]:
        swapped = usual.replace("CZ", "ZC")
        return Guess(usual, _doubt(shape, usual, remedy.format(swapped)))
    return Guess(usual)


def doubt_opacity(
    guess: Guess, shape: tuple[int, ...], remedy: str, is_photo: bool = True
) -> Guess:
    """The same with a word where four samples were guessed, the last of which may be opacity.

    Opacity is left as it is, and where it is 0 so are the colours; of channels none should be.

    Parameters
    ----------
    is_photo : whether four are colours and opacity; else they are taken for channels.
    """
    if guess.axes != "YXS" or shape[-1] != OPAQUE_SAMPLES:
        return guess
    if is_photo:
        said = "taken for colours and opacity, which is left as it is"
        return Guess("YXS", f"shape {shape} is {said}; give {remedy.format('YXC')} if it is not")
    said = f"{OPAQUE_SAMPLES} channels"
    return Guess(
        "YXC", f"shape {shape} is taken for {said}; give {remedy.format('YXS')} for RGB and opacity"
    )


def looks_like_channels(shape: tuple[int, ...]) -> bool:
    """Whether the last axis is too short, beside both before it, to be one of columns."""
    return _last_is_shorter(shape, REFUSED_RATIO)


def _last_is_shorter(shape: tuple[int, ...], ratio: int) -> bool:
    """Whether the last axis is shorter than both before it by more than a ratio."""
    return len(shape) > 2 and 0 < ratio * shape[-1] < min(shape[-3:-1])


def _doubt(shape: tuple[int, ...], taken: str, remedy: str) -> str:
    return f"shape {shape} is taken for {', '.join(taken)}; give {remedy} if it is that"


def refuse_axes(path: Any, axes: str) -> None:
    """Refuse axes that the user states of a file that has its own.

    Raises
    ------
    ImageError
        If there are some.
    """
    if axes:
        raise ImageError(
            f"{path}: says itself which axes it has; leave axes {axes} out, which is for .npy and "
            "bare Zarr arrays"
        )
