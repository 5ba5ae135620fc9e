"""A plate of OME-Zarr as a whole: each image of it restored to the same place of a new plate."""

from __future__ import annotations

from pathlib import Path

import typer

from unetmm.io.omezarr.plates import PlateLayout, read_plate, write_groups
from unetmm.io.places import Place, to_place
from unetmm_cli.batch.inputs import Found
from unetmm_cli.batch.pages import page_of
from unetmm_cli.batch.placing import Item
from unetmm_cli.files import check_paths
from unetmm_cli.options.choices import Choices


def plate_of(found: list[Found], output: str) -> PlateLayout | None:
    """The plate that is restored as a whole; None if it is an image that is asked for."""
    target = to_place(output)
    if len(found) != 1 or not isinstance(target, Path) or target.suffix != ".zarr":
        return None
    return read_plate(found[0][0])


def plate_items(plate: PlateLayout, path: Place, output: str, choices: Choices) -> list[Item]:
    """An item for each image; the groups of the new plate are there.

    Raises
    ------
    typer.BadParameter
        If another format is asked for, or one image of a file.
    """
    if choices.output.format not in ("auto", "ome-zarr"):
        raise typer.BadParameter("a plate is written as OME-Zarr; leave --format out")
    target = to_place(output)
    assert isinstance(target, Path), "told by `plate_of`"
    check_paths(path, target, choices.written)
    write_groups(target, plate, choices.output.ome_zarr)
    return [
        Item(path / name, target / name, page=page_of(Path(name), choices)) for name in plate.images
    ]
