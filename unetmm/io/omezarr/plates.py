"""Plates of OME-Zarr: wells of a screen, each with a few images, restored as a whole.

plate.zarr/          "plate": rows, columns, and the paths of wells
  A/1/               "well": the paths of its images
    0/, 1/           images
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.places import Place, is_zarr, zarr_store

_NAME = re.compile(r"^[\w.-]+$")
_VERSIONED = ("plate", "well")


@dataclass(frozen=True)
class PlateLayout:
    """What a plate holds."""

    groups: Mapping[str, dict[str, Any]]
    """Path below the plate, empty for itself -> content of "plate" or "well"."""
    images: tuple[str, ...]
    """Paths of all images below the plate."""


def read_plate(path: Place) -> PlateLayout | None:
    """The layout of a plate; None of what is none.

    Raises
    ------
    ImageError
        If a well is missing, or names what cannot be in a plate.
    """
    if not isinstance(path, Path) or not path.is_dir() or not is_zarr(path):
        return None
    with translated(path, "read it as a plate"):
        plate = _attributes(path).get("plate")
        if not isinstance(plate, dict):
            return None
        groups, images = {"": plate}, []
        for well in plate.get("wells", ()):
            name = _checked(path, well.get("path"), 2)
            found = _attributes(path / name).get("well")
            if not isinstance(found, dict):
                raise ImageError(f"{path}: names the well {name}, which is not there")
            groups[name] = found
            images += [
                f"{name}/{_checked(path, i.get('path'), 1)}" for i in found.get("images", ())
            ]
    return PlateLayout(groups, tuple(images))


def _attributes(path: Path) -> dict[str, Any]:
    """OME's attributes of a group, of either version; none of what is no group."""
    if not is_zarr(path):
        return {}
    import zarr  # here, for whoever restores no plate does not need it

    node = zarr.open(zarr_store(path, read_only=True), mode="r")
    found: Any = dict(node.attrs)
    found = found.get("ome", found)
    return found if isinstance(found, dict) else {}


def _checked(path: Path, name: Any, parts: int) -> str:
    """A path below a plate that leads nowhere else."""
    names = name.split("/") if isinstance(name, str) else []
    if len(names) != parts or not all(_NAME.match(n) and n.strip(".") for n in names):
        raise ImageError(f"{path}: names {name!r}, which is no place in a plate; it is damaged")
    return "/".join(names)


def write_groups(target: Path, plate: PlateLayout, version: str) -> None:
    """Make the groups of a plate and its wells, with what the input says of them.

    Parameters
    ----------
    version : of OME-Zarr.
    """
    import zarr

    zarr_format: Any = 2 if version == "0.4" else 3
    rows = {name.split("/")[0] for name in plate.groups if name}
    with translated(target, "create the plate"):
        for name in ("", *sorted(rows), *(n for n in plate.groups if n)):
            content = plate.groups.get(name)
            kind = "well" if name else "plate"
            attributes: dict[str, Any] = {}
            if content is not None and version == "0.4":
                attributes = {kind: content | {"version": version}}
            elif content is not None:
                known = {key: value for key, value in content.items() if key != "version"}
                attributes = {"ome": {"version": version, kind: known}}
            group = zarr.open_group(zarr_store(target / name), mode="a", zarr_format=zarr_format)
            group.attrs.update(attributes)
