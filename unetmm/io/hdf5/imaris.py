"""Imaris files: an array for each time and channel, larger than the image by a part of a chunk.

Source: Imaris 5.5 file format, https://imaris.oxinst.com/support/imaris-file-format
"""

from __future__ import annotations

import math
from typing import Any

from unetmm.errors import ImageError
from unetmm.io.hdf5.arrays import node_at
from unetmm.io.hdf5.description import Description, text_of
from unetmm.io.units import full_unit

_FINEST = "DataSet/ResolutionLevel 0"
_ABOUT = "DataSetInfo"
_TIMES, _CHANNELS = "TimePoint {}", "Channel {}"


def is_imaris(file: Any) -> bool:
    """Whether a file is one of Imaris."""
    return all(node_at(file, name) is not None for name in (_FINEST, f"{_ABOUT}/Image"))


def describe_imaris(path: Any, file: Any) -> Description:
    """The finest image of an Imaris file.

    Raises
    ------
    ImageError
        If times or channels are missing, or differ.
    """
    times = _count(file, f"{_FINEST}/{_TIMES}")
    channels = _count(file, f"{_FINEST}/{_TIMES.format(0)}/{_CHANNELS}")
    if not times or not channels:
        raise ImageError(f"{path}: the Imaris file holds no image; export it again")
    names = [
        [f"{_FINEST}/{_TIMES.format(t)}/{_CHANNELS.format(c)}/Data" for c in range(channels)]
        for t in range(times)
    ]
    found = {_kind_of(node_at(file, name)) for row in names for name in row}
    if len(found) > 1 or None in found:
        raise ImageError(
            f"{path}: its times and channels differ in size or type, or one is missing; "
            "name one: .../Channel 0/Data"
        )
    first = node_at(file, names[0][0])
    about = file[f"{_ABOUT}/Image"].attrs
    stored = dict(zip("ZYX", first.shape, strict=True))
    shape = {a: min(_whole(about, a) or n, n) for a, n in stored.items()}
    unit = full_unit(text_of(about.get("Unit", "um")))
    sizes = {
        axis: (size / shape[axis], unit)
        for i, axis in enumerate("XYZ")
        if (size := _real(about, f"ExtMax{i}") - _real(about, f"ExtMin{i}")) > 0
    }
    said = [node_at(file, f"{_ABOUT}/Channel {c}") for c in range(channels)]
    channel_names = tuple("" if one is None else text_of(one.attrs.get("Name", "")) for one in said)
    colours = tuple(map(_colour, said))
    known = "names and colours" if all(colours) else "and names"
    return Description(
        names=names,
        axes="ZYX",
        lengths=shape,
        pixel_size=sizes,
        channel_names=channel_names if any(channel_names) else (),
        channel_colors=colours if all(colours) else (),
        left_out=(f"settings of Imaris beyond sizes, {known} of channels",),
    )


def _colour(about: Any) -> str:
    """Colour of a channel as "#rrggbb"; empty if it says none."""
    text = "" if about is None else text_of(about.attrs.get("Color", ""))
    try:
        shares = [min(max(float(word), 0.0), 1.0) for word in text.split()]
    except ValueError:
        return ""
    if len(shares) != 3 or any(math.isnan(share) for share in shares):
        return ""
    return "#" + "".join(f"{round(255 * share):02x}" for share in shares)


def _kind_of(array: Any) -> tuple[Any, ...] | None:
    """Size and type of an array of rows, columns and depths; None of anything else."""
    shape = getattr(array, "shape", None)
    return None if shape is None or len(shape) != 3 else (shape, array.dtype)


def _count(file: Any, name: str) -> int:
    """Number of groups of a name with 0, 1, 2, ... in it."""
    count = 0
    while node_at(file, name.format(count)) is not None:
        count += 1
    return count


def _whole(attributes: Any, name: str) -> int:
    text = text_of(attributes.get(name, "")).strip()
    return int(text) if text.isdecimal() else 0


def _real(attributes: Any, name: str) -> float:
    try:
        return float(text_of(attributes.get(name, "0")))
    except ValueError:
        return 0.0
