"""Palettes of TIFF: read, judged, and told."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.palette import (
    Meaning,
    Palette,
    PaletteChoice,
    is_gradual,
    pack_map,
    scaled_colours,
)
from unetmm.io.tiff.maps import COLOUR_MAP_TAG
from unetmm.io.tiff.tags import RECORD_TAG

log = logging.getLogger(__name__)

_INSTRUMENTS = (
    *("imagej", "ome", "fei", "sem", "stk", "lsm", "fluoview", "nih", "sis", "tvips", "mdgel"),
    *("metaseries", "micromanager", "scanimage", "mediacy", "andor", "agilent"),
)
"""Kinds of TIFF, by tifffile's names, that microscopes and their software write."""


def find_palette(path: Path, page: tifffile.TiffPage) -> Palette:
    """Colours of the stored values of a page.

    Raises
    ------
    ImageError
        If there are none.
    """
    stored = page.tags.valueof(COLOUR_MAP_TAG)
    dtype = np.dtype(page.dtype or "f4")
    if (
        stored is None
        or dtype.kind != "u"
        or dtype.itemsize > 2
        or not len(stored)
        or len(stored) % 3
    ):
        raise ImageError(f"{path}: holds a palette without valid colours; save grey or RGB")
    bits = page.bitspersample
    bits = bits if isinstance(bits, int) else 8 * dtype.itemsize
    return Palette(
        colours=scaled_colours(stored, bits),
        bits=bits,
        # Of palettes, our own outputs hold those of measurements only.
        measured=any(getattr(page.parent, f"is_{kind}") for kind in _INSTRUMENTS),
        ours=RECORD_TAG in page.tags,
        on_earth=page.is_geotiff,
    )


def choose_meaning(path: Path, palette: Palette, choice: PaletteChoice) -> Meaning:
    """What the stored values are taken for, which is said."""
    count = len(palette.colours)
    if choice != "auto":
        log.info("%s: its palette of %d colours is taken for %s, as asked", path, count, choice)
        return choice
    meaning = palette.meaning()
    if meaning == "classes":
        log.warning(
            "%s: its palette of %d colours seems to stand for classes, such as land cover; the "
            "colours are restored, and mixed at borders; --palette values restores the numbers, "
            "--palette colours says that colours are right",
            path, palette.count,
        )  # fmt: skip
    elif meaning == "colours":
        log.info("%s: its palette of %d colours is expanded to RGB", path, count)
    elif palette.ours or is_gradual(palette.colours):
        log.info(
            "%s: its palette of %d colours shows measured values: these are restored, and the "
            "palette is kept (--palette colours restores the colours)", path, count,
        )  # fmt: skip
    else:
        log.warning(
            "%s: its palette of %d colours is taken for one of measured values, though neighbours "
            "differ much; the values are restored (--palette colours restores the colours)",
            path, count,
        )  # fmt: skip
    return meaning


def expanded_colours(palette: Palette, nodata: float | None, count: int) -> NDArray[np.uint8]:
    """Colours of `count` values in 8 bits; the nodata value becomes transparent."""
    expanded = np.zeros((count, 3), np.uint8)
    expanded[: len(palette.colours)] = palette.colours >> 8
    if nodata is None or not 0 <= nodata < count:
        return expanded
    opacity = np.full((count, 1), 255, np.uint8)
    opacity[int(nodata)] = 0
    return np.hstack([expanded, opacity])


def colour_maps(pages: list[tifffile.TiffPage | tifffile.TiffFrame | None]) -> tuple[bytes, ...]:
    """The packed map of each of some pages; one if they share it, none if one lacks it."""
    found = []
    for page in pages:
        if page is None:
            return ()
        stored = page.aspage().tags.valueof(COLOUR_MAP_TAG)
        if stored is None or not len(stored) or len(stored) % 3:
            return ()
        found.append(pack_map(scaled_colours(stored, 16)))
    return tuple(found) if len(set(found)) > 1 else tuple(found[:1])
