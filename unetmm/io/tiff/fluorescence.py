"""Pixel sizes and channels of MetaXpress, MetaMorph and of Akoya's slides."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from unetmm.io.ome_xml import OmeFacts, number
from unetmm.io.units import full_unit

_QPI = "PerkinElmer-QPI-ImageDescription"
_MOST_XML_CHARS = 2**20


def metaseries_facts(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    """MetaXpress: <prop id="spatial-calibration-x" value="0.325"/> and its likes."""
    text = str(series.keyframe.description)
    if not text.startswith("<MetaData>") or len(text) > _MOST_XML_CHARS:
        return OmeFacts()
    try:
        props = ElementTree.fromstring(text.strip("\0 ")).iter("prop")
    except ElementTree.ParseError:
        return OmeFacts()
    stated: dict[str, str] = {}
    for prop in props:
        stated.setdefault(prop.get("id", ""), prop.get("value", ""))
    sizes = {}
    if stated.get("spatial-calibration-state", "on").lower() not in ("off", "0", "false"):
        unit = full_unit(stated.get("spatial-calibration-units", "um"))
        sizes = {a: (number(stated.get(f"spatial-calibration-{a.lower()}")), unit) for a in "XY"}
    places = {a: stated.get(f"stage-position-{a.lower()}") for a in "XYZ"}
    name = stated.get("_IllumSetting_") or stated.get("image-name", "")
    return OmeFacts(
        pixel_size={axis: size for axis, size in sizes.items() if size[0] > 0},
        channel_names=(name,) if name else (),
        origin={a: (number(p), "micrometer") for a, p in places.items() if p is not None},
    )


def stk_facts(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    """MetaMorph's stacks."""
    stated: dict[str, Any] = (tif.stk_metadata or {}) if tif.is_stk else {}
    unit = full_unit(str(stated.get("CalibrationUnits") or "um"))
    sizes = {axis: (number(stated.get(f"{axis}Calibration")), unit) for axis in "XY"}
    if unit.lower() in ("pixel", "pixels", ""):
        sizes = {}
    steps = np.unique(np.asarray(stated.get("ZDistance", ()), float))
    if len(steps) == 1 and "Z" in series.axes:
        sizes["Z"] = (float(steps[0]), unit)
    return OmeFacts({axis: size for axis, size in sizes.items() if size[0] > 0})


def qptiff_facts(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    """Akoya's slides: a page a channel, each with its name; sizes are in the resolution."""
    if _QPI not in str(series.keyframe.description)[:200]:
        return OmeFacts()
    texts = [_description(page) for page in series.pages]
    names = tuple(_qpi_name(text) for text in texts)
    colours = tuple(_qpi_colour(text) for text in texts)
    page = series.keyframe
    per_unit = page.tags.valueof(282, (0, 1)), page.tags.valueof(283, (0, 1))
    um = {2: 25400.0, 3: 10000.0}.get(int(page.resolutionunit or 1), 0.0)
    sizes = {
        axis: (um * value[1] / value[0], "micrometer")
        for axis, value in zip("XY", per_unit, strict=True)
        if value[0] and um
    }
    several = len(names) > 1
    return OmeFacts(
        pixel_size=sizes,
        channel_names=names if several and any(names) else (),
        channel_colors=colours if several and all(colours) else (),
    )


def _description(page: Any) -> str:
    """The text of a page."""
    return "" if page is None else str(page.aspage().description)


def _qpi_name(text: str) -> str:
    """What is stained, and with what."""
    found = [re.search(f"<{tag}>([^<]*)</{tag}>", text) for tag in ("Biomarker", "Name")]
    words = [match[1].strip() for match in found if match is not None and match[1].strip()]
    if len(words) == 2 and words[1] not in words[0]:
        return f"{words[0]} ({words[1]})"
    return words[0] if words else ""


def _qpi_colour(text: str) -> str:
    """ "#rrggbb" of "255,0,0"; empty if it is none."""
    found = re.search(r"<Color>(\d+),\s*(\d+),\s*(\d+)</Color>", text)
    if found is None or any(int(n) > 255 for n in found.groups()):
        return ""
    return "#" + "".join(f"{int(n):02x}" for n in found.groups())
