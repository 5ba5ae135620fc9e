"""ScanImage: which pages are channels, slices and volumes, and how large pixels are.

Its settings are text, a line each: "SI.hStackManager.numSlices = 5".
"""

from __future__ import annotations

import logging
import re

import tifffile

from unetmm.io.ome_xml import OmeFacts, number

log = logging.getLogger(__name__)

_LINE = re.compile(r"^\s*(?:scanimage\.)?SI\.([\w.]+) = (.*)$", re.MULTILINE)
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def settings_of(tif: tifffile.TiffFile) -> dict[str, str]:
    """Name of a setting, without "SI." -> its text; empty if it is no file of ScanImage."""
    page = tif.pages.first
    if not page.is_scanimage:
        return {}
    text = page.software if page.software[:3] == "SI." else page.description
    return dict(_LINE.findall(text))


def scanimage_pairs(tif: tifffile.TiffFile, pages: int) -> list[tuple[str, int]] | None:
    """Axes across pages with their lengths, slowest first; None if they cannot be told.

    Frames of a slice follow one another unless the stack is scanned anew for each volume; channels
    change fastest.
    """
    stated = settings_of(tif)
    if not stated:
        return None
    channels = max(1, len(_numbers(stated, "hChannels.channelSave")))
    stacked = stated.get("hStackManager.enable", "true") != "false"
    names = ("actualNumSlices", "numSlices")
    slices = next((n for name in names if (n := _count(stated, f"hStackManager.{name}"))), 1)
    slices = slices if stacked else 1
    frames = _count(stated, "hStackManager.framesPerSlice") or 1
    if pages % (channels * slices):
        if channels * slices > 1:
            log.warning(
                "%s: describes %d channels of %d slices, but has %d pages, which are no whole "
                "number of these; their axes are guessed",
                tif.filehandle.path, channels, slices, pages,
            )  # fmt: skip
        return None
    times = pages // (channels * slices)
    slow = frames > 1 and frames == times and slices > 1
    pairs = [("Z", slices), ("T", times)] if slow else [("T", times), ("Z", slices)]
    return [(axis, n) for axis, n in (*pairs, ("C", channels)) if n > 1]


def scanimage_facts(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> OmeFacts:
    """Sizes by the field of view, the step in depth, and the rates of frames and volumes."""
    stated = settings_of(tif)
    if not stated:
        return OmeFacts()
    sizes: dict[str, tuple[float, str]] = {}
    corners = _numbers(stated, "hRoiManager.imagingFovUm")
    page = series.keyframe
    if len(corners) >= 8:
        for axis, n, places in (("X", page.imagewidth, corners[::2]), ("Y", page.imagelength,
                                                                       corners[1::2])):  # fmt: skip
            sizes[axis] = ((max(places) - min(places)) / n, "micrometer")
    step = abs(number(stated.get("hStackManager.stackZStepSize")))
    if (_count(stated, "hStackManager.numSlices") or 1) > 1:
        sizes["Z"] = (step, "micrometer")
        rate = number(stated.get("hRoiManager.scanVolumeRate"))
    else:
        rate = number(stated.get("hRoiManager.scanFrameRate"))
    if rate > 0:
        sizes["T"] = (1 / rate, "second")
    return OmeFacts({axis: size for axis, size in sizes.items() if size[0] > 0})


def _numbers(stated: dict[str, str], name: str) -> list[float]:
    """Numbers of a setting such as "[1;2]"."""
    return [float(n) for n in _NUMBERS.findall(stated.get(name, ""))]


def _count(stated: dict[str, str], name: str) -> int:
    """A whole number; 0 if there is none, or no end of it."""
    found = _numbers(stated, name)
    return int(found[0]) if len(found) == 1 and found[0] >= 1 else 0
