"""Frames of a JPEG XL without their pixels: how large each is, so what decoding will take.

An image may be made of several frames, laid over one another or kept to take patches from, and a
frame may be larger than the image. None of that is in the image's own header.

Source: ISO/IEC 18181-1, annex F (frame header, table of contents, loop filters).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unetmm.io.jxl_bits import JxlBits, Ways, signed
from unetmm.io.jxl_codestream import JxlHeader

_WHOLE, _OF_MEANS, _KEPT, _WITHOUT_STEPS = range(4)
"""Kinds of frames: shown, means of blocks of another, only to take patches from, shown at once."""
_FROM_MEANS = 0x20
"""Flag of a frame whose means are a frame of their own."""
_REPLACE, _BLEND, _ADD_BY_ALPHA, _MULTIPLY = 0, 2, 3, 4
_SCALES: Ways = ((1, 0), (2, 0), (4, 0), (8, 0))
_SIZES: Ways = ((0, 8), (256, 11), (2304, 14), (18688, 30))
_PASSES: Ways = ((1, 0), (2, 0), (3, 0), (4, 3))
_STEPS: Ways = ((0, 0), (1, 0), (2, 0), (3, 1))
_LAST_PASSES: Ways = ((0, 0), (1, 0), (2, 0), (0, 3))
_MODES: Ways = ((0, 0), (1, 0), (2, 0), (3, 2))
_ALPHAS: Ways = ((0, 0), (1, 0), (2, 0), (3, 3))
_PART_BYTES: Ways = ((0, 10), (1024, 14), (17408, 22), (4211712, 30))
_NAMES: Ways = ((0, 0), (0, 4), (16, 5), (48, 10))
_MOST_PARTS, _MOST_FRAMES = 65536, 10_000
_FIRST_BYTES, _MOST_BYTES = 2**16, 2**20
"""Parts of a frame that its header lies in: but for a long table of contents, and with it."""
ReadAt = Callable[[int, int], bytes]
"""Reader of so many bytes of a codestream from an offset; fewer at its end."""


@dataclass(frozen=True)
class JxlFrame:
    """A frame as its header states it."""

    height: int
    """Rows in pixels."""
    width: int
    """Columns in pixels."""
    parts: int
    """Number of its parts in the file."""
    is_kept: bool
    """Whether it is held in memory while others are decoded."""
    is_last: bool
    """Whether no frame follows."""

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return self.height * self.width


def read_frames(header: JxlHeader, at: int, read: ReadAt) -> list[JxlFrame]:
    """The frames of a still image, as far as they are found; see `unread`.

    Parameters
    ----------
    at : offset of the first one in bytes.

    Raises
    ------
    EOFError
        If the file ends within one.
    ValueError
        If a header is damaged.
    """
    frames: list[JxlFrame] = []
    if header.colours.profile:
        return frames
    size = header.preview_size
    while not frames or not frames[-1].is_last:
        if len(frames) == _MOST_FRAMES:
            raise ValueError(f"it has more than {_MOST_FRAMES} frames")
        length = _FIRST_BYTES
        while True:
            data = read(at, length)
            try:
                frame, length_bytes = _frame(JxlBits(data), header, size)
                break
            except EOFError:
                if len(data) < length or length > _MOST_BYTES:
                    raise
                length *= 4
        if size is None:
            frames.append(frame)
        if length_bytes is None:
            break
        at += length_bytes
        if not read(at - 1, 1):
            raise EOFError("its pixels are truncated")
        size = None
    return frames


def unread(header: JxlHeader, frames: list[JxlFrame]) -> str:
    """What keeps some of the frames from being found; empty if they all are."""
    if header.colours.profile:
        return "whose colours only a packed profile describes, which is not read here"
    if not frames or not frames[-1].is_last:
        return "of several frames, one with parts in an order of their own, which is not read here"
    return ""


def _frame(
    bits: JxlBits, header: JxlHeader, preview: tuple[int, int] | None
) -> tuple[JxlFrame, int | None]:
    """The frame that begins here, and how many bytes it takes.

    None where its parts lie in an order of their own: that is packed, and their lengths follow it.
    """
    frame = _read_header(bits, header, preview or (header.height, header.width))
    if frame.parts > _MOST_PARTS:
        raise ValueError(f"a frame has {frame.parts} parts")
    if bits.flag():
        return frame, None
    bits.to_byte()
    length = sum(bits.number(_PART_BYTES) for _ in range(frame.parts))
    bits.to_byte()
    return frame, bits.byte + length


def _read_header(bits: JxlBits, header: JxlHeader, image: tuple[int, int]) -> JxlFrame:
    if bits.flag():
        return JxlFrame(*image, _part_count(*image, 1, 1), False, True)
    kind, is_modular, flags = bits.take(2), bits.flag(), bits.long()
    of_film = not header.xyb and bits.flag()  # YCbCr, as of a JPEG
    scale = 1
    if not flags & _FROM_MEANS:
        bits.take(6 * of_film)
        scale = bits.number(_SCALES)
        bits.take(2 * len(header.channels))
    cut = bits.take(2) if is_modular else 1
    bits.take(6 * (header.xyb and not is_modular))
    passes = _read_passes(bits) if kind != _KEPT else 1
    height, width = image
    is_part = False
    if kind == _OF_MEANS:
        shrunk = 8 ** (bits.take(2) + 1)
        height, width = -(-height // shrunk), -(-width // shrunk)
    elif bits.flag():
        left, top = (_origin(bits) for _ in "xy") if kind != _KEPT else (0, 0)
        width, height = bits.number(_SIZES), bits.number(_SIZES)
        is_part = left > 0 or top > 0 or left + width < image[1] or top + height < image[0]
    is_last = _read_ending(bits, header, kind, is_part)
    for _ in range(bits.number(_NAMES)):
        bits.take(8)
    _skip_filters(bits, is_modular)
    bits.skip_extensions()
    parts = _part_count(-(-height // scale), -(-width // scale), passes, cut)
    return JxlFrame(height, width, parts, not is_last, is_last)


def _origin(bits: JxlBits) -> int:
    return signed(bits.number(_SIZES))


def _read_passes(bits: JxlBits) -> int:
    passes = bits.number(_PASSES)
    if passes > 1:
        steps = bits.number(_STEPS)
        bits.take(2 * (passes - 1))
        bits.take(2 * steps)
        for _ in range(steps):
            bits.number(_LAST_PASSES)
    return passes


def _read_ending(bits: JxlBits, header: JxlHeader, kind: int, is_part: bool) -> bool:
    """How a frame is laid over others, and whether it is the last one."""
    is_shown = kind in (_WHOLE, _WITHOUT_STEPS)
    is_last, mode = False, _REPLACE
    if is_shown:
        mode = _skip_blending(bits, header, is_part)
        for _ in header.channels:
            _skip_blending(bits, header, is_part)
        is_last = bits.flag()
    if kind != _OF_MEANS and not is_last:
        bits.take(2)  # where it is kept
    may_keep_early = is_shown and not is_last and mode == _REPLACE and not is_part
    if may_keep_early or kind == _KEPT:
        bits.take(1)
    return is_last


def _skip_blending(bits: JxlBits, header: JxlHeader, is_part: bool) -> int:
    mode = bits.number(_MODES)
    by_alpha = bool(header.channels) and mode in (_BLEND, _ADD_BY_ALPHA)
    if by_alpha:
        bits.number(_ALPHAS)
    if by_alpha or mode == _MULTIPLY:
        bits.take(1)
    if mode != _REPLACE or is_part:
        bits.take(2)
    return mode


def _skip_filters(bits: JxlBits, is_modular: bool) -> None:
    """Skip what smooths the edges of blocks."""
    if bits.flag():
        return
    if bits.flag() and bits.flag():
        bits.take(16 * 6)
    if bits.take(2):
        if not is_modular and bits.flag():
            bits.take(16 * 8)
        if bits.flag():
            bits.take(16 * 5)
        if bits.flag():
            bits.take(16 * (3 if is_modular else 4))
        if is_modular:
            bits.take(16)
    bits.skip_extensions()


def _part_count(height: int, width: int, passes: int, cut: int) -> int:
    """Number of parts that a frame is stored in: of squares in each pass, and of means."""
    side = 128 << cut
    squares, of_means = (-(-height // n) * -(-width // n) for n in (side, 8 * side))
    if squares == passes == 1:
        return 1
    return 2 + of_means + squares * passes
