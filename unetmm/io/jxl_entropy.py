"""Numbers of a JPEG XL that are stored by how often they come: prefix codes, ANS and LZ77.

Only what lies before the pixels is read so: a colour profile, and the order of parts.

Source: ISO/IEC 18181-1, annex C (entropy decoding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unetmm.io.jxl_bits import JxlBits, Ways

_TABLE_BITS, _TABLE = 12, 4096
_PREFIX_BITS = 15
_END_STATE = 0x130000
_LEAST_SYMBOLS: Ways = ((224, 0), (512, 0), (4096, 0), (8, 15))
_LEAST_LENGTHS: Ways = ((3, 0), (4, 0), (5, 2), (9, 8))
_LOG_COUNTS = {
    (3, 0b000): 10, (3, 0b010): 7, (3, 0b100): 6, (3, 0b101): 8, (3, 0b110): 9,
    (4, 0b0011): 3, (4, 0b0111): 5, (4, 0b1001): 4, (4, 0b1011): 1, (4, 0b1111): 2,
    (5, 0b10001): 0, (6, 0b100001): 11, (7, 0b0000001): 12, (7, 0b1000001): 13,
}  # fmt: skip
"""Number of bits and the bits -> logarithm of a count; 13 repeats the count before."""
_REPEAT = 13
_LENGTH_CODES = {
    (2, 0b00): 0, (2, 0b01): 4, (2, 0b10): 3, (3, 0b011): 2, (4, 0b0111): 1, (4, 0b1111): 5,
}  # fmt: skip
_LENGTH_ORDER = (1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15)
Codes = dict[tuple[int, int], int]
"""Number of bits and the bits, the first of them lowest -> symbol."""


def _coded(bits: JxlBits, codes: Codes) -> int:
    """A symbol of a prefix code."""
    found = 0
    for length in range(1, _PREFIX_BITS + 1):
        found |= bits.take(1) << length - 1
        symbol = codes.get((length, found))
        if symbol is not None:
            return symbol
    raise ValueError("a prefix code is damaged")


def _short(bits: JxlBits, width: int = 3) -> int:
    """A number that takes few bits if it is small."""
    if not bits.flag():
        return 0
    count = bits.take(width)
    return bits.take(count) + (1 << count)


@dataclass(frozen=True)
class _Split:
    """How a number is split into a symbol and bits that follow it as they are."""

    exponent: int
    """Logarithm of the first number that is split."""
    high: int
    """Bits of its upper end that the symbol holds."""
    low: int
    """Bits of its lower end that the symbol holds."""

    @classmethod
    def read(cls, bits: JxlBits, alphabet_bits: int) -> _Split:
        exponent, high, low = bits.take(alphabet_bits.bit_length()), 0, 0
        if exponent != alphabet_bits:
            high = bits.take(exponent.bit_length())
            low = bits.take(max(exponent - high, 0).bit_length())
        if high + low > exponent:
            raise ValueError("a number is split wrongly")
        return cls(exponent, high, low)

    def number(self, bits: JxlBits, symbol: int) -> int:
        if symbol < 1 << self.exponent:
            return symbol
        held = self.high + self.low
        count = self.exponent - held + (symbol - (1 << self.exponent) >> held) & 31
        low, upper = symbol & (1 << self.low) - 1, symbol >> self.low
        above = 1 << self.high | upper & (1 << self.high) - 1
        return (above << count | bits.take(count)) << self.low | low


class _PrefixCode:
    """Symbols of a prefix code."""

    def __init__(self, bits: JxlBits, symbols: int) -> None:
        self._codes: Codes = {}
        self._only = 0
        if symbols == 1:
            return
        way = bits.take(2)
        lengths = _simple_lengths(bits, symbols) if way == 1 else _lengths(bits, symbols, way)
        if len(lengths) == 1:
            (self._only,) = lengths
        else:
            self._codes = _canonical(lengths)

    def symbol(self, bits: JxlBits) -> int:
        return _coded(bits, self._codes) if self._codes else self._only


def _simple_lengths(bits: JxlBits, symbols: int) -> dict[int, int]:
    """Length of the code of each of up to four symbols, in the order of their codes."""
    width, count = (symbols - 1).bit_length(), bits.take(2) + 1
    found = [bits.take(width) for _ in range(count)]
    if len(set(found)) < count or max(found) >= symbols:
        raise ValueError("a prefix code is damaged")
    lengths = {1: (0,), 2: (1, 1), 3: (1, 2, 2), 4: (2, 2, 2, 2)}[count]
    if count == 4 and bits.flag():
        lengths = (1, 2, 3, 3)
    return dict(zip(found, lengths, strict=True))


def _lengths(bits: JxlBits, symbols: int, skipped: int) -> dict[int, int]:
    """Lengths that are coded themselves."""
    of_lengths: dict[int, int] = {}
    space = 32
    for symbol in _LENGTH_ORDER[skipped:]:
        if space <= 0:
            break
        if length := _coded(bits, _LENGTH_CODES):
            of_lengths[symbol] = length
            space -= 32 >> length
    if not of_lengths or (space and len(of_lengths) > 1):
        raise ValueError("a prefix code is damaged")
    codes = _canonical(of_lengths) if len(of_lengths) > 1 else {}
    found: dict[int, int] = {}
    symbol, before, repeat, repeated, space = 0, 8, 0, 0, 1 << _PREFIX_BITS
    while symbol < symbols and space > 0:
        code = _coded(bits, codes) if codes else next(iter(of_lengths))
        count = 1
        if code < 16:
            repeat, length, before = 0, code, code or before
        else:
            length = before if code == 16 else 0
            if repeated != length:
                repeat, repeated = 0, length
            old = repeat
            repeat = (repeat - 2 << code - 14 if repeat else 0) + bits.take(code - 14) + 3
            count = repeat - old
        if length:
            found |= dict.fromkeys(range(symbol, symbol + count), length)
            space -= count << _PREFIX_BITS - length
        symbol += count
    if symbol > symbols or space:
        raise ValueError("a prefix code is damaged")
    return found


def _canonical(lengths: dict[int, int]) -> Codes:
    """Codes by their lengths: shorter ones first, then lower symbols."""
    codes: Codes = {}
    code, before = 0, 0
    for symbol, length in sorted(lengths.items(), key=lambda entry: (entry[1], entry[0])):
        code <<= length - before
        codes[length, int(f"{code:0{length}b}"[::-1], 2)] = symbol
        code, before = code + 1, length
    return codes


class _Histogram:
    """Symbols of ANS, looked up by an alias table."""

    def __init__(self, bits: JxlBits, alphabet_bits: int) -> None:
        counts = _counts(bits)
        size = 1 << alphabet_bits
        while counts and not counts[-1]:
            counts.pop()
        if len(counts) > size:
            raise ValueError("a histogram is longer than its alphabet")
        self._counts = counts + [0] * (size - len(counts))
        self._shift = _TABLE_BITS - alphabet_bits
        self._cutoffs, self._others, self._offsets = _alias(self._counts, 1 << self._shift)

    def step(self, state: int) -> tuple[int, int]:
        """A symbol and the next state."""
        place = state & _TABLE - 1
        symbol, offset = place >> self._shift, place & (1 << self._shift) - 1
        if offset >= self._cutoffs[symbol]:
            offset += self._offsets[symbol]
            symbol = self._others[symbol]
        return symbol, self._counts[symbol] * (state >> _TABLE_BITS) + offset


def _alias(counts: list[int], room: int) -> tuple[list[int], list[int], list[int]]:
    """Of each cell of a table: where another symbol begins, which one, and its offset."""
    others, offsets = list(range(len(counts))), [0] * len(counts)
    if _TABLE in counts:
        only = counts.index(_TABLE)
        return [0] * len(counts), [only] * len(counts), [room * i for i in others]
    cutoffs = list(counts)
    over = [i for i, n in enumerate(counts) if n > room]
    under = [i for i, n in enumerate(counts) if n < room]
    while over:
        much, little = over.pop(), under.pop()
        cutoffs[much] -= room - cutoffs[little]
        others[little], offsets[little] = much, cutoffs[much]
        if cutoffs[much] != room:
            (under if cutoffs[much] < room else over).append(much)
    for i, cutoff in enumerate(cutoffs):
        offsets[i] = 0 if cutoff == room else offsets[i] - cutoff
    return cutoffs, others, offsets


def _counts(bits: JxlBits) -> list[int]:
    """How often each symbol comes, of 4096."""
    if bits.flag():
        symbols = [_short(bits) for _ in range(bits.take(1) + 1)]
        counts = [0] * (max(symbols) + 1)
        counts[symbols[0]] = bits.take(_TABLE_BITS) if len(symbols) > 1 else _TABLE
        if len(symbols) > 1:
            if symbols[0] == symbols[1]:
                raise ValueError("a histogram is damaged")
            counts[symbols[1]] = _TABLE - counts[symbols[0]]
        return counts
    if bits.flag():
        size = _short(bits) + 1
        return [_TABLE // size + (i < _TABLE % size) for i in range(size)]
    width = next((n for n in range(3) if not bits.flag()), 3)
    shift = (bits.take(width) | 1 << width) - 1
    if shift > _TABLE_BITS + 1:
        raise ValueError("a histogram is damaged")
    return _long_counts(bits, shift)


def _long_counts(bits: JxlBits, shift: int) -> list[int]:
    size = _short(bits) + 3
    logs, same, at = [0] * size, [0] * size, 0
    while at < size:
        logs[at] = _coded(bits, _LOG_COUNTS)
        if logs[at] == _REPEAT:
            same[at] = _short(bits) + 4
            at += same[at] - 1
        at += 1
    most = max((log for log in logs if log != _REPEAT), default=0)
    omitted = logs.index(most)
    if logs[omitted + 1 : omitted + 2] == [_REPEAT]:
        raise ValueError("a histogram is damaged")
    counts, left = [0] * size, 0
    for i, log in enumerate(logs):
        left = same[i] or left
        if left:
            counts[i] = counts[i - 1] if i else 0
            left -= 1
        elif i != omitted and log:
            extra = max(0, min(log - 1, shift - (_TABLE_BITS - log + 1 >> 1)))
            counts[i] = (1 << log - 1) + (bits.take(extra) << log - 1 - extra)
    counts[omitted] = _TABLE - sum(counts)
    if counts[omitted] <= 0:
        raise ValueError("a histogram is damaged")
    return counts


class JxlNumbers:
    """Numbers of several contexts, one after another."""

    def __init__(self, bits: JxlBits, contexts: int, *, may_repeat: bool = True) -> None:
        self._bits = bits
        self._repeats = bits.flag()
        if self._repeats:
            if not may_repeat:
                raise ValueError("contexts are stored wrongly")
            self._first_copy = bits.number(_LEAST_SYMBOLS)
            self._least_length = bits.number(_LEAST_LENGTHS)
            self._lengths = _Split.read(bits, 8)
            contexts += 1
        self._clusters = _clusters(bits, contexts) if contexts > 1 else [0]
        clusters = max(self._clusters) + 1
        self._by_prefix = bits.flag()
        alphabet_bits = _PREFIX_BITS if self._by_prefix else bits.take(2) + 5
        self._splits = [_Split.read(bits, alphabet_bits) for _ in range(clusters)]
        self._prefixes: list[_PrefixCode] = []
        self._histograms: list[_Histogram] = []
        if self._by_prefix:
            sizes = [_short(bits, 4) + 1 for _ in range(clusters)]
            self._prefixes = [_PrefixCode(bits, size) for size in sizes]
        else:
            self._histograms = [_Histogram(bits, alphabet_bits) for _ in range(clusters)]
        self._state = 0 if self._by_prefix else bits.take(32)
        self._found: list[int] = []
        self._copies = self._copy_at = 0

    def next(self, context: int) -> int:
        """The next number."""
        if not self._copies:
            cluster = self._clusters[context]
            symbol = self._symbol(cluster)
            if not self._repeats or symbol < self._first_copy:
                self._found.append(self._splits[cluster].number(self._bits, symbol))
                return self._found[-1]
            self._begin_copy(symbol)
        self._copies -= 1
        self._found.append(self._found[self._copy_at] if self._copy_at < len(self._found) else 0)
        self._copy_at += 1
        return self._found[-1]

    def _begin_copy(self, symbol: int) -> None:
        length = self._lengths.number(self._bits, symbol - self._first_copy)
        self._copies = length + self._least_length
        cluster = self._clusters[-1]
        distance = self._splits[cluster].number(self._bits, self._symbol(cluster)) + 1
        self._copy_at = max(0, len(self._found) - distance)

    def _symbol(self, cluster: int) -> int:
        if self._by_prefix:
            return self._prefixes[cluster].symbol(self._bits)
        symbol, self._state = self._histograms[cluster].step(self._state)
        if self._state < 1 << 16:
            self._state = self._state << 16 | self._bits.take(16)
        return symbol

    def check_end(self) -> None:
        """See whether all was read as it was written.

        Raises
        ------
        ValueError
            If it was not.
        """
        if not self._by_prefix and self._state != _END_STATE:
            raise ValueError("its entropy code is damaged")


def _clusters(bits: JxlBits, contexts: int) -> list[int]:
    """Number of the code that each context has."""
    if bits.flag():
        width = bits.take(2)
        return [bits.take(width) for _ in range(contexts)]
    moved = bits.flag()
    numbers = JxlNumbers(bits, 1, may_repeat=contexts > 2)
    found = [numbers.next(0) for _ in range(contexts)]
    numbers.check_end()
    if max(found) > 255:
        raise ValueError("contexts are stored wrongly")
    return _moved_back(found) if moved else found


def _moved_back(places: Sequence[int]) -> list[int]:
    """Numbers of a list in which each one moves to the front once it is named."""
    order, found = list(range(256)), []
    for place in places:
        found.append(order.pop(place))
        order.insert(0, found[-1])
    return found
