"""The colour profile of a JPEG XL, which is stored as what a prediction of profiles misses.

Source: ISO/IEC 18181-1, annex E.4 (encoded ICC stream).
"""

from __future__ import annotations

from unetmm.io.jxl_bits import JxlBits
from unetmm.io.jxl_entropy import JxlNumbers

MOST_BYTES = 2**20
"""Longest profile that is read, in bytes as stored; it is decoded in Python."""
_CONTEXTS = 41
_HEADER_BYTES = 128
_TAGS = (
    *(b"cprt", b"wtpt", b"bkpt", b"rXYZ", b"gXYZ", b"bXYZ", b"kXYZ", b"rTRC", b"gTRC", b"bTRC"),
    *(b"kTRC", b"chad", b"desc", b"chrm", b"dmnd", b"dmdd", b"lumi"),
)
_PLACES = (b"rXYZ", b"gXYZ", b"bXYZ", b"kXYZ", b"wtpt", b"bkpt", b"lumi")
"""Tags of 20 bytes unless it is said."""
_TYPES = (b"XYZ ", b"desc", b"text", b"mluc", b"para", b"curv", b"sf32", b"gbd ")


def read_profile(bits: JxlBits) -> bytes:
    """The profile that is next.

    Raises
    ------
    EOFError
        If it is truncated.
    ValueError
        If it is damaged, or longer than is read.
    """
    size = bits.long()
    if size > MOST_BYTES:
        raise ValueError(
            f"its colour profile takes {size} bytes, more than {MOST_BYTES} are not read"
        )
    numbers, found = JxlNumbers(bits, _CONTEXTS), bytearray(2)
    for i in range(size):
        context = 0 if i <= _HEADER_BYTES else 1 + _kind(found[-1]) + 8 * _kind_before(found[-2])
        number = numbers.next(context)
        if number > 255:
            raise ValueError("its colour profile is damaged")
        found.append(number)
    numbers.check_end()
    try:
        return _Profile(bytes(found[2:])).read()
    except (IndexError, OverflowError) as error:
        raise ValueError("its colour profile is damaged") from error


def _is_letter(byte: int) -> bool:
    return 65 <= byte <= 90 or 97 <= byte <= 122


def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57 or byte in b".,"


def _kind(byte: int) -> int:
    """Class of the byte before."""
    if _is_letter(byte):
        return 0
    if _is_digit(byte):
        return 1
    if byte < 16:
        return min(byte, 2) + 2
    return 6 if byte == 255 else 5 if byte > 240 else 7


def _kind_before(byte: int) -> int:
    """Class of the byte before that one."""
    if _is_letter(byte):
        return 0
    if _is_digit(byte):
        return 1
    return 2 if byte < 16 else 3 if byte > 240 else 4


class _Profile:
    """Makes a profile of two streams: commands, and the bytes that they take."""

    def __init__(self, stored: bytes) -> None:
        self._stored = stored
        self._command_at = 0
        self._size = self._varint()
        commands = self._varint()
        self._data_at = self._commands_end = self._command_at + commands
        self._out = bytearray()
        if self._commands_end > len(stored) or self._size > 16 * MOST_BYTES:
            raise IndexError

    def read(self) -> bytes:
        self._read_header()
        if len(self._out) < self._size:
            self._read_tags()
        while self._command_at < self._commands_end:
            self._read_content(self._command())
            if len(self._out) > self._size:
                raise IndexError
        if len(self._out) != self._size or self._data_at != len(self._stored):
            raise IndexError
        return bytes(self._out)

    def _command(self) -> int:
        """The next byte of the commands."""
        self._command_at += 1
        return self._stored[self._command_at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._command()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 56:
                raise IndexError

    def _data(self, count: int) -> bytes:
        """The next bytes that commands take."""
        first, self._data_at = self._data_at, self._data_at + count
        if self._data_at > len(self._stored):
            raise IndexError
        return self._stored[first : self._data_at]

    def _read_header(self) -> None:
        guess = bytearray(_HEADER_BYTES)
        guess[0:4] = self._size.to_bytes(4)
        guess[8] = 4
        guess[12:24] = b"mntrRGB XYZ "
        guess[36:40] = b"acsp"
        guess[70:80] = bytes((246, 214, 0, 1, 0, 0, 0, 0, 211, 45))  # the white of profiles
        out = self._out
        for i in range(min(_HEADER_BYTES, self._size)):
            if i == 8:
                guess[80:84] = out[4:8]
            elif i == 41:
                guess[41:44] = {65: b"PPL", 77: b"SFT"}.get(out[40], guess[41:44])
            elif i == 42:
                guess[42:44] = {b"SG": b"I ", b"SU": b"NW"}.get(bytes(out[40:42]), guess[42:44])
            out.append(guess[i] + self._data(1)[0] & 255)

    def _read_tags(self) -> None:
        count = self._varint() - 1
        if count < 0:
            return
        self._out += count.to_bytes(4)
        start, size = _HEADER_BYTES + 12 * count, 0
        while self._command_at < self._commands_end and (command := self._command()) & 63:
            code = command & 63
            if code == 1:
                tag = self._data(4)
            else:
                tag = {2: b"rTRC", 3: b"rXYZ"}.get(code) or _TAGS[code - 4]
            start = self._varint() if command & 64 else start + size
            size = 20 if tag in _PLACES else size
            if command & 128:
                size = self._varint()
            self._add_tag(tag, start, size)
            for i, letter in enumerate((b"g", b"b"), 1):
                if code in (2, 3):
                    self._add_tag(letter + tag[1:], start + (i * size if code == 3 else 0), size)
            if len(self._out) > self._size:
                raise IndexError

    def _add_tag(self, tag: bytes, start: int, size: int) -> None:
        self._out += tag + (start & 0xFFFFFFFF).to_bytes(4) + (size & 0xFFFFFFFF).to_bytes(4)

    def _read_content(self, command: int) -> None:
        if command == 1:
            self._out += self._data(self._varint())
        elif command in (2, 3):
            self._out += _unshuffled(self._data(self._varint()), 2 if command == 2 else 4)
        elif command == 4:
            self._predict()
        elif command == 10:
            self._out += b"XYZ " + bytes(4) + self._data(12)
        elif 16 <= command < 16 + len(_TYPES):
            self._out += _TYPES[command - 16] + bytes(4)
        else:
            raise IndexError

    def _predict(self) -> None:
        """Numbers that differ little from a line through those before."""
        flags = self._command()
        width, order = (flags & 3) + 1, flags >> 2 & 3
        stride = self._varint() if flags & 16 else width
        if width == 3 or order == 3 or stride < width or 4 * stride >= len(self._out):
            raise IndexError
        missed = _unshuffled(self._data(self._varint()), width)
        out = self._out
        first = len(out)
        for i, byte in enumerate(missed):
            at = first + i - i % width
            before = [
                int.from_bytes(out[at - n * stride : at - n * stride + width]) for n in (1, 2, 3)
            ]
            # The last one, a line through two, or a parabola through three.
            guess = (before[0], 2 * before[0] - before[1], 3 * (before[0] - before[1]) + before[2])
            out.append((guess[order] >> 8 * (width - 1 - i % width)) + byte & 255)


def _unshuffled(data: bytes, width: int) -> bytes:
    """Bytes of numbers side by side that were stored by their place in them."""
    rows = -(-len(data) // width)
    out, start, at = bytearray(), 0, 0
    for _ in data:
        out.append(data[at])
        at += rows
        if at >= len(data):
            start += 1
            at = start
    return bytes(out)
