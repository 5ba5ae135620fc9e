"""The output of a command line that names none with -o: its last name, or a name beside the input.

unetmm denoise IN OUT      unetmm denoise a.tif b.tif FOLDER/      unetmm denoise photo.jpg
"""

from __future__ import annotations

import glob
from pathlib import Path

import typer

from unetmm.errors import ImageError
from unetmm.io.formats import IMAGE_SUFFIXES
from unetmm.io.hdf5.arrays import split_place
from unetmm.io.places import Place, RemotePath, to_place
from unetmm_cli import display
from unetmm_cli.batch.inputs import PIPE, looks_like_zarr
from unetmm_cli.batch.placing import is_folder, output_name, was_made_of
from unetmm_cli.files import exists, name_of, split_name
from unetmm_cli.options.choices import Choices


def named_output(
    inputs: list[str], output: str | None, choices: Choices, ending: str
) -> tuple[list[str], str]:
    """Inputs and output, as the command line means them.

    Parameters
    ----------
    ending : added to the name of an image that gets its output beside it, such as "_denoised".

    Raises
    ------
    typer.BadParameter
        If there is no telling where the images shall go.
    """
    if output is not None:
        return inputs, output
    if len(inputs) > 1:
        return inputs[:-1], _last(inputs)
    (only,) = inputs
    path = to_place(only)
    if only == PIPE or isinstance(path, RemotePath):
        raise typer.BadParameter(f"{only}: give -o PATH, there is no place beside it")
    holds_many = path.is_dir() and not looks_like_zarr(path)
    if holds_many or not path.exists() and (only.startswith("@") or glob.has_magic(only)):
        raise typer.BadParameter(f"{only}: may hold many images; give -o FOLDER/ for theirs")
    beside = output_beside(path, choices, ending)
    if exists(path) and not choices.reporting.quiet and not choices.reporting.as_json:
        display.say(f"the output goes to {beside}; -o names another")
    return inputs, str(beside)


def _last(inputs: list[str]) -> str:
    """The last of several names, if it can be that of an output."""
    last = to_place(inputs[-1])
    is_new = not inputs[-1].startswith("@") and not glob.has_magic(inputs[-1]) and not last.exists()
    if inputs[-1].endswith("/") or (is_new and (len(inputs) == 2 or not last.suffix)):
        return inputs[-1]
    if len(inputs) == 2 and last.exists() and was_made_of(last, to_place(inputs[0])):
        return inputs[-1]
    # --overwrite changes nothing: two names may be what *.tif became, and the last a raw image.
    single = f"-o {inputs[-1]} to replace that one" if len(inputs) == 2 else "-o FILE for one image"
    raise typer.BadParameter(
        f"{', '.join(inputs)}: images, and no output; give -o FOLDER/, or {single}"
    )


def default_output(path: Place, choices: Choices, ending: str = "_denoised") -> Place:
    """Where the output of an image goes that nobody names; what is behind an URL is not written."""
    if isinstance(path, RemotePath):
        return Path(output_name(path.name, ending, choices))
    return output_beside(path, choices, ending)


def output_beside(path: Place, choices: Choices, ending: str) -> Place:
    """A place in the folder of an image, in its own format where that is written."""
    name, folder = name_of(path), path.parent
    if isinstance(path, Path):
        file, within = split_place(path)
        if within and name != path.name:  # an array in an HDF5 gets its output beside the file
            folder = file.parent
        elif not name:  # of the folder that one is in
            name = path.resolve().name
    return folder / output_name(name, choices.output.suffix or ending, choices)


def check_is_folder(output: str, count: int) -> None:
    """Refuse a name of one image for several, which would become a folder of that name.

    Raises
    ------
    ImageError
        If it is one.
    """
    if is_folder(output):
        return
    place = to_place(output)
    _, suffix = split_name(place.name)
    if suffix.lower() in IMAGE_SUFFIXES or looks_like_zarr(place):
        stem = str(place)[: len(str(place)) - len(suffix)]
        raise ImageError(
            f"{output}: names one image, but there are {count}; give a folder, as -o {stem}/"
        )
