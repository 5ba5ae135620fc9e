"""Which image of a TIFF is read, and the OME-XML that says what its pages are."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import tifffile

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.limits import check_room
from unetmm.io.ome_repair import is_ome_xml, repair
from unetmm.io.ome_sets import sibling
from unetmm.io.ome_xml import PARSED_BYTES, companion_name, only_image, with_known_order
from unetmm.io.tiff.directories import check_directories
from unetmm.io.tiff.set_files import with_siblings_only
from unetmm.sizes import format_size

log = logging.getLogger(__name__)

_MOST_COUNTED = 20_000
"""Number of pages up to which those of one size are counted."""
_MASK = 4
"""Value of NewSubfileType of a mask."""
Series = tifffile.TiffPageSeries


def open_tiff(path: Path) -> tifffile.TiffFile:
    """The file with OME-XML that fits it: its companion's where it has only a reference to that.

    Raises
    ------
    ImageError
        If the OME-XML is of no use.
    """
    check_directories(path)
    tif = tifffile.TiffFile(path)
    text = tif.pages.first.description if len(tif.pages) else ""
    stated = (tif.ome_metadata or "") if tif.is_ome else ""
    try:
        xml = _sound_xml(path, tif, stated or (text if is_ome_xml(text) else ""))
    except ImageError:
        tif.close()
        raise
    if xml == stated:
        return tif
    tif.close()
    return tifffile.TiffFile(path, omexml=xml) if xml else tifffile.TiffFile(path, is_ome=False)


def _sound_xml(path: Path, tif: tifffile.TiffFile, xml: str) -> str:
    """OME-XML that may be read: of the companion where there is one, naming files beside it."""
    _check_xml(path, len(xml))
    if name := companion_name(xml):
        companion = sibling(path, name)
        if companion is None:
            log.warning("%s: %s is missing, so its axes and sizes are unknown", path, name)
        else:
            _check_xml(path, companion.stat().st_size)
            xml = companion.read_text(encoding="utf-8", errors="replace")
    elif xml:
        xml = _repaired(path, tif, xml)
    return with_known_order(path, with_siblings_only(path, xml))


def _check_xml(path: Path, chars: int) -> None:
    """Refuse OME-XML that does not fit the budget once it is parsed."""
    check_room(path, f"its OME-XML of {format_size(chars)}", PARSED_BYTES * chars)


def _repaired(path: Path, tif: tifffile.TiffFile, xml: str) -> str:
    """OME-XML that fits the pages, with a word where it did not; empty if it is of no use."""
    first, count = tif.pages.first, len(tif.pages)
    size = (int(first.imagelength), int(first.imagewidth))
    found = repair(xml, count, size, path.name)
    if (found.words or found.pages_left) and 1 < count <= _MOST_COUNTED:
        count = sum((p.imagelength, p.imagewidth) == size for p in map(_page, tif.pages))
        found = repair(xml, count, size, path.name)
    if found.words:
        log.warning("%s: %s", path, "; ".join(found.words))
        if not found.xml:
            log.warning("%s: its pages are taken for depths; channels may be among them", path)
    if found.pages_left:
        described = count - found.pages_left
        log.warning(
            "%s: its OME-XML describes %d planes, but it holds %d pages; the last %d are not read",
            path, described, count, found.pages_left,
        )  # fmt: skip
    return found.xml


def _page(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    return page.aspage()


def candidates(tif: tifffile.TiffFile) -> list[Series]:
    """The images of a file in their order, without smaller copies and masks of others.

    Of a set of files only those that have a page in this one, if any has.
    """
    whole = [s for s in tif.series if not s.keyframe.is_reduced and not _is_mask(s)]
    own = [s for s in whole if any(p is not None and p.parent is tif for p in s.pages)]
    return own or whole or list(tif.series[:1])


def count_series(path: Path) -> int:
    """Number of the images of a file."""
    with translated(path, "read it as TIFF"), open_tiff(path) as tif:
        return len(candidates(tif))


def _is_mask(series: Series) -> bool:
    return int(series.keyframe.subfiletype) & _MASK != 0


def main_series(path: Path, tif: tifffile.TiffFile, wanted: int | None = None) -> Series:
    """The image that is wanted, by default the largest; it is said that there are others.

    Parameters
    ----------
    wanted : number of an image from 0, among those that are no smaller copies.

    Raises
    ------
    ImageError
        If there is none.
    """
    if not tif.series:
        raise ImageError(f"{path}: the TIFF holds no image; give one with a page")
    found = candidates(tif)
    if wanted is not None:
        if wanted >= len(found):
            raise ImageError(
                f"{path}: image {wanted} was asked for (--series); it holds {_listed(found)}"
            )
        return found[wanted]
    chosen = max(found, key=_pixels)  # the first of those that are as large
    if len(found) > 1:
        log.warning(
            "%s: holds %s; number %d is read; --series N reads another",
            path, _listed(found), found.index(chosen),
        )  # fmt: skip
    return chosen


def _pixels(series: Series) -> int:
    """Pixels of all planes, whatever a pixel has."""
    lengths = zip(series.axes, series.shape, strict=True)
    return math.prod(n for axis, n in lengths if axis != "S")


def _listed(found: list[Series]) -> str:
    """ "2 images: 0 (90 x 120 px), 1 (1600 x 1200 px)"."""
    shown = ", ".join(f"{i} ({_size_text(s)})" for i, s in enumerate(found[:4]))
    more = ", ..." if len(found) > 4 else ""
    return f"{len(found)} image{'s' * (len(found) != 1)}: {shown}{more}"


def _size_text(series: Series) -> str:
    page = series.keyframe
    size = f"{page.imagewidth} x {page.imagelength} px"
    count = len(series)
    return f"{count} planes of {size}" if count > 1 else size


def image_xml(tif: tifffile.TiffFile, series: Series) -> str:
    """OME-XML of an image of a file, whose first image it is; empty if there is none."""
    if not (tif.is_ome and tif.ome_metadata):
        return ""
    ours = [other for other in tif.series if other.kind == "ome"]
    number = next((i for i, other in enumerate(ours) if other is series), 0)
    if len(ours) < 2:
        return str(tif.ome_metadata)
    return only_image(tif.ome_metadata, number, str(series.name or ""))
