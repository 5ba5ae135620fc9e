"""OME-Zarr metadata, 0.1 to 0.5, read into axes, pixel sizes and names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from unetmm.errors import ImageError
from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.image import ImageInfo
from unetmm.io.metadata import Metadata, MicroscopyFacts, ReadingFacts
from unetmm.io.omezarr.kept import unpack_metadata
from unetmm.io.places import Place
from unetmm.io.units import full_unit


@dataclass(frozen=True)
class ZarrLayout:
    """What the attributes say of one array."""

    path: str
    """Array within the group, empty if the store is an array itself."""
    axes: str
    """Letters of TCZYXS, in the order of the array."""
    alpha: bool = False
    """Whether the last sample of a pixel is opacity."""
    pixel_size: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Axis -> length and unit of a pixel."""
    channel_names: tuple[str, ...] = ()
    """Name of each channel, or none at all."""
    nodata: NoData = NOTHING
    """Marks of pixels that hold no measurement."""
    metadata: Metadata = Metadata()
    """Rendering settings, place on the stage, and what we kept of another format's metadata."""


def read_layout(path: Place, attributes: dict[str, Any], labels: bool = False) -> ZarrLayout:
    """Layout of the first, finest image of a group.

    Parameters
    ----------
    labels : whether an image of labels is taken too.

    Raises
    ------
    ImageError
        If the group is a plate, or holds no image, or one of labels.
    """
    ome = attributes.get("ome", attributes)
    _check_group(path, ome, labels)
    image = ome["multiscales"][0]
    own = attributes.get("unetmm", {})
    axes, units = _axes(path, image)
    if own.get("samples"):
        axes = axes.replace("C", "S")
    omero = _display(ome.get("omero"))
    names = [str(c.get("label", "")) for c in omero.get("channels", [])]
    sizes, places = _transforms(image, len(axes))
    origin = {
        axis: (start, unit)
        for axis, start, unit in zip(axes, places, units, strict=True)
        if axis in "TZYX" and start and math.isfinite(start)
    }
    return ZarrLayout(
        path=str(image["datasets"][0]["path"]),
        axes=axes,
        alpha=bool(own.get("alpha")),
        pixel_size={
            axis: (size, unit)
            for axis, size, unit in zip(axes, sizes, units, strict=True)
            if axis in "TZYX" and size > 0 and math.isfinite(size) and (unit or size != 1.0)
        },
        channel_names=tuple(names) if any(names) else (),
        nodata=_nodata(own),
        metadata=replace(
            unpack_metadata(own.get("notes", {})),
            microscopy=MicroscopyFacts(omero=omero, origin=origin),
            reading=ReadingFacts().without(*_lost(attributes, ome)),
        ),
    )


def _check_group(path: Place, ome: dict[str, Any], labels: bool) -> None:
    """Refuse a group that is no image."""
    if "plate" in ome:
        well = ome["plate"]["wells"][0]["path"]
        raise ImageError(
            f"{path}: is a plate of many images; give one, as {path}/{well}/0, or "
            "-o NAME.zarr for all of them"
        )
    if "well" in ome:
        raise ImageError(f"{path}: is a well of several images; give one, as {path}/0")
    if not ome.get("multiscales"):
        hint = f"; try {path}/0" if "bioformats2raw.layout" in ome else ""
        raise ImageError(f"{path}: is a Zarr group without OME 'multiscales'{hint}")
    if "image-label" in ome and not labels:
        raise ImageError(
            f"{path}: is an image of labels, whose numbers are names of things and would be mixed; "
            "give the image itself, or --restore-labels"
        )


_UNDERSTOOD = (
    *("ome", "multiscales", "omero", "unetmm", "image-label", "labels", "bioformats2raw.layout"),
    *("version", "_creator", "_ARRAY_DIMENSIONS"),
)
"""Names of attributes of a group that are understood."""
_MOST_NAMES = 4


def _lost(attributes: dict[str, Any], ome: dict[str, Any]) -> list[str]:
    """Names of what no output keeps of a group's attributes: those of its owner, further images."""
    names = [name for name in (*attributes, *ome) if name not in _UNDERSTOOD]
    found = []
    if names:
        more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
        found.append(f"attributes {' '.join([*names[:_MOST_NAMES], *more])}")
    if (count := len(ome["multiscales"]) - 1) > 0:
        found.append(f"{count} further image{'s' * (count > 1)}")
    return found


def _nodata(own: dict[str, Any]) -> NoData:
    """Value for all bands, or values of each of them."""
    if "nodata" in own:
        return NoData.of(float(own["nodata"]))
    bands = own.get("nodata_bands", ())
    return NoData(tuple(tuple(float(v) for v in band) for band in bands))


def _display(omero: Any) -> dict[str, Any]:
    """How to display the channels, as far as that is what it should be; nobody needs it."""
    if not isinstance(omero, dict):
        return {}
    found = {key: value for key, value in omero.items() if key != "channels"}
    if isinstance(channels := omero.get("channels"), list):
        found["channels"] = [_channel(c) if isinstance(c, dict) else {} for c in channels]
    return found


def _channel(stored: dict[str, Any]) -> dict[str, Any]:
    """A channel without a range that is none."""
    has_window = isinstance(stored.get("window", {}), dict)
    return {key: value for key, value in stored.items() if has_window or key != "window"}


def _axes(path: Place, image: dict[str, Any]) -> tuple[str, list[str]]:
    """(letters, unit of each axis); up to version 0.2 axes were not stated."""
    entries = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", list("tczyx"))]
    by_type = {"channel": "C", "time": "T"}
    letters = "".join(
        by_type.get(str(a.get("type")), str(a.get("name", "")).upper()) for a in entries
    )
    known = set(letters) <= set("TCZYX") and len(set(letters)) == len(entries)
    if not known or not {"Y", "X"} <= set(letters):
        names = [str(a.get("name")) for a in entries]
        raise ImageError(f"{path}: has axes {names}; unetmm knows t, c, z, y and x, once each")
    return letters, [full_unit(str(a.get("unit") or "")) for a in entries]


def _transforms(image: dict[str, Any], count: int) -> tuple[list[float], list[float]]:
    """(size of a pixel, place of the first one) along every axis.

    The transformations of the dataset come first, then those of the whole image.
    """
    sizes, places = [1.0] * count, [0.0] * count
    for holder in (image["datasets"][0], image):
        for transform in holder.get("coordinateTransformations", []):
            kind = transform.get("type")
            values = [float(v) for v in transform.get(kind, ())] if kind else []
            if len(values) != count:
                continue
            if kind == "scale":
                sizes = [a * b for a, b in zip(sizes, values, strict=True)]
                places = [a * b for a, b in zip(places, values, strict=True)]
            elif kind == "translation":
                places = [a + b for a, b in zip(places, values, strict=True)]
    return sizes, places


def stored_axes(path: Place, info: ImageInfo) -> str:
    """Axes in the order OME-Zarr wants, S as C."""
    axes = "".join(axis for axis in "TCZYX" if axis in info.axes)
    if info.samples == 1:
        return axes
    if info.length("C") > 1:
        raise ImageError(f"{path}: OME-Zarr cannot hold colours and channels at once; write .tif")
    return "".join(axis for axis in "TCZYX" if axis in axes + "C")
