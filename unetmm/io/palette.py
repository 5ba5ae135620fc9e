"""What the stored values of an image with a palette are: a measurement, colours, or classes.

Microscopes and thermal cameras show measured values by a colour map, whose neighbours look alike.
Photos with few colours store the number of a colour, and land cover that of a class: neighbouring
numbers have nothing to do with each other.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

PaletteChoice = Literal["auto", "values", "colours"]
"""Choice of what stored values are taken for."""
Meaning = Literal["values", "colours", "classes"]
"""Nature of stored values; classes are restored as colours, with a word."""

FEWEST_STEPS = 32
"""Number of different colours from which on one can see whether they change gradually."""
GREATEST_STEP = 32 * 257
"""Largest difference of a sample between neighbours that look alike, of 65535."""
STEPS_PER_BREAK = 16
"""Number of steps that a colour map has for each turn and each jump in it. Of a dozen maps none had
more than one turn in 80 steps, of 110 palettes of photos none fewer than one in 8."""
MOST_CLASSES = 32
"""Largest number of different colours that are taken for classes where nothing else tells."""
MOST_CLASSES_16_BIT = 256
"""Largest number of colours of classes whose values have 16 bits, as no photo has."""


@dataclass(frozen=True)
class Palette:
    """Colours of stored values, as a file states them."""

    colours: NDArray[np.uint16]
    """Red, green and blue of each value, shape (values, 3), 65535 is full."""
    bits: int
    """Bits of a stored value."""
    measured: bool = False
    """Whether the file is a microscope's or another instrument's."""
    ours: bool = False
    """Whether the file is an output of ours, in which a palette shows restored values."""
    on_earth: bool = False
    """Whether the file has a place on Earth, as maps of land cover have."""

    @property
    def count(self) -> int:
        """Number of different colours."""
        return len(np.unique(_used(self.colours), axis=0))

    def meaning(self) -> Meaning:
        """What the stored values are most likely."""
        if self.measured or self.ours:
            return "values"
        if self.bits >= 8 and is_gradual(self.colours):
            return "values"
        most = MOST_CLASSES_16_BIT if self.bits > 8 else MOST_CLASSES
        if self.on_earth or self.count <= most:
            return "classes"
        return "values" if self.bits > 8 else "colours"


def scaled_colours(stored: Any, bits: int) -> NDArray[np.uint16]:
    """(values, 3) of three rows of a TIFF; some software writes numbers up to 255.

    bits : of a stored value; entries beyond them belong to none.
    """
    colours = np.reshape(np.asarray(stored, np.uint16), (3, -1)).T[: 2**bits]
    return colours * np.uint16(257) if colours.max(initial=0) <= 255 else colours


def is_gradual(colours: NDArray[np.uint16]) -> bool:
    """Whether colours go up and down slowly, as those of grey ramps and colour maps do.

    Those of a photo may differ little from one to the next, but they go to and fro.
    """
    changes = np.diff(_used(colours).astype(np.int32), axis=0)
    steps = np.abs(changes).max(axis=1)
    count = int((steps > 0).sum())
    if count + 1 < FEWEST_STEPS:
        return False
    turns = 0
    for sample in changes.T:
        signs = np.sign(sample[sample != 0])
        turns += int((signs[1:] != signs[:-1]).sum())
    return max(turns, int((steps > GREATEST_STEP).sum())) <= count // STEPS_PER_BREAK


def is_plain_grey(colours: NDArray[np.uint16]) -> bool:
    """Whether colours say no more than that 0 is black and the largest value white."""
    if is_grey_ramp(colours):
        return True
    ramp = np.linspace(0, 65535, len(colours))[:, None]
    return len(colours) in (2**8, 2**16) and bool((np.abs(colours - ramp) <= 257).all())


def is_grey_ramp(colours: NDArray[np.uint16]) -> bool:
    """Whether each of 8-bit values, up to the last that has a colour, is the grey of its number."""
    used = _used(colours)
    ramp = np.arange(len(used), dtype=np.int32)[:, None] * 257
    return len(used) >= FEWEST_STEPS and bool((used == ramp).all())


def brightest(colours: NDArray[np.uint16]) -> str:
    """ "#rrggbb" of the brightest colour."""
    most = colours[np.argmax(colours.astype(np.int64).sum(axis=1))]
    return "#" + bytes((most >> 8).tolist()).hex()


def _used(colours: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Colours without the black entries that fill a palette up."""
    used = np.flatnonzero(colours.any(axis=1))
    return colours[: used[-1] + 1] if used.size else colours[:1]


def pack_map(colours: NDArray[np.uint16]) -> bytes:
    """A colour map as metadata keeps it: its numbers, little-endian, compressed."""
    return zlib.compress(np.ascontiguousarray(colours.T, "<u2").tobytes())


def unpack_map(packed: bytes) -> NDArray[np.uint16]:
    """(values, 3) of what `pack_map` made.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        data = zlib.decompressobj().decompress(packed, 6 * 2**16)
    except zlib.error as error:
        raise ValueError(f"a colour map is damaged: {error}") from None
    return np.frombuffer(data, "<u2").astype(np.uint16).reshape(3, -1).T
