"""Fields of a JPEG XL, of which the lowest bit of each byte comes first.

Source: ISO/IEC 18181-1, annex B.
"""

from __future__ import annotations

import struct

Ways = tuple[tuple[int, int], ...]
"""Offset and bits of each of the four ways in which a number of some kind is stored."""
_ENUM: Ways = ((0, 0), (1, 0), (2, 4), (18, 6))
_PLACES: Ways = ((0, 19), (524288, 19), (1048576, 20), (2097152, 21))


class JxlBits:
    """Reads fields, the lowest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        """The next bits as a number.

        Raises
        ------
        EOFError
            If there are no more.
        """
        first, stop = self._at, self._at + count
        if stop > 8 * len(self._data):
            raise EOFError("its header is truncated")
        self._at = stop
        window = int.from_bytes(self._data[first >> 3 : (stop + 7) >> 3], "little")
        return window >> (first & 7) & ((1 << count) - 1)

    @property
    def byte(self) -> int:
        """Number of bytes that were read, a whole number after `to_byte`."""
        return self._at >> 3

    def to_byte(self) -> None:
        """Skip to the next byte."""
        self._at = -(-self._at // 8) * 8

    def flag(self) -> bool:
        return bool(self.take(1))

    def number(self, ways: Ways) -> int:
        """A number that is stored in one of four ways."""
        offset, bits = ways[self.take(2)]
        return offset + self.take(bits)

    def kind(self) -> int:
        return self.number(_ENUM)

    def long(self) -> int:
        """A number of up to 64 bits."""
        way = self.take(2)
        if way < 2:
            return self.take(4) + 1 if way else 0
        if way == 2:
            return self.take(8) + 17
        value, shift = self.take(12), 12
        while self.flag():
            if shift == 60:
                return value | self.take(4) << 60
            value |= self.take(8) << shift
            shift += 8
        return value

    def half(self) -> float:
        return float(struct.unpack("<e", self.take(16).to_bytes(2, "little"))[0])

    def place(self) -> tuple[float, float]:
        """x and y of a colour in the CIE diagram."""
        x, y = (self.number(_PLACES) for _ in "xy")
        return signed(x) / 1e6, signed(y) / 1e6

    def skip_extensions(self) -> None:
        """Skip fields of later versions."""
        kinds = self.long()
        length = sum(self.long() for _ in range(kinds.bit_count()))
        self.take(length)


def signed(number: int) -> int:
    """A number whose lowest bit is its sign."""
    return -(number + 1 >> 1) if number & 1 else number >> 1
