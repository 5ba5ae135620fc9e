"""Axes across the pages of a TIFF, as the file states them."""

from __future__ import annotations

import tifffile

from unetmm.io.tiff.scanimage import scanimage_pairs

Pairs = list[tuple[str, int]]
"""Letters and lengths of axes, slowest first."""


def stated_pairs(series: tifffile.TiffPageSeries) -> Pairs:
    """All axes but rows, columns and the samples of a pixel, by the letters that tifffile has.

    Axes that OME-XML only divides another one into, such as the bins of a lifetime along T, are
    that other axis.
    """
    found = [(a, n) for a, n in zip(series.axes, series.shape, strict=True) if a not in "YXS"]
    tif = series.parent
    if tif is None:
        return found
    if tif.is_ome and tif.ome_metadata:
        return _whole(found, tif.ome_metadata)
    return scanimage_pairs(tif, len(series)) or found


def _whole(pairs: Pairs, xml: str) -> Pairs:
    """Axes of which none is a part of another (ModuloAlongT, ...)."""
    found: Pairs = []
    for letter, length in pairs:
        before = found[-1][0] if found else ""
        if letter in "TZC":
            found.append((letter, length))
        elif before and before in "TZC" and f"ModuloAlong{before}" in xml:
            found[-1] = (before, found[-1][1] * length)
        else:
            free = [a for a in "TZC" if f"ModuloAlong{a}" in xml and a not in dict(pairs)]
            found.append((free[0] if free else letter, length))
    return found
