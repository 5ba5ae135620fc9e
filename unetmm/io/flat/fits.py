"""FITS of astronomy: headers of cards of 80 characters in blocks of 2880 bytes, then pixels.

Source: FITS standard 4.0, https://fits.gsfc.nasa.gov/fits_standard.html
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unetmm.errors import ImageError
from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.flat.header import FlatLayout
from unetmm.io.image import ImageInfo
from unetmm.io.metadata import Metadata, ReadingFacts

log = logging.getLogger(__name__)

_BLOCK_BYTES, _CARD_BYTES = 2880, 80
_MOST_BLOCKS = 2000
"""Longest header that is read, in blocks."""
_MOST_UNITS = 1000
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}
"""BITPIX -> type of a stored value."""
_SHIFTS = {8: -128.0, 16: 32768.0, 32: 2147483648.0}
"""BITPIX -> BZERO that turns a signed value into an unsigned one, or the other way round."""
_STRUCTURE = (
    *("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BZERO", "BSCALE", "BLANK", "COMMENT", "END", ""),
    *("XTENSION", "PCOUNT", "GCOUNT", "CHECKSUM", "DATASUM"),
)
"""Names of cards that say how pixels are stored, or nothing."""
NAMES_SHOWN = 4
"""Most names of cards in a line on what is not kept."""

Cards = dict[str, str]


def find_fits(path: Path) -> FlatLayout:
    """Layout of the first image of a file.

    Raises
    ------
    ImageError
        If there is none, or it cannot be restored.
    """
    with path.open("rb") as file:
        for number in range(_MOST_UNITS):
            cards = _read_cards(path, file)
            if cards is None:
                break
            offset = file.tell()
            if _is_image(cards):
                others = _count_others(path, file, cards)
                return _layout(path, cards, offset, others)
            if _flag(cards.get("ZIMAGE", "")):
                raise ImageError(
                    f"{path}: holds an image compressed in tiles; unpack it by funpack first"
                )
            if number == 0 and "SIMPLE" not in cards:
                raise ImageError(f"{path}: has no valid FITS header; it is damaged")
            file.seek(offset + _data_bytes(cards))
    raise ImageError(f"{path}: the FITS holds no image of rows and columns; give one that does")


def _read_cards(path: Path, file: BinaryIO) -> Cards | None:
    """Name -> text of each card of a header; None at the end of the file."""
    cards: Cards = {}
    for _ in range(_MOST_BLOCKS):
        block = file.read(_BLOCK_BYTES)
        if len(block) < _BLOCK_BYTES:
            if cards:
                raise ImageError(f"{path}: the FITS ends within a header; copy it again")
            return None
        text = block.decode("ascii", "replace")
        for at in range(0, _BLOCK_BYTES, _CARD_BYTES):
            card = text[at : at + _CARD_BYTES]
            name = card[:8].strip()
            if name == "END":
                return cards
            if card[8:10] == "= ":
                cards.setdefault(name, _value(card[10:]))
    raise ImageError(f"{path}: the header of the FITS has no end; it is damaged")


def _value(text: str) -> str:
    """The value of a card, without its comment."""
    text = text.strip()
    if text.startswith("'"):
        return text[1:].split("'")[0].strip()
    return text.split("/")[0].strip()


def _flag(text: str) -> bool:
    return text == "T"


def _whole(cards: Cards, name: str, default: int = 0) -> int:
    text = cards.get(name, "")
    return int(text) if text.lstrip("+-").isdecimal() else default


def _real(cards: Cards, name: str, default: float) -> float:
    try:
        return float(cards.get(name, default))
    except ValueError:
        return default


def _lengths(cards: Cards) -> list[int]:
    """Lengths of the axes, fastest first."""
    count = min(_whole(cards, "NAXIS"), 999)
    return [_whole(cards, f"NAXIS{i}") for i in range(1, count + 1)]


def _is_image(cards: Cards) -> bool:
    kind = cards.get("XTENSION", "IMAGE").upper()
    lengths = _lengths(cards)
    return kind == "IMAGE" and len(lengths) >= 2 and min(lengths) > 0


def _data_bytes(cards: Cards) -> int:
    """Bytes of the data behind a header, whole blocks."""
    lengths = _lengths(cards)
    count = math.prod(lengths) if lengths else 0
    size = abs(_whole(cards, "BITPIX")) // 8 * max(1, _whole(cards, "GCOUNT", 1))
    size *= _whole(cards, "PCOUNT") + count
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _count_others(path: Path, file: BinaryIO, cards: Cards) -> int:
    """Number of units behind an image."""
    count = 0
    while count < _MOST_UNITS:
        file.seek(file.tell() + _data_bytes(cards))
        try:
            found = _read_cards(path, file)
        except ImageError:
            break
        if found is None:
            break
        cards, count = found, count + 1
    return count


def _layout(path: Path, cards: Cards, offset: int, others: int) -> FlatLayout:
    bits = _whole(cards, "BITPIX")
    if bits not in _TYPES:
        raise ImageError(f"{path}: holds FITS pixels of BITPIX {bits}; convert them to float32")
    stored = np.dtype(_TYPES[bits])
    scale, zero = _real(cards, "BSCALE", 1.0), _real(cards, "BZERO", 0.0)
    shifted = scale == 1.0 and _SHIFTS.get(bits) == zero
    dtype = stored.newbyteorder("=")
    if shifted:
        dtype = np.dtype(f"{'i' if dtype.kind == 'u' else 'u'}{dtype.itemsize}")
    lost = [] if shifted or (scale, zero) == (1.0, 0.0) else ["scale of values (BSCALE, BZERO)"]
    lost += _header_words([name for name in cards if _is_said(name)])
    lost += [f"{others} further unit{'s' * (others > 1)}"] if others else []
    axes, shape, guessed = _axes(path, [n for n in _lengths(cards)])
    blank = cards.get("BLANK", "").lstrip("+")
    nodata = NOTHING
    if bits > 0 and blank.lstrip("-").isdecimal():
        nodata = NoData.of(float(int(blank) + (zero if shifted else 0)))
    info = ImageInfo(
        format="fits",
        axes=axes,
        shape=shape,
        dtype=dtype,
        chunk=(1, shape[-1]),
        nodata=nodata,
        metadata=Metadata(reading=ReadingFacts(guessed_axes=guessed, left_out=tuple(lost))),
    )
    return FlatLayout(info, stored, offset, shifted=shifted)


def _header_words(names: list[str]) -> list[str]:
    """What of a header is not kept, with the first few names."""
    if not names:
        return []
    shown = ", ".join(name if name.isprintable() else "?" for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return [f"header ({shown}{f' and {more} more' if more > 0 else ''})"]


def _is_said(name: str) -> bool:
    """Whether a card says something of the image."""
    return name not in _STRUCTURE and not name.startswith("NAXIS")


def _axes(path: Path, lengths: list[int]) -> tuple[str, tuple[int, ...], str]:
    """(axes, lengths, those axes that were guessed): three planes are colours, others depths."""
    width, height, *outer = lengths
    outer = [n for n in outer if n > 1]
    if len(outer) > 3:
        raise ImageError(f"{path}: has {len(lengths)} axes; at most T, C, Z, Y and X are restored")
    letters = {0: "", 1: "C" if outer == [3] else "Z", 2: "CZ", 3: "TCZ"}[len(outer)]
    return f"{letters}YX", (*outer[::-1], height, width), letters
