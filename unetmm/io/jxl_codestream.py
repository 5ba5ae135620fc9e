"""What the first bits of a JPEG XL say: size, samples, colours and turning, before it is decoded.

Source: ISO/IEC 18181-1, annexes B (fields), D (image header) and E (colour encoding).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unetmm.io.jxl_bits import JxlBits, Ways

MARK = b"\xff\x0a"
"""Beginning of a codestream."""
ALPHA, SPOT, BLACK = 0, 2, 4
"""Kinds of extra channels that decide how an image is read."""
_KINDS = {1: "depth", SPOT: "spot colour", 3: "selection", BLACK: "black", 5: "CFA", 6: "thermal"}
_RGB, _GREY = 0, 1
_D65, _CUSTOM, _P3 = 1, 2, 11
_WHITES = {_D65: (0.3127, 0.3290), 10: (1 / 3, 1 / 3), _P3: (0.314, 0.351)}
_PRIMARIES = {
    1: (0.639998686, 0.330010138, 0.300003784, 0.600003357, 0.150002046, 0.059997204),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    _P3: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
"""Number -> x and y of colours."""
_SIDES: Ways = ((1, 9), (1, 13), (1, 18), (1, 30))
_PREVIEW_EIGHTHS: Ways = ((16, 0), (32, 0), (1, 5), (33, 9))
_PREVIEW_SIDES: Ways = ((1, 6), (65, 8), (321, 10), (1345, 12))
_DEPTHS: Ways = ((8, 0), (10, 0), (12, 0), (1, 6))
_FLOAT_DEPTHS: Ways = ((32, 0), (16, 0), (24, 0), (1, 6))
_COUNTS: Ways = ((0, 0), (1, 0), (2, 4), (1, 12))
_SHIFTS: Ways = ((0, 0), (3, 0), (4, 0), (1, 3))
_NAMES: Ways = ((0, 0), (0, 4), (16, 5), (48, 10))
_FILTERS: Ways = ((1, 0), (0, 2), (3, 4), (19, 8))
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height of the sizes that have no width of their own."""


@dataclass(frozen=True)
class JxlDepth:
    """How a sample is stored."""

    bits: int = 8
    """Bits of a sample."""
    exponent_bits: int = 0
    """Bits of its exponent; 0 for whole numbers."""


@dataclass(frozen=True)
class JxlChannel:
    """A channel beside the colours."""

    kind: int = ALPHA
    """Number of its meaning."""
    depth: JxlDepth = JxlDepth()
    """Type of its samples."""
    associated: bool = False
    """Whether colours are stored multiplied by it."""

    @property
    def name(self) -> str:
        """Its meaning in words."""
        return f"channel of {_KINDS[self.kind]}" if self.kind in _KINDS else "channel of its own"


@dataclass(frozen=True)
class JxlColours:
    """What the values of the colours mean."""

    profile: bool = False
    """Whether only a packed colour profile tells it, which follows the header and is not read."""
    space: int = _RGB
    """Number of the colour model."""
    white: int = _D65
    """Number of the place of white, as code points have it but for D65."""
    primaries: int = 1
    """Number of the places of red, green and blue."""
    places: tuple[float, ...] = ()
    """x and y of white, red, green and blue, of which any that has a number is 0."""
    transfer: int = 13
    """Number of the transfer; 0 if it is a gamma."""
    gamma: float = 0.0
    """Power that a value is of its light; 0 if the transfer has a number."""

    @property
    def is_grey(self) -> bool:
        """Whether pixels have one sample of light."""
        return self.space == _GREY

    @property
    def code_point(self) -> int:
        """Number of white and primaries as videos have it (ITU-T H.273); 0 if they have none."""
        if self.white == _D65 and (self.is_grey or self.primaries != _CUSTOM):
            return {_P3: 12}.get(self.primaries, self.primaries)
        return _P3 if self.white == self.primaries == _P3 else 0

    @property
    def all_places(self) -> tuple[float, ...]:
        """x and y of white, red, green and blue."""
        colours = _PRIMARIES.get(self.primaries, self.places[2:])
        return _WHITES.get(self.white, self.places[:2]) + colours

    @property
    def is_known(self) -> bool:
        """Whether the model is grey or of three colours."""
        return self.space in (_RGB, _GREY)


