"""Pixel sizes in the tags of electron microscopes: FEI, Zeiss, Gatan, TVIPS, Olympus, Zeiss LSM."""

from __future__ import annotations

from typing import Any

import tifffile

from unetmm.io.ome_xml import number
from unetmm.io.units import full_unit

Sizes = dict[str, tuple[float, str]]
_FEI_PARTS = ("Scan", "EScan", "IScan", "Image", "EBeam")
_ZEISS_NAMES = ("ap_image_pixel_size", "ap_pixel_size")
_GATAN_UNITS = {"X": 65003, "Y": 65004, "Z": 65005}
_GATAN_SCALES = {"X": 65009, "Y": 65010, "Z": 65011}
_DIFFRACTION = (3, 4)
"""Modes of a TVIPS camera in which distances are angles."""


def electron_sizes(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> Sizes:
    """Axis -> size of a pixel; empty if no such tag is there."""
    for reader in (_fei, _zeiss_sem, _tvips, _lsm, _olympus):
        if found := reader(tif):
            return found
    return _gatan(page)


def _given(sizes: dict[str, Any], unit: str) -> Sizes:
    return {axis: (number(n), unit) for axis, n in sizes.items() if number(n) > 0}


def _fei(tif: tifffile.TiffFile) -> Sizes:
    stated = tif.fei_metadata or {}
    for name in _FEI_PARTS:
        part = stated.get(name)
        if isinstance(part, dict):
            sizes = {"X": part.get("PixelWidth"), "Y": part.get("PixelHeight")}
            if found := _given(sizes, "meter"):
                return _readable(found)
    return {}


def _zeiss_sem(tif: tifffile.TiffFile) -> Sizes:
    stated = tif.sem_metadata or {}
    for name in _ZEISS_NAMES:
        value = stated.get(name)
        if isinstance(value, tuple) and len(value) > 2:
            return _given({"X": value[1], "Y": value[1]}, full_unit(str(value[2])))
    return {}


def _tvips(tif: tifffile.TiffFile) -> Sizes:
    stated = tif.tvips_metadata or {}
    if stated.get("TemMode") in _DIFFRACTION:
        return {}
    return _given({"X": stated.get("PixelSizeX"), "Y": stated.get("PixelSizeY")}, "nanometer")


def _lsm(tif: tifffile.TiffFile) -> Sizes:
    stated = tif.lsm_metadata or {}
    found = _given({axis: stated.get(f"VoxelSize{axis}") for axis in "XYZ"}, "meter")
    time = {"T": stated.get("TimeIntervall")}  # as its makers spell it
    return _readable(found) | _given(time, "second")


def _olympus(tif: tifffile.TiffFile) -> Sizes:
    stated = tif.sis_metadata or {}
    names = {"X": "pixelsizex", "Y": "pixelsizey"}
    return _readable(_given({a: stated.get(name) for a, name in names.items()}, "meter"))


def _gatan(page: tifffile.TiffPage) -> Sizes:
    """Scales and units that DigitalMicrograph writes for each axis."""
    found: Sizes = {}
    for axis, code in _GATAN_SCALES.items():
        unit = str(page.tags.valueof(_GATAN_UNITS[axis]) or "").strip("\0 ")
        if unit:
            found |= _given({axis: page.tags.valueof(code)}, full_unit(unit))
    return found


def _readable(sizes: Sizes) -> Sizes:
    """Metres as micrometres, or as nanometres below 0.1 of those."""
    found = {}
    for axis, (size, _) in sizes.items():
        small = size < 1e-7
        found[axis] = (_rounded(size * (1e9 if small else 1e6)), _unit_of(small))
    return found


def _unit_of(small: bool) -> str:
    return "nanometer" if small else "micrometer"


def _rounded(value: float) -> float:
    """Without the error of a product: 2.5e-9 m are 2.5 nm."""
    return float(f"{value:.12g}")
