"""Where each image of a command line goes, and which are no inputs because they are its outputs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from unetmm.errors import ImageError
from unetmm.io.formats import OUTPUT_SUFFIX
from unetmm.io.open import count_images, output_format
from unetmm.io.places import Place, to_place
from unetmm_cli.batch.inputs import Found, looks_like_zarr, real_place
from unetmm_cli.batch.pages import page_of
from unetmm_cli.display.batch import left_out, restored_before, told_apart
from unetmm_cli.files import check_folder, check_paths, name_of, overlap, split_name
from unetmm_cli.options.choices import Choices

WRITTEN_AS = {
    **dict.fromkeys((".webp", ".bmp", ".pgm", ".ppm", ".avif", ".heic", ".heif", ".hif"), "png"),
    ".jxl": "png",
    **dict.fromkeys((".jp2", ".exr", ".dcm", ".dicom"), "tiff"),
}
"""Extension of a format of pictures that is not written -> what their outputs are; OME-Zarr is for
all others.
"""


@dataclass(frozen=True)
class Item:
    """One image of a batch."""

    input: Place
    """Place of the image."""
    output: Place
    """Place of the restored image."""
    series: int | None = None
    """Number of the image in its file, where every one of them is an item."""
    page: Path | None = None
    """File of the page about both, where one is asked for."""


def is_folder(output: str) -> bool:
    """Whether an output is a folder for images: one that is there, or a name with / at its end."""
    place = to_place(output)
    return (output.endswith("/") or place.is_dir()) and not looks_like_zarr(place)


def output_of(path: Place, output: str, choices: Choices) -> Place:
    """Where an image goes that the command line names alone.

    Raises
    ------
    ImageError
        If that would overwrite the image or cannot be written.
    """
    place = to_place(output)
    if is_folder(output):
        return make_items([str(path)], [(path, Path(name_of(path)))], place, choices)[0].output
    check_paths(path, place, choices.written)
    return place


def make_items(
    inputs: list[str], found: list[Found], folder: Place, choices: Choices
) -> list[Item]:
    """What is to be made of several images; outputs of the same command are no inputs of it.

    Raises
    ------
    ImageError
        If no image is left, or an output would overwrite its input or another.
    """
    check_folder(folder)
    others = _without_outputs(found, folder, choices)
    kept = _without_restored(others)
    if not choices.reporting.quiet:
        left_out(len(found) - len(others), choices.reporting.as_json)
        restored_before(len(others) - len(kept), choices.reporting.as_json)
    if not kept:
        raise ImageError(
            f"{', '.join(inputs)}: holds nothing but outputs of this command; give other images"
        )
    items = place(kept, folder, choices)
    if not choices.reporting.quiet:
        told_apart(
            [i.output.name for i in items if _is_told_apart(i, choices)], choices.reporting.as_json
        )
    for item in items:
        if overlap(item.input, item.output):
            raise ImageError(
                f"{item.output}: the output would be the input itself; give --suffix, or another "
                "folder"
            )
    return items


def _is_told_apart(item: Item, choices: Choices) -> bool:
    """Whether an output has another name than it would have by itself."""
    usual = output_name(name_of(item.input), choices.output.suffix, choices)
    return (
        item.output.name
        == with_extension(Path(name_of(item.input)), Path(usual), choices.output.suffix)
        != usual
    )


def with_all_series(items: list[Item]) -> list[Item]:
    """An item for each image of the files that hold several."""
    found = []
    for item in items:
        try:
            count = count_images(item.input)
        except (ImageError, OSError):  # which is told when its turn comes
            count = 1
        stem, suffix = split_name(item.output.name)
        for number in range(count):
            output = item.output.with_name(f"{stem}_s{number}{suffix}")
            page = item.page and item.page.with_name(f"{output.name}.html")
            found.append(Item(item.input, output, number, page) if count > 1 else item)
    return found


def _without_restored(found: list[Found]) -> list[Found]:
    """Images but those that unetmm made of others of them and put beside these: a_denoised.tif."""
    named: dict[tuple[str, str], list[Place]] = {}
    for path, _ in found:
        named.setdefault((str(path.parent), split_name(path.name)[0]), []).append(path)

    def is_restored(path: Place) -> bool:
        first, *others = split_name(path.name)[0].split("_")
        for more in others:
            if any(was_made_of(path, o) for o in named.get((str(path.parent), first), ())):
                return True
            first += f"_{more}"
        return False

    return [one for one in found if not is_restored(one[0])]


def was_made_of(output: Place, source: Place) -> bool:
    """Whether an image is our output of another, by its record."""
    from unetmm.provenance.record import read_record

    record = read_record(output)
    return record is not None and str(record["facts"].get("input", "")).startswith(
        f"{source.name},"
    )


def _without_outputs(found: list[Found], folder: Place, choices: Choices) -> list[Found]:
    """Images but those that an earlier run of the same command has made.

    Such a one lies in the output folder although it was found from further up, or has the very
    name that the output of another image gets.
    """
    if not isinstance(folder, Path):
        return found
    real = folder.resolve()
    others = [f for f in found if not _is_reached_from_above(real, *f)]
    items = _items(others, folder, choices)
    places = [(real_place(item.input), real_place(item.output)) for item in items]
    made = {output for input, output in places if output != input}
    return [f for f, (input, _) in zip(others, places, strict=True) if input not in made]


def _is_reached_from_above(folder: Path, path: Place, below: Path) -> bool:
    """Whether an image lies in the folder, but the one it was looked for in does not."""
    if not isinstance(path, Path) or len(below.parts) == 1:
        return False
    root = path.parents[len(below.parts) - 1].resolve()
    return path.parent.resolve().is_relative_to(folder) and not root.is_relative_to(folder)


def place(found: list[Found], folder: Place, choices: Choices) -> list[Item]:
    """Give every image an output below the folder, in the tree it was found in.

    Raises
    ------
    ImageError
        If two images would get the same output, or the folder is a file.
    """
    if folder.exists() and (looks_like_zarr(folder) or not folder.is_dir()):
        raise ImageError(f"{folder}: is no folder for images; name another")
    items = _items(found, folder, choices)
    taken: dict[Place, Place] = {}
    for item in items:
        other = taken.setdefault(item.output, item.input)
        if other is not item.input:
            raise ImageError(
                f"{item.output}: would be the output of {other} and of {item.input}; "
                "restore them into different folders"
            )
    return items


def _items(found: list[Found], folder: Place, choices: Choices) -> list[Item]:
    suffix = choices.output.suffix
    outputs = [below.with_name(output_name(below.name, suffix, choices)) for _, below in found]
    # What lies where its own output would is most likely an earlier output of another.
    others = [o for (path, _), o in zip(found, outputs, strict=True) if not _is(path, folder / o)]
    outputs = _told_apart([below for _, below in found], outputs, Counter(others), suffix)
    return [
        Item(path, folder / output, page=page_of(output, choices))
        for (path, _), output in zip(found, outputs, strict=True)
    ]


def _is(path: Place, other: Place) -> bool:
    """Whether two places are the same."""
    return path.name == other.name and real_place(path) == real_place(other)


def _told_apart(
    inputs: list[Path], outputs: list[Path], counts: Counter[Path], ending: str
) -> list[Path]:
    """Outputs of one name keep the extension of their input: p_heic.png beside that of p.png.

    The name alone is for the image whose extension it has.
    """
    found = []
    for input, output in zip(inputs, outputs, strict=True):
        is_own = split_name(input.name)[1].lower() == split_name(output.name)[1].lower()
        if counts[output] > 1 and not is_own:
            output = output.with_name(with_extension(input, output, ending))
        found.append(output)
    return found


def with_extension(input: Place | Path, output: Place | Path, ending: str) -> str:
    """Name of an output that tells the format of its input too."""
    stem, suffix = split_name(input.name)
    kept = split_name(output.name)[1]
    return f"{stem}_{suffix.lstrip('.').lower()}{ending}{kept}" if suffix else output.name


def _fitting(suffix: str, format: str, choices: Choices) -> str:
    """Extension of an output in the format of its input, or in one that holds maps or labels."""
    answer = choices.to_options().answer if format in ("jpeg", "png") else None
    if answer is None or (answer.kind == "labels" and format == "png"):
        return suffix
    return ".png" if answer.kind == "labels" else ".tif"


def output_name(name: str, ending: str, choices: Choices) -> str:
    """Name of an image's output: with an ending, in its own format where that is written."""
    stem, suffix = split_name(name)
    if choices.output.format != "auto":
        kept = OUTPUT_SUFFIX[choices.output.format]
    else:
        try:
            kept = _fitting(suffix, output_format(Path(name)), choices)
        except ImageError:  # a format that is read but not written
            kept = OUTPUT_SUFFIX[WRITTEN_AS.get(suffix.lower(), "ome-zarr")]
    return f"{stem}{ending}{kept}"
