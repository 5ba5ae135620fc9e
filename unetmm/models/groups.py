"""Which samples of an image go through a net together."""

from __future__ import annotations

from collections.abc import Sequence

from unetmm.errors import ShapeError
from unetmm.io.image import ImageInfo
from unetmm.io.joined import band_numbers, may_be_bands
from unetmm.nets.config import NetConfig

Groups = Sequence[tuple[int, ...]]
"""Samples that go through the net together: [(0, 1, 2)] for a colour net, [(0,), (1,)] for mono."""
UNNAMED = ("array", "npy", "zarr")
"""Formats whose axes a user names."""


def sample_groups(config: NetConfig, info: ImageInfo) -> list[tuple[int, ...]]:
    """Which samples go through the net together.

    Raises
    ------
    ShapeError
        If the net's channels do not fit the image's samples, or an image that it gives has others
        than it takes.
    """
    if config.gives == "image" and config.in_channels != config.out_channels:
        raise ShapeError(
            f"the net makes {config.out_channels} channels of {config.in_channels}, so its output "
            "is no restored image; use a model that gives as many as it takes"
        )
    samples = info.samples - info.alpha
    if config.in_channels == 1:
        return [(i,) for i in range(samples)]
    if config.in_channels == samples:
        return [tuple(range(samples))]
    if config.takes_bands:
        raise ShapeError(_without_bands(config.in_channels, info))
    remedy = "use a mono model, which takes every channel by itself"
    if samples == 1 and config.in_channels == 3 <= info.length("C"):
        remedy += ", or --rgb-bands 1,2,3 for channels that are colours"
    elif samples == 1 and config.in_channels == 3 <= info.length("Z"):
        remedy += ", or name the axis of colours S (--axes, axes= in Python)"
    raise ShapeError(
        f"this model restores {config.in_channels} interleaved samples (RGB), the image has "
        f"{samples} in axes {info.axes}; {remedy}"
    )


def takes_together(config: NetConfig, info: ImageInfo, are_chosen: bool) -> bool:
    """Whether the channels of an image go through the net together, in their order.

    are_chosen : whether they were chosen as bands; a net of colours takes no others together.
    """
    fits = info.samples == 1 and info.length("C") == config.in_channels > 1
    return fits and (config.takes_bands or are_chosen)


def _without_bands(wanted: int, info: ImageInfo) -> str:
    """Why an image has not the bands that a net takes, and what to do."""
    found, colours = info.length("C"), info.samples - info.alpha
    example = band_numbers(wanted)
    has = f"{found} band{'s' * (found > 1)}" if colours == 1 else f"{colours} colours"
    has += " and opacity" if info.alpha else ""
    remedy = f"give an image of {wanted} bands, or a net that takes {max(found, colours)}"
    if found > wanted:
        remedy = f"choose {wanted} and their order: --bands {example}"
    elif info.samples >= wanted and info.format in UNNAMED:
        axes = info.axes.replace("S", "C")
        remedy = f"where these are bands, say so: --axes {axes} (axes= in Python)"
    elif info.samples >= wanted and may_be_bands(info):
        remedy = f"where these are bands, say so: --bands {example}"
    elif axis := next((a for a in "ZT" if found == 1 and info.length(a) >= wanted), ""):
        planes = f"its {info.length(axis)} planes along {axis}"
        remedy = f"where {planes} are bands, name that axis C (--axes, axes= in Python)"
    return (
        f"the net takes {wanted} bands together, the image has {has} (axes {info.axes}, shape "
        f"{info.shape}); {remedy}"
    )


def slice_of(group: tuple[int, ...]) -> slice:
    """The samples of a group as a slice, for they lie side by side."""
    return slice(group[0], group[-1] + 1)
