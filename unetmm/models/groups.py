"""Which samples of an image go through a net together."""

from __future__ import annotations

from collections.abc import Sequence

from unetmm.errors import ShapeError
from unetmm.io.image import ImageInfo
from unetmm.nets.config import NetConfig

Groups = Sequence[tuple[int, ...]]
"""Samples that go through the net together: [(0, 1, 2)] for a colour net, [(0,), (1,)] for mono."""


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
    remedy = "use a mono model, which takes every channel by itself"
    if samples == 1 and config.in_channels == 3 <= info.length("C"):
        remedy += ", or --rgb-bands 1,2,3 for channels that are colours"
    elif samples == 1 and config.in_channels == 3 <= info.length("Z"):
        remedy += ", or name the axis of colours S (--axes, axes= in Python)"
    raise ShapeError(
        f"this model restores {config.in_channels} interleaved samples (RGB), the image has "
        f"{samples} in axes {info.axes}; {remedy}"
    )


def slice_of(group: tuple[int, ...]) -> slice:
    """The samples of a group as a slice, for they lie side by side."""
    return slice(group[0], group[-1] + 1)
