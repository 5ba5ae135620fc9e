"""The still image of an AVIF that is a film as well: decoders are shown nothing of the film.

imagecodecs writes every image of a film into the memory of one where it is asked for one.

Source: ISO/IEC 14496-12, sections 4.2 and 4.3; AV1 Image File Format, section 6.
"""

from __future__ import annotations

from collections.abc import Iterator

_FILM_BRAND, _STILL_BRAND = b"avis", b"avif"
_FILM, _NOTHING = b"moov", b"free"
_STILL = b"meta"


def has_film(data: bytes) -> bool:
    """Whether a file holds a film, whatever it says that it is."""
    return any(name == _FILM for name, _, _ in _boxes(data))


def has_still(data: bytes) -> bool:
    """Whether a file holds an image of its own, beside a film or without one."""
    return any(name == _STILL for name, _, _ in _boxes(data))


def without_film(data: bytes) -> bytes | bytearray:
    """The same file with its still image alone; a copy if it holds a film.

    Nothing moves, as places in the file are counted from its beginning.
    """
    if not has_film(data):
        return data
    still = bytearray(data)
    for name, start, stop in _boxes(data):
        if name == _FILM:
            still[start + 4 : start + 8] = _NOTHING
        elif name == b"ftyp":
            for at in (start + 8, *range(start + 16, stop - 3, 4)):
                if still[at : at + 4] == _FILM_BRAND:
                    still[at : at + 4] = _STILL_BRAND
    return still


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of each of the outermost boxes, and where it starts and stops."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if length == 1:  # a longer number behind the name
            length = int.from_bytes(data[at + 8 : at + 16])
        stop = min(at + length, len(data)) if length >= 8 else len(data)  # 0: up to the end
        yield data[at + 4 : at + 8], at, stop
        at = stop
