"""Palettes of PNG: colours, unless they say no more than grey, or values are asked for."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from unetmm.io.metadata import DisplayFacts
from unetmm.io.palette import Meaning, Palette, PaletteChoice, is_grey_ramp, pack_map
from unetmm.io.photo.header import PILLOW_COPIES, PhotoHeader

log = logging.getLogger(__name__)


def apply_palette(
    path: Path, header: PhotoHeader, chunks: dict[bytes, bytes], choice: PaletteChoice
) -> None:
    """Say what a PNG with a palette holds, and tell the user where that is not plain.

    A PNG cannot hold restored values and the colours that show them. So values are restored only
    where both are the same, as software writes grey images, or where they are asked for.

    Parameters
    ----------
    chunks : name -> content, PLTE and tRNS among them.
    """
    stored = chunks.get(b"PLTE", b"")
    colours = np.frombuffer(stored[: len(stored) // 3 * 3], np.uint8).reshape(-1, 3)
    palette = Palette(colours.astype(np.uint16) * np.uint16(257), chunks[b"IHDR"][8])
    opacity = chunks.get(b"tRNS", b"")
    meaning = _meaning(path, palette, bool(opacity), choice)
    header.display = DisplayFacts(palette="expanded", classes=meaning == "classes")
    if meaning != "values":
        return
    maps = (pack_map(palette.colours),) if stored else ()
    header.display = DisplayFacts(palette="values", colour_maps=maps)
    header.samples, header.alpha, header.indices = 1, False, True
    header.decode_copies = PILLOW_COPIES
    clear = [i for i, value in enumerate(opacity) if value == 0]
    header.nodata = float(clear[0]) if len(clear) == 1 else None
    if opacity and header.nodata is None:
        log.warning("%s: opacity of its palette's colours is left out, with the colours", path)


def _meaning(path: Path, palette: Palette, see_through: bool, choice: PaletteChoice) -> Meaning:
    """What the stored values are taken for; those of the colours of a photo without a word."""
    if choice != "auto":
        return choice
    if palette.bits == 8 and is_grey_ramp(palette.colours) and not see_through:
        return "values"
    meaning = palette.meaning()
    if meaning == "classes":
        log.warning(
            "%s: its palette of %d colours may stand for classes; the colours are restored, and "
            "mixed at borders; --palette values restores the numbers, --palette colours says that "
            "colours are right",
            path, palette.count,
        )  # fmt: skip
    elif meaning == "values":
        log.warning(
            "%s: its palette of %d colours may show measured values; the colours are restored; "
            "--palette values restores the values, --palette colours says that colours are right",
            path, palette.count,
        )  # fmt: skip
        meaning = "colours"
    return meaning
