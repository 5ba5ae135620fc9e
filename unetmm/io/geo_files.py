"""Files beside an image that say where on Earth it lies: world files, .prj, .aux.xml, _RPC.TXT."""

from __future__ import annotations

import logging
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from unetmm.io.geo import RPC_NAMES, GeoPlace, Transform

log = logging.getLogger(__name__)

_MOST_BYTES = 2**24
MOST_BANDS = 2**16
"""Largest number of a band that may have a name; more would not be bands."""
_RPC_USUAL = {"ERR_BIAS": -1.0, "ERR_RAND": -1.0}
_NUMBER = re.compile(r"^\s*(\w+)\s*[:=]\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)", re.MULTILINE)
_ITEMS_OF_VALUES = ("STATISTICS_",)


def place_beside(image: Path, has_place: bool) -> tuple[GeoPlace, list[Path]]:
    """(place that files beside an image say, these files).

    Parameters
    ----------
    has_place : whether the image itself says one, before which a world file does not go.
    """
    place, used = GeoPlace(), []
    xml = image.with_name(image.name + ".aux.xml")
    if (root := aux_root(xml)) is not None:
        transform, wkt = _of_aux(root)
        if transform or wkt:
            place, used = GeoPlace(transform, wkt), [xml]
    if place.transform is None and not has_place:
        world = _first(image, _world_names(image))
        if world is not None and (transform := _read_world(world)):
            place, used = replace(place, transform=transform), [*used, world]
            projection = _first(image, [f"{image.stem}.prj"])
            if projection is not None and not place.wkt:
                place, used = replace(place, wkt=_text(projection)), [*used, projection]
    polynomials = _first(image, [f"{image.stem}_RPC.TXT", f"{image.stem}_rpc.txt"])
    if polynomials is not None and (rpc := read_rpc(_text(polynomials))):
        place, used = replace(place, rpc=rpc), [*used, polynomials]
    return place, used


def items_lost(root: Element) -> bool:
    """Whether a .aux.xml has items and tables that are not kept, statistics of old pixels apart."""
    items = (item.get("key", "") for item in root.iter("MDI"))
    tables = root.iter("GDALRasterAttributeTable")
    return any(not name.startswith(_ITEMS_OF_VALUES) for name in items) or any(True for _ in tables)


def band_names(root: Element) -> tuple[str, ...]:
    """Names of the bands in a .aux.xml, in their order; none if it names none."""
    try:
        named = {
            int(band.get("band", "1")): (band.findtext("Description") or "").strip()
            for band in root.iter("PAMRasterBand")
        }
    except ValueError:
        return ()
    found = tuple(named.get(i, "") for i in range(1, min(max(named, default=0), MOST_BANDS) + 1))
    return found if any(found) else ()


def aux_root(path: Path) -> Element | None:
    """Content of a .aux.xml; None if there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        return ElementTree.fromstring(_text(path))
    except ElementTree.ParseError:  # which `sidecars` says
        return None


def _of_aux(root: Element) -> tuple[Transform | None, str]:
    numbers = (root.findtext("GeoTransform") or "").replace(",", " ").split()
    try:
        found = tuple(map(float, numbers))
    except ValueError:
        found = ()
    wkt = (root.findtext("SRS") or "").strip()
    if len(found) != 6 or not all(map(math.isfinite, found)):
        return None, wkt
    return found, wkt


def _world_names(image: Path) -> list[str]:
    """Names of world files: .tfw, .tifw and .wld of a .tif."""
    stem, suffix = image.stem, image.suffix.lstrip(".")
    short = f"{suffix[0]}{suffix[-1]}w" if len(suffix) > 1 else f"{suffix}w"
    return [f"{stem}.{short}", f"{stem}.{suffix}w", f"{stem}.wld", f"{image.name}w"]


def _first(image: Path, names: list[str]) -> Path | None:
    """The first of some files beside an image that is there, in lower or upper case."""
    for name in names:
        stem, _, ending = name.rpartition(".")
        endings = dict.fromkeys((ending, ending.upper(), ending.lower()))
        for written in (f"{stem}.{ending}" for ending in endings):
            if written != image.name and os.path.isfile(image.parent / written):
                return image.with_name(written)
    return None


def _read_world(path: Path) -> Transform | None:
    """Six numbers, a line each: x, y of a column, x, y of a row, and the first pixel's centre."""
    try:
        a, d, b, e, x, y = (float(n.replace(",", ".")) for n in _text(path).split()[:6])
    except ValueError:
        log.warning("%s: is no world file of six numbers and is left out", path)
        return None
    found = (x - (a + b) / 2, a, b, y - (d + e) / 2, d, e)
    return found if all(map(math.isfinite, found)) else None


def read_rpc(text: str) -> tuple[float, ...]:
    """Numbers of rational polynomials in the order of their tag; empty if some are missing."""
    found = {name.upper(): float(number) for name, number in _NUMBER.findall(text)}
    values = [found.get(name, _RPC_USUAL.get(name)) for name in RPC_NAMES]
    return tuple(v for v in values if v is not None) if None not in values else ()


def _text(path: Path) -> str:
    """Text of a small file; empty if it is not small."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace").strip("\ufeff \n\0")
    except OSError as error:
        log.warning("%s: cannot be read: %s", path, error)
        return ""