@dataclass(frozen=True)
class JxlHeader:
    """All that is said before the frames."""

    height: int
    """Rows as stored."""
    width: int
    """Columns as stored."""
    orientation: int = 1
    """Turning as EXIF counts it; decoders apply it."""
    depth: JxlDepth = JxlDepth()
    """Type of the colours' samples."""
    channels: tuple[JxlChannel, ...] = ()
    """Channels beside the colours."""
    colours: JxlColours = JxlColours()
    """Colour space."""
    xyb: bool = True
    """Whether colours are stored as an eye sees them, which decoders convert."""
    animated: bool = False
    """Whether it is an animation; nothing behind the size is read of one."""
    others: tuple[str, ...] = ()
    """Names of what else the header holds."""
    preview_size: tuple[int, int] | None = None
    """Height and width of the small copy that comes first, if there is one."""
    frames_at: int = 0
    """Offset of the first frame in bytes; none is found behind a packed profile."""

    @property
    def alpha(self) -> JxlChannel | None:
        """The first channel of opacity."""
        return next((channel for channel in self.channels if channel.kind == ALPHA), None)

    @property
    def further(self) -> tuple[JxlChannel, ...]:
        """Channels that are neither colours nor that opacity."""
        first = self.alpha
        return tuple(channel for channel in self.channels if channel is not first)

    @property
    def samples(self) -> int:
        """Samples of a pixel, those of all channels."""
        return (1 if self.colours.is_grey else 3) + len(self.channels)


def read_jxl_header(data: bytes) -> JxlHeader:
    """The header of a codestream.

    Raises
    ------
    EOFError
        If it is truncated.
    ValueError
        If it is no codestream, or damaged.
    """
    if data[:2] != MARK:
        raise ValueError("it has no codestream")
    bits = JxlBits(data[2:])
    height, width = _size(bits)
    if bits.flag():
        _skip_transforms(bits, xyb=True)
        bits.to_byte()
        return JxlHeader(height, width, frames_at=len(MARK) + bits.byte)
    orientation, others, preview, more = 1, [], None, bits.flag()
    if more:
        orientation = bits.take(3) + 1
        if bits.flag():
            others.append("size for viewers {1} x {0} px".format(*_size(bits)))
        if bits.flag():
            others.append("preview")
            preview = _preview_size(bits)
        if bits.flag():
            return JxlHeader(height, width, animated=True)
    depth = _depth(bits)
    bits.flag()  # whether 16 bits suffice while it is decoded
    channels = tuple(_channel(bits) for _ in range(bits.number(_COUNTS)))
    xyb = bits.flag()
    colours = _colours(bits)
    if more and not bits.flag():
        others.append("light levels")
        bits.take(49)
    bits.skip_extensions()
    _skip_transforms(bits, xyb)
    bits.to_byte()
    return JxlHeader(
        height, width, orientation, depth, channels, colours, xyb, False, tuple(others), preview,
        len(MARK) + bits.byte,
    )  # fmt: skip


def _size(bits: JxlBits) -> tuple[int, int]:
    """(height, width) in pixels."""
    small = bits.flag()
    return _sides(bits, lambda: (bits.take(5) + 1) * 8 if small else bits.number(_SIDES))


def _preview_size(bits: JxlBits) -> tuple[int, int]:
    ways = _PREVIEW_EIGHTHS if bits.flag() else _PREVIEW_SIDES
    return _sides(bits, lambda: bits.number(ways) * (8 if ways is _PREVIEW_EIGHTHS else 1))


def _sides(bits: JxlBits, side: Callable[[], int]) -> tuple[int, int]:
    """Height and width, of which the width may follow from a ratio."""
    height, ratio = side(), bits.take(3)
    if not ratio:
        return height, side()
    above, below = _RATIOS[ratio - 1]
    return height, height * above // below


def _skip_transforms(bits: JxlBits, xyb: bool) -> None:
    """Skip numbers that decoders take instead of their own."""
    if bits.flag():
        return
    if xyb and not bits.flag():
        bits.take(16 * 16)
    tables = bits.take(3)
    for table, count in enumerate((15, 55, 210)):
        if tables >> table & 1:
            bits.take(16 * count)


def _depth(bits: JxlBits) -> JxlDepth:
    if bits.flag():
        return JxlDepth(bits.number(_FLOAT_DEPTHS), bits.take(4) + 1)
    return JxlDepth(bits.number(_DEPTHS))


def _channel(bits: JxlBits) -> JxlChannel:
    if bits.flag():
        return JxlChannel()
    kind, depth = bits.kind(), _depth(bits)
    bits.number(_SHIFTS)
    for _ in range(bits.number(_NAMES)):
        bits.take(8)
    associated = kind == ALPHA and bits.flag()
    if kind == SPOT:
        bits.take(64)
    elif kind == 5:
        bits.number(_FILTERS)
    return JxlChannel(kind, depth, associated)


def _colours(bits: JxlBits) -> JxlColours:
    if bits.flag():
        return JxlColours()
    profile, space = bits.flag(), bits.kind()
    if profile or space not in (_RGB, _GREY):
        return JxlColours(profile, space)
    white = bits.kind()
    places: tuple[float, ...] = bits.place() if white == _CUSTOM else (0.0, 0.0)
    primaries = 1
    if space == _RGB:
        primaries = bits.kind()
        for _ in range(3):
            places += bits.place() if primaries == _CUSTOM else (0.0, 0.0)
    gamma = bits.take(24) / 1e7 if bits.flag() else 0.0
    transfer = 0 if gamma else bits.kind()
    bits.kind()  # how to convert it for a screen
    return JxlColours(False, space, white, primaries, places, transfer, gamma)
