"""Imaris files: an array for each time and channel, larger than the image by a part of a chunk.

Source: Imaris 5.5 file format, https://imaris.oxinst.com/support/imaris-file-format
"""

from __future__ import annotations

from typing import Any

from unetmm.errors import ImageError
from unetmm.io.hdf5.description import Description, text_of

_FINEST = "DataSet/ResolutionLevel 0"
_ABOUT = "DataSetInfo"
_TIMES, _CHANNELS = "TimePoint {}", "Channel {}"


def is_imaris(file: Any) -> bool:
    """Whether a file is one of Imaris."""
    return _FINEST in file and f"{_ABOUT}/Image" in file


def describe_imaris(path: Any, file: Any) -> Description:
    """The finest image of an Imaris file.

    Raises
    ------
    ImageError
        If times or channels are missing, or differ.
    """
    finest = file[_FINEST]
    times = _count(finest, _TIMES)
    channels = _count(finest.get(_TIMES.format(0), {}), _CHANNELS)
    if not times or not channels:
        raise ImageError(f"{path}: the Imaris file holds no image; export it again")
    names = [
        [f"{_FINEST}/{_TIMES.format(t)}/{_CHANNELS.format(c)}/Data" for c in range(channels)]
        for t in range(times)
    ]
    arrays = [[file.get(name) for name in row] for row in names]
    first = arrays[0][0]
    for row in arrays:
        for one in row:
            if one is None or one.shape != first.shape or one.dtype != first.dtype:
                raise ImageError(
                    f"{path}: its times and channels differ in size or type, or one is missing; "
                    "name one: .../Channel 0/Data"
                )
    about = file[f"{_ABOUT}/Image"].attrs
    stored = dict(zip("ZYX", first.shape, strict=True))
    shape = {a: min(_whole(about, a) or n, n) for a, n in stored.items()}
    sizes = {
        axis: (size / shape[axis], "micrometer")
        for i, axis in enumerate("XYZ")
        if (size := _real(about, f"ExtMax{i}") - _real(about, f"ExtMin{i}")) > 0
    }
    if text_of(about.get("Unit", "um")) not in ("um", "µm", "micrometer"):
        sizes = {}
    said = [file.get(f"{_ABOUT}/Channel {c}") for c in range(channels)]
    channel_names = tuple("" if one is None else text_of(one.attrs.get("Name", "")) for one in said)
    return Description(
        arrays=arrays,
        axes="ZYX",
        lengths=shape,
        pixel_size=sizes,
        channel_names=channel_names if any(channel_names) else (),
        left_out=("settings of Imaris beyond sizes and names of channels",),
    )


def _count(group: Any, name: str) -> int:
    """Number of groups of a name with 0, 1, 2, ... in it."""
    count = 0
    while name.format(count) in group:
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
