"""Many images in one process: which they are, where each goes, and what became of each."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import typer

from unetmm.errors import ImageError
from unetmm.io import output_format
from unetmm.io.remote import Place, RemotePath, to_place
from unetmm.io.sniff import is_zarr
from unetmm.resume import Share
from unetmm.sizes import default_budget_bytes
from unetmm_cli import display
from unetmm_cli.files import SUFFIX_OF, check_written, split_name
from unetmm_cli.many import Item, Many
from unetmm_cli.options import Choices
from unetmm_cli.pipes import PIPE, is_pipe, restore_to_stdout, spool_folder, take_stdin
from unetmm_cli.restoring import restore_one
from unetmm_cli.signals import stop_on_signal

IMAGE_SUFFIXES = {
    ".tif", ".tiff", ".tf8", ".btf", ".png", ".jpg", ".jpeg", ".webp", ".npy", ".svs", ".ndpi",
    ".czi", ".nd2", ".lif", ".bmp", ".zarr", ".pgm", ".ppm", ".jp2",
}  # fmt: skip
"""What is taken from a folder; a file that is named is taken whatever it is called."""


def restore_all(inputs: list[str], output: Place, choices: Choices) -> None:
    """Restore one image into a file, or several into a folder.

    Raises
    ------
    UnetmmError
        If a single image fails, or no image is found.
    typer.Exit
        With FAILED_EXIT if some of several failed.
    """
    if choices.watch or choices.watch_for is not None:
        _watch(inputs, output, choices)
        return
    with ExitStack() as stack:
        piped = PIPE in inputs
        stdin = take_stdin(stack.enter_context(spool_folder())) if piped else b""
        found = list(expand(inputs, stdin))
        alone = len(found) == 1 and found[0][0] in (stdin, to_place(inputs[0]))
        if is_pipe(output):
            if len(found) != 1:
                raise typer.BadParameter("-o - takes one image, not several")
            restore_to_stdout(found[0][0], choices)
        elif alone and not _is_folder(output):
            restore_one(found[0][0], output, choices)
        else:
            _restore_several(inputs, found, output, choices)


def _restore_several(
    inputs: list[str], found: list[tuple[Place, Path]], output: Place, choices: Choices
) -> None:
    if not found:
        what = "is a folder without images" if len(inputs) == 1 else "no image is there"
        raise ImageError(f"{', '.join(inputs)}: {what}; give images, or a folder that holds some")
    _check_several(choices)
    items = place(found, output, choices)
    check_written(choices.written, [path for item in items for path in (item.input, item.output)])
    if choices.shard is not None:
        items = share_of(items, choices.shard)
    resubmitted, choices = choices.shard is not None, replace(choices, shard=None)
    _restore_items(items, Many(_with_budget(choices), resubmitted))


def _watch(inputs: list[str], output: Place, choices: Choices) -> None:
    from unetmm_cli.watching import watch

    _check_several(choices)
    if is_pipe(output) or PIPE in inputs:
        raise typer.BadParameter("--watch takes folders and writes into one; leave out -")
    check_written(choices.written, [output])
    watch(inputs, output, choices, Many(_with_budget(choices)))


def _check_several(choices: Choices) -> None:
    if choices.save_calibration is not None:
        raise typer.BadParameter(
            "--save-calibration takes one image and the name of its output, not several images"
        )


def _with_budget(choices: Choices) -> Choices:
    """One budget for all images, or it would shrink with every one that is in memory."""
    budget_bytes = choices.mem_budget or default_budget_bytes()
    return replace(choices, mem_budget=budget_bytes)


def _restore_items(items: list[Item], many: Many) -> None:
    display.show_logs(many.choices.quiet, many.choices.log == "json")
    try:
        with stop_on_signal() as stop:
            for item in items:
                many.do(item, stop)
    finally:
        many.write_report()
    many.summarise()


def expand(inputs: list[str], stdin: Path | bytes = b"") -> Iterator[tuple[Place, Path]]:
    """(image, its path below the folder it was found in) of every input, in order.

    Parameters
    ----------
    stdin : what `-` stands for: an image, or names of images.

    Raises
    ------
    ImageError
        If a list cannot be read or a pattern or folder holds nothing.
    """
    for text in inputs:
        path = to_place(text)
        if isinstance(path, RemotePath):
            yield path, Path(path.name)
        elif text == PIPE:
            if isinstance(stdin, Path):
                yield stdin, Path("stdin")
            else:
                yield from ((p, Path(p.name)) for p in _names(stdin))
        elif text.startswith("@") and not path.exists():
            try:
                yield from ((p, Path(p.name)) for p in _names(Path(text[1:]).read_bytes()))
            except OSError as error:
                raise ImageError(f"{text[1:]}: cannot read the list: {error.strerror}") from error
        elif path.is_dir() and not _is_zarr(path):
            yield from _below(path)
        elif not path.exists() and glob.has_magic(text):
            matches = [Path(p) for p in sorted(glob.glob(text, recursive=True))]
            if not matches:
                raise ImageError(f"{text}: no file matches the pattern")
            for match in matches:
                if match.is_dir() and not _is_zarr(match):
                    yield from _below(match)
                else:
                    yield match, Path(match.name)
        else:
            yield path, Path(path.name)


def _names(data: bytes) -> list[Place]:
    """Paths, one a line or separated by NUL as of `find -print0`."""
    separator = b"\0" if b"\0" in data else b"\n"
    names = (n.decode(errors="surrogateescape") for n in data.split(separator) if n.strip())
    return [to_place(name) for name in names]


def _below(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Images in a folder and the folders in it; a Zarr is one image, hidden names are none."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not _is_zarr(path):
            yield from ((p, Path(path.name) / below) for p, below in _below(path))
        elif path.suffix.lower() in IMAGE_SUFFIXES or (path.is_dir() and _is_zarr(path)):
            yield path, Path(path.name)


def _is_zarr(path: Place) -> bool:
    """Whether a folder is meant as a Zarr, a damaged one too."""
    return path.suffix == ".zarr" or is_zarr(path)


def _is_folder(output: Place) -> bool:
    """Whether an output is a folder for images rather than an image."""
    return output.is_dir() and not _is_zarr(output)


def place(found: list[tuple[Place, Path]], folder: Place, choices: Choices) -> list[Item]:
    """Give every image an output below the folder, in the tree it was found in.

    Raises
    ------
    ImageError
        If two images would get the same output, or the folder is a file.
    """
    if folder.exists() and not _is_folder(folder):
        raise ImageError(f"{folder}: several images need a folder; this is none, name another")
    items = [Item(path, folder / _output_name(below, choices)) for path, below in found]
    taken: dict[Place, Place] = {}
    for item in items:
        other = taken.setdefault(item.output, item.input)
        if other is not item.input:
            raise ImageError(
                f"{item.output}: would be the output of {other} and of {item.input}; "
                "restore them into different folders"
            )
    return items


def _output_name(below: Path, choices: Choices) -> Path:
    stem, suffix = split_name(below.name)
    if choices.format != "auto":
        kept = SUFFIX_OF[choices.format]
    else:
        try:
            output_format(below)
            kept = suffix
        except ImageError:  # a format that is read but not written
            kept = SUFFIX_OF["ome-zarr"]
    return below.with_name(f"{stem}{choices.suffix}{kept}")


def _size_bytes(path: Place) -> int:
    return path.stat().st_size if isinstance(path, Path) and path.is_file() else 0


def share_of(items: list[Item], share: Share) -> list[Item]:
    """A share of a batch: the largest files first, each to the share with the least so far."""
    sizes = {i.input: _size_bytes(i.input) for i in items}
    loads = [0] * share.count
    chosen = set()
    for item in sorted(items, key=lambda i: (-sizes[i.input], str(i.input))):
        least = loads.index(min(loads))
        loads[least] += sizes[item.input] + 1
        if least == share.index:
            chosen.add(item.input)
    return [item for item in items if item.input in chosen]
