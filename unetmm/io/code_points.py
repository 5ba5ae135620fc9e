"""Colour spaces by the numbers that videos, AVIF, HEIC and PNG (cICP) have for them.

Source: ITU-T H.273, tables 2 and 3; PNG, third edition, section 11.3.2.6 (cICP).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CICP = b"cICP"
"""Name of the chunk of a PNG that holds them."""
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_BT709 = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_PLACES = {
    1: _BT709,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
"""Number of primaries -> x and y of white, red, green and blue."""
_PRIMARIES = {
    **{1: "BT.709", 4: "NTSC", 5: "BT.601 (625 lines)", 6: "BT.601", 7: "SMPTE 240M"},
    **{8: "film", 9: "BT.2020", 10: "CIE XYZ", 11: "DCI-P3", 12: "Display P3", 22: "EBU 3213"},
}
_LINEAR, _PQ, _HLG = 8, 16, 18
_TRANSFERS = {4: "gamma 2.2", 5: "gamma 2.8", _LINEAR: "linear light"}
_TRANSFERS |= {_PQ: "HDR transfer PQ", _HLG: "HDR transfer HLG"}
_AS_SRGB = (0, 1, 2, 3, 6, 13, 14, 15)
"""Numbers of transfers that are shown as sRGB's is, or say nothing."""
_GAMMAS = {4: 2.2, 5: 2.8, _LINEAR: 1.0}
_UNSAID = (0, 1, 2, 3)
_STEPS = 1024


def chunk_of(primaries: int, transfer: int, has_colours: bool) -> tuple[tuple[bytes, bytes], ...]:
    """The chunk of a PNG that says a colour space; none for that of most images."""
    as_usual = transfer in _AS_SRGB
    if as_usual and (primaries in _UNSAID or not has_colours):
        return ()
    if max(primaries, transfer) > 255:
        return ()
    primaries = 1 if primaries in _UNSAID else primaries
    return ((CICP, bytes([primaries, 13 if as_usual else transfer, 0, 1])),)


def is_hdr(content: bytes) -> bool:
    """Whether a chunk says more light than a colour profile can."""
    return len(content) == 4 and content[1] in (_PQ, _HLG)


def in_words(content: bytes) -> str:
    """A chunk for a reader."""
    if len(content) != 4:
        return "damaged"
    space = _PRIMARIES.get(content[0], f"primaries {content[0]}")
    if content[1] in _AS_SRGB:
        return space
    return f"{space} with {_TRANSFERS.get(content[1], f'transfer {content[1]}')}"


def places_and_curve(
    content: bytes,
) -> tuple[tuple[float, ...], NDArray[np.float64] | float] | None:
    """Places of white, red, green and blue, and the light of values: a gamma, or that of evenly
    spaced values from 0 to 1. None where these are not known, or the values are HDR.
    """
    if len(content) != 4 or content[0] not in _PLACES:
        return None
    light = curve_of(content[1])
    return None if light is None else (_PLACES[content[0]], light)


def curve_of(transfer: int) -> NDArray[np.float64] | float | None:
    """The light of values by the number of their transfer: a gamma, or that of evenly spaced values
    from 0 to 1. None where it is not known, or the values are HDR.
    """
    if transfer in _GAMMAS:
        return _GAMMAS[transfer]
    if transfer not in _AS_SRGB:
        return None
    values = np.linspace(0, 1, _STEPS)
    light: NDArray[np.float64] = np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )
    return light
