"""Names of length and time units: ours are the OME-Zarr ones, spelled out ("micrometer")."""

from __future__ import annotations

SYMBOLS = {
    "angstrom": "Å",
    "picometer": "pm",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "kilometer": "km",
    "inch": "in",
    "nanosecond": "ns",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
    "pixel": "pixel",
}
"""Name of a unit -> symbol that OME-XML uses."""

_PICOMETERS = {
    "picometer": 1,
    "angstrom": 100,
    "nanometer": 10**3,
    "micrometer": 10**6,
    "millimeter": 10**9,
    "centimeter": 10**10,
    "inch": 254 * 10**8,
    "meter": 10**12,
    "kilometer": 10**15,
}
_NANOSECONDS = {
    "nanosecond": 1,
    "microsecond": 10**3,
    "millisecond": 10**6,
    "second": 10**9,
    "minute": 60 * 10**9,
    "hour": 3600 * 10**9,
    "day": 86400 * 10**9,
}

_SPELLINGS = {
    "um": "micrometer",
    "μm": "micrometer",  # Greek mu; the micro sign is in SYMBOLS
    "micron": "micrometer",
    "microns": "micrometer",
    "μs": "microsecond",
    "us": "microsecond",
    "sec": "second",
    "msec": "millisecond",
    "hr": "hour",
    "seconds": "second",
    "millisec": "millisecond",
    "mins": "minute",
    "hrs": "hour",
    "a": "angstrom",
    "å": "angstrom",
    "inches": "inch",
    '"': "inch",
    "pixels": "pixel",
    "px": "pixel",
}
_MICRO = ("\ufffd", "\u00c2\u00b5", "\u00ce\u00bc", "&#181;", "&micro;", "?")
"""Beginnings that a micro sign has become in other hands; no other symbol of a unit begins so."""


def full_unit(text: str) -> str:
    """Our name of a unit written as a symbol, a nickname or in full; unknown text is kept."""
    text = text.strip("\0 .").replace("\\u00B5", "µ").replace("\\u00b5", "µ")
    for broken in _MICRO:
        if text.startswith(broken) and text[len(broken) :] in ("m", "s"):
            text = f"µ{text[len(broken) :]}"
    if text in SYMBOLS:
        return text
    if (one := text.lower().removesuffix("s").replace("metre", "meter")) in SYMBOLS:
        return one
    for name, symbol in SYMBOLS.items():
        if text == symbol:
            return name
    return _SPELLINGS.get(text.lower(), text)


def unit_symbol(name: str) -> str:
    """Symbol for OME-XML of one of our unit names; unknown names are kept."""
    return SYMBOLS.get(name, name)


def in_unit(value: float, unit: str, target: str) -> float | None:
    """A length or time in another of our units; None if one cannot be told in the other."""
    if unit == target:
        return value
    for sizes in (_PICOMETERS, _NANOSECONDS):
        if unit in sizes and target in sizes:
            return value * sizes[unit] / sizes[target]
    return None
