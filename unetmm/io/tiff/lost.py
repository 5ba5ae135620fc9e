"""Names of what a TIFF holds besides its image, and no output keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tifffile

from unetmm.io.tiff.mask import is_mask_of
from unetmm.io.tiff.metadata import KEPT_TAGS

_UNDERSTOOD = (
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 270, 273, 277, 278, 279, 280, 281),
    *(282, 283, 284, 286, 287, 288, 289, 290, 291, 292, 293, 296, 297, 305, 317, 320, 321, 322),
    *(323, 324, 325, 326, 327, 328, 330, 332, 333, 334, 336, 338, 339, 340, 341, 347, 400),
    *(*range(512, 533), 32995, 32996, 32997, 32998, 34675, 34665, 34853, 40965, 42113),
    *(50838, 50839, 65111, 65112, 65000, 65420, 65421, 65426, 65449),
)
"""Tags of pixels and of what is understood elsewhere; the last ones are those of slide scanners."""
_NAMES = {
    301: "transfer function",
    33918: "sensor data (IMG)",
    34377: "Photoshop resources",
    37724: "Photoshop layers",
    50341: "print image matching",
}
"""Tag -> its name for readers, where that is not what tifffile calls it."""
_CAMERA_TAGS = range(50706, 51200)
"""Tags of raw photos (DNG)."""
_MOST_NAMES = 4
"""Number of tags that are named; of others there is a count."""
_MOST_PAGES = 1000
"""Number of pages whose own words are looked for."""
_SLIDE_PARTS = re.compile(r"^(label|macro|thumbnail|overview)", re.IGNORECASE)


def lost_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Names of what is not kept of a file whose image is a series."""
    page = series.keyframe
    found = [*_tags(page), *_other_images(tif, series)]
    if _has_thumbnail(tif, series):
        found.append("thumbnail")
    if count := _own_words(tif, series):
        found.append(f"descriptions of {count} further pages")
    return tuple(dict.fromkeys(found))


def _tags(page: tifffile.TiffPage) -> Iterator[str]:
    """Tags that are neither kept nor understood."""
    others = []
    for tag in page.tags:
        code = int(tag.code)
        if code in (*_UNDERSTOOD, *KEPT_TAGS) or (code in _CAMERA_TAGS and code != 50706):
            continue
        if code in _NAMES:
            yield _NAMES[code]
        elif code == 50706:
            yield "tags of a DNG"
        else:
            name = tifffile.TIFF.TAGS.get(code, "")
            others.append(str(code) if not name or name.isdigit() else name)
    if others:
        more = [f"{len(others) - _MOST_NAMES} more"] if len(others) > _MOST_NAMES else []
        plural = "s" if len(others) > 1 else ""
        yield f"TIFF tag{plural} {' '.join([*others[:_MOST_NAMES], *more])}"


def _other_images(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Iterator[str]:
    """Further images, by what they are where that is known."""
    count = 0
    for other in tif.series:
        if other is series or is_mask_of(other.keyframe, series.keyframe):
            continue
        keyframe = other.keyframe
        if named := _SLIDE_PARTS.match(str(other.name or "")):
            yield f"{named[1].lower()} image"
        elif keyframe.is_reduced or keyframe.is_mask:
            yield "smaller copies" if keyframe.is_reduced else "further masks"
        else:
            count += 1
    if count:
        yield f"{count} further image{'s' * (count > 1)}"


def _has_thumbnail(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether a page has a small copy under it that is no level of a pyramid."""
    return len(series.levels) == 1 and bool(series.keyframe.subifds) and not tif.is_ome


def _own_words(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> int:
    """Pages beyond the first that have a description of their own."""
    if not (tif.is_scanimage or tif.is_micromanager or tif.is_stk or tif.is_metaseries):
        return 0
    return min(len(series), _MOST_PAGES) - 1
