"""The attributes of an OME-Zarr that we write, 0.4 and 0.5: axes, places of pixels, rendering."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from unetmm.io.fluorophores import colour_of
from unetmm.io.image import ImageInfo
from unetmm.io.omezarr.kept import pack_metadata
from unetmm.io.output.levels import Level
from unetmm.io.palette import unpack_map
from unetmm.io.units import in_unit

_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_SAMPLES = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"), ("Alpha", "FFFFFF"))
_COLORS = ("00FF00", "FF0000", "0000FF", "FF00FF", "00FFFF", "FFFF00")
"""Colours of channels that state none, in turn; a single channel is white."""


def write_attributes(
    name: str,
    axes: str,
    info: ImageInfo,
    levels: tuple[Level, ...],
    version: str = "0.5",
    record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Attributes of the group.

    Parameters
    ----------
    record : how the image was made; the intensities it was calibrated with are what is displayed.
    """
    entries = [_axis(axis, info) for axis in axes]
    datasets = [_dataset(number, axes, info) for number in range(len(levels))]
    image: dict[str, Any] = {"name": name, "axes": entries, "datasets": datasets}
    if len(levels) > 1:
        image |= {"type": "nearest" if info.metadata.display.class_names else "mean"}
    is_image = not info.metadata.display.meaning
    omero = _omero(info, _measured_ranges(record or {}) if is_image else {})
    named = {"image-label": _image_label(info)} if info.metadata.display.class_names else {}
    own: dict[str, Any] = {"samples": info.samples > 1, "alpha": info.alpha}
    if info.nodata.single is not None:
        own["nodata"] = str(info.nodata.single)  # text, for JSON has no NaN
    elif info.nodata.bands:
        own["nodata_bands"] = [[str(value) for value in band] for band in info.nodata.bands]
    own |= {"record": dict(record)} if record else {}
    own |= {"notes": kept} if (kept := pack_metadata(info.metadata)) else {}
    if version == "0.4":
        image = {"version": version, **image}
        said = {name: facts | {"version": version} for name, facts in named.items()}
        omero |= {"version": version}
        return {"multiscales": [image], "omero": omero, "unetmm": own, **said}
    ome = {"version": version, "multiscales": [image], "omero": omero, **named}
    return {"ome": ome, "unetmm": own}


def _image_label(info: ImageInfo) -> dict[str, Any]:
    """Colours and names of classes."""
    display = info.metadata.display
    colours = unpack_map(display.colour_maps[0]) >> 8
    names = list(enumerate(display.class_names))
    return {
        "colors": [{"label-value": i, "rgba": [*map(int, colours[i]), 255]} for i, _ in names],
        "properties": [{"label-value": i, "class": name} for i, name in names],
    }


def _axis(axis: str, info: ImageInfo) -> dict[str, str]:
    _, unit = info.pixel_size.get(axis, (1.0, ""))
    return {"name": axis.lower(), "type": _TYPES[axis]} | ({"unit": unit} if unit else {})


def _dataset(number: int, axes: str, info: ImageInfo) -> dict[str, Any]:
    """A level: its pixels are twice as large as those of the one before, and start with them."""
    scale, translation = [], []
    for axis in axes:
        factor = 2**number if axis in "YX" else 1
        size = info.pixel_size.get(axis, (1.0, ""))[0]
        scale.append(size * factor)
        # The centre of a level's first pixel is that of the first pixels it is the mean of.
        translation.append(_origin(axis, info) + size * (factor - 1) / 2)
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(translation):
        transforms.append({"type": "translation", "translation": translation})
    return {"path": str(number), "coordinateTransformations": transforms}


def _origin(axis: str, info: ImageInfo) -> float:
    """Position of the first pixel, in the unit of the axis; 0 if they do not go together."""
    position, unit = info.metadata.microscopy.origin.get(axis, (0.0, ""))
    return in_unit(position, unit, info.pixel_size.get(axis, (1.0, ""))[1]) or 0.0


def _omero(info: ImageInfo, ranges: Mapping[int, tuple[float, float]]) -> dict[str, Any]:
    """How to display the channels: as the input says, and what it does not say made up."""
    colours = info.samples > 1
    count = info.samples if colours else info.length("C")
    made = [_sample(i, info) if colours else _channel(i, count, info) for i in range(count)]
    for i, channel in enumerate(made):
        measured = ranges.get(0 if colours else i)
        is_alpha = info.alpha and i == count - 1
        channel["window"] = _window(info, None if is_alpha else measured)
    model = "color" if count > 1 else "greyscale"
    stored = dict(info.metadata.microscopy.omero)
    stored.pop("version", None)
    given = list(stored.get("channels", ()))
    if not given or (colours and len(given) != count):
        return {"channels": made, "rdefs": {"model": model}}
    given = (given + [{}] * count)[:count]
    channels = [m | dict(g) for m, g in zip(made, given, strict=True)]
    for channel, own in zip(channels, made, strict=True):
        channel["window"] = own["window"] | dict(channel["window"])
    return {"rdefs": {"model": model}} | stored | {"channels": channels}


def _channel(number: int, count: int, info: ImageInfo) -> dict[str, Any]:
    colors = info.metadata.microscopy.channel_colors
    color = _COLORS[number % len(_COLORS)] if count > 1 else "FFFFFF"
    if len(colors) == count:
        color = colors[number].lstrip("#").upper()
    named = {"label": info.channel_names[number]} if info.channel_names else {}
    if len(colors) != count:
        color = colour_of(named.get("label", "")) or color
    return {**named, "color": color, "active": True}


def _sample(number: int, info: ImageInfo) -> dict[str, Any]:
    """A colour of a pixel; opacity is stored, but nothing to look at."""
    is_alpha = info.alpha and number == info.samples - 1
    label, color = _SAMPLES[-1] if is_alpha else _SAMPLES[number]
    if info.samples == 2 and not is_alpha:
        label, color = "Grey", "FFFFFF"
    return {"label": label, "color": color, "active": not is_alpha}


def _window(info: ImageInfo, measured: tuple[float, float] | None) -> dict[str, float]:
    """Range of the pixel type, and the part of it to show."""
    if info.dtype.kind == "f":
        low, high = measured or (0.0, 1.0)
    else:
        limits = np.iinfo(info.dtype)
        bits = info.metadata.display.bits or 8 * info.dtype.itemsize
        low = float(limits.min)
        high = float(min(limits.max, 2**bits - 1) if limits.min == 0 else limits.max)
        if classes := len(info.metadata.display.class_names):
            measured = 0.0, float(classes - 1)
    start, end = measured or (low, high)
    start, end = max(start, low), min(end, high)
    if start >= end:
        start, end = low, high
    return {"min": low, "max": high, "start": start, "end": end}


def _measured_ranges(record: Mapping[str, Any]) -> dict[int, tuple[float, float]]:
    """Channel -> intensities that calibration found, over all its samples."""
    found: dict[int, tuple[float, float]] = {}
    if "calibration" not in record:
        return found
    for key, entry in json.loads(record["calibration"])["entries"].items():
        channel = int(key.split(".")[0])
        low, high = found.get(channel, (entry["low"], entry["high"]))
        found[channel] = min(low, float(entry["low"])), max(high, float(entry["high"]))
    return found
