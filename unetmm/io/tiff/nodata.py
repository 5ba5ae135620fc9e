"""What a TIFF states of pixels that hold no measurement."""

from __future__ import annotations

import logging

import tifffile

from unetmm.intensities.validity import NoData, Values

log = logging.getLogger(__name__)

_NODATA_TAG = 42113


def nodata_values(page: tifffile.TiffPage) -> Values:
    """Values of GDAL_NODATA: one, or several that commas or spaces separate."""
    text = str(page.tags.valueof(_NODATA_TAG) or "").strip("\0 ")
    try:
        return tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        log.warning(
            '%s: its value for no data, "%s", is no number and is left out; give one with --nodata',
            page.parent.filehandle.path, text,
        )  # fmt: skip
        return ()


def stated_nodata(page: tifffile.TiffPage, bands: int) -> NoData:
    """A value of each band, where there are as many of them as bands; else values of all bands."""
    values = nodata_values(page)
    if len(values) == bands > 1:
        return NoData(tuple((value,) for value in values))
    return NoData.of(*values)
