"""Micro-Manager's own metadata, of its stacks and NDTiff, where there is no OME-XML."""

from __future__ import annotations

from typing import Any

import tifffile

from unetmm.io.ome_xml import OmeFacts, number

_PAGE_TAG = 51123
"""Tag of a page with its metadata as JSON."""


def micromanager_facts(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    """Sizes by the first page or the summary, names of channels, and the place on the stage."""
    page = series.keyframe.tags.valueof(_PAGE_TAG)
    of_page: dict[str, Any] = page if isinstance(page, dict) else {}
    found = tif.micromanager_metadata if tif.is_micromanager else None
    summary = (found or {}).get("Summary")
    of_all: dict[str, Any] = summary if isinstance(summary, dict) else {}
    if not of_page and not of_all:
        return OmeFacts()
    size = number(of_page.get("PixelSizeUm")) or number(of_all.get("PixelSize_um"))
    sizes = {"X": (size, "micrometer"), "Y": (size, "micrometer")}
    sizes["Z"] = (abs(number(of_all.get("z-step_um"))), "micrometer")
    sizes["T"] = (number(of_all.get("Interval_ms")) / 1000, "second")
    places = {"X": "XPositionUm", "Y": "YPositionUm", "Z": "ZPositionUm"}
    names = of_all.get("ChNames")
    return OmeFacts(
        pixel_size={axis: size for axis, size in sizes.items() if size[0] > 0},
        channel_names=tuple(map(str, names)) if isinstance(names, list) else (),
        origin={
            axis: (number(of_page[name]), "micrometer")
            for axis, name in places.items()
            if of_page.get(name) is not None
        },
    )
