"""A colour profile (ICC) made of a PNG's gAMA and cHRM or cICP, for formats that know no other."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from unetmm.io.code_points import CICP, curve_of, in_words, places_and_curve
from unetmm.io.metadata import PhotoFacts

_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""Places of sRGB's white, red, green and blue in the CIE diagram: x and y of each."""
_USUAL_GAMMA = 1 / 2.2
_D50 = (0.9642, 1.0, 0.8249)
"""White of every profile."""
_BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
"""Matrix from XYZ to the responses that whites are adapted in (Bradford)."""
_TOLERANCE = 0.005


def profile_of(photo: PhotoFacts) -> bytes:
    """The profile of an image: its own, or one of what its PNG said; empty if that is as usual."""
    chunks = dict(photo.png_chunks)
    if photo.icc_profile:
        return photo.icc_profile
    if CICP in chunks:
        return profile_of_points(chunks[CICP])
    if b"sRGB" in chunks:
        return b""
    facts = colour_facts(photo.png_chunks)
    gamma, places = facts.get("gamma", _USUAL_GAMMA), facts.get("places", _SRGB)
    assert isinstance(gamma, float) and isinstance(places, tuple)
    usual = np.allclose((gamma, *places), (_USUAL_GAMMA, *_SRGB), atol=_TOLERANCE)
    if usual or min(places[1::2]) <= 0:
        return b""
    return _make(_gamma_curve(1 / gamma), places, b"from gAMA and cHRM")


def profile_of_points(content: bytes) -> bytes:
    """The profile of a cICP; empty if it is HDR, not known, or as usual."""
    found = places_and_curve(content)
    if found is None:
        return b""
    places, light = found
    curve = _gamma_curve(light) if isinstance(light, float) else _curve(light)
    return _make(curve, places, in_words(content).encode("ascii"))


def profile_of_places(places: tuple[float, ...], transfer: int, gamma: float) -> bytes:
    """The profile of any x and y of white, red, green and blue; empty if there is none.

    gamma : power that a value is of its light; 0 if the number of a transfer tells it.
    """
    light = min(1 / gamma, 255.0) if gamma > 0 else curve_of(transfer)
    if light is None or min(places[1::2]) <= 0:
        return b""
    curve = _gamma_curve(light) if isinstance(light, float) else _curve(light)
    return _make(curve, places, b"of the file's own colours")


def colour_facts(
    chunks: tuple[tuple[bytes, bytes], ...],
) -> dict[str, float | tuple[float, ...]]:
    """Numbers of gAMA and cHRM: "gamma" of the file, and "places" of white, red, green and blue."""
    found: dict[str, float | tuple[float, ...]] = {}
    for name, content in chunks:
        if name == b"gAMA" and len(content) == 4 and any(content):
            found["gamma"] = int.from_bytes(content, "big") / 100000
        elif name == b"cHRM" and len(content) == 32:
            found["places"] = tuple(n / 100000 for n in struct.unpack(">8I", content))
    return found


def _gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _curve(light: NDArray[np.float64]) -> bytes:
    """Light of evenly spaced values."""
    values = np.rint(light * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + values.tobytes()


def _make(curve: bytes, places: tuple[float, ...], name: bytes) -> bytes:
    """An ICC profile (version 2) of three colours with the same curve."""
    white, *primaries = (_xyz(*places[i : i + 2]) for i in range(0, 8, 2))
    adapted = _adaptation(white)
    try:
        shares = np.linalg.solve(np.stack(primaries, axis=1), white)
    except np.linalg.LinAlgError:  # colours on one line
        return b""
    tags = {b"desc": _description(name), b"cprt": b"text" + bytes(4) + b"no copyright\0\0\0\0"}
    tags[b"wtpt"] = _point(np.array(_D50))
    for name, primary, share in zip((b"r", b"g", b"b"), primaries, shares, strict=True):
        tags[name + b"XYZ"] = _point(adapted @ (primary * share))
        tags[name + b"TRC"] = curve
    return _packed(tags)


def _packed(tags: dict[bytes, bytes]) -> bytes:
    """Head, table and contents."""
    at, table, contents = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(contents)
    whole = struct.pack(">I4s4s", size, bytes(4), bytes([2, 0x20, 0, 0])) + b"mntrRGB XYZ "
    whole += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    whole += b"".join(_fixed(n) for n in _D50)
    return whole.ljust(128, b"\0") + table + contents


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array((x / y, 1.0, (1 - x - y) / y))


def _adaptation(white: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix that turns colours under a white into those under the white of profiles."""
    matrix = np.array(_BRADFORD)
    ratio = (matrix @ np.array(_D50)) / (matrix @ white)
    found: NDArray[np.float64] = np.linalg.inv(matrix) @ np.diag(ratio) @ matrix
    return found


def _point(xyz: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(float(n)) for n in xyz)


def _fixed(number: float) -> bytes:
    """A number as profiles store it, in 1/65536."""
    return struct.pack(">i", round(number * 65536))


def _description(name: bytes) -> bytes:
    text = name + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
