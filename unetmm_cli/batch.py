"""Many images in one process: which they are, where each goes, and what became of each."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from unetmm.errors import ImageError, UnetmmError
from unetmm.io import output_format
from unetmm.io.sniff import is_zarr
from unetmm.resume import Share
from unetmm.sizes import default_budget_bytes
from unetmm_cli import display
from unetmm_cli.files import split_name
from unetmm_cli.options import Choices
from unetmm_cli.progress import Silent
from unetmm_cli.restoring import restore_one, restore_with_view
from unetmm_cli.signals import stop_on_signal

FAILED_EXIT = 3
"""Some inputs of a batch failed, the others are done."""
IMAGE_SUFFIXES = {
    ".tif", ".tiff", ".tf8", ".btf", ".png", ".jpg", ".jpeg", ".webp", ".npy", ".svs", ".ndpi",
    ".czi", ".nd2", ".lif", ".bmp", ".zarr", ".pgm", ".ppm", ".jp2",
}  # fmt: skip
"""What is taken from a folder; a file that is named is taken whatever it is called."""
SUFFIX_OF = {"ome-zarr": ".ome.zarr", "tiff": ".tif", "png": ".png"}


@dataclass(frozen=True)
class Item:
    """One image of a batch."""

    input: Path
    output: Path


def restore_all(inputs: list[str], output: Path, choices: Choices) -> None:
    """Restore one image into a file, or several into a folder.

    Raises
    ------
    UnetmmError
        If a single image fails, or no image is found.
    typer.Exit
        With FAILED_EXIT if some of several failed.
    """
    found = list(expand(inputs))
    if len(found) == 1 and found[0][0] == Path(inputs[0]) and not _is_folder(output):
        restore_one(found[0][0], output, choices)
        return
    if not found:
        what = "is a folder without images" if len(inputs) == 1 else "no image is there"
        raise ImageError(f"{', '.join(inputs)}: {what}; give images, or a folder that holds some")
    items = place(found, output, choices)
    if choices.shard is not None:
        items = share_of(items, choices.shard)
        choices = replace(choices, shard=None)
    if choices.mem_budget is None:  # or it would shrink with every image that is in memory
        choices = replace(choices, mem_budget=default_budget_bytes())
    _restore_items(items, choices)


def _restore_items(items: list[Item], choices: Choices) -> None:
    display.show_logs(choices.quiet, choices.log == "json")
    counts = {"done": 0, "skipped": 0, "failed": 0}
    failures: list[Item] = []
    with stop_on_signal() as stop:
        for item in items:
            outcome, reason = "skipped", ""
            if choices.overwrite or not item.output.exists():
                try:
                    item.output.parent.mkdir(parents=True, exist_ok=True)
                    restore_with_view(item.input, item.output, choices, Silent(), stop)
                    outcome = "done"
                except (UnetmmError, OSError) as error:
                    outcome, reason = "failed", " ".join(str(error).split())
                    failures.append(item)
            counts[outcome] += 1
            if not choices.quiet:
                display.batch_item(item.input, item.output, outcome, reason, choices.log == "json")
    display.batch_summary(counts, [str(item.input) for item in failures], choices.log == "json")
    if failures:
        raise typer.Exit(FAILED_EXIT)


def expand(inputs: list[str]) -> Iterator[tuple[Path, Path]]:
    """(image, its path below the folder it was found in) of every input, in order.

    Raises
    ------
    ImageError
        If a list cannot be read or a pattern or folder holds nothing.
    """
    for text in inputs:
        path = Path(text)
        if text == "-":
            yield from ((p, Path(p.name)) for p in _names(sys.stdin.buffer.read()))
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


def _names(data: bytes) -> list[Path]:
    """Paths, one a line or separated by NUL as of `find -print0`."""
    separator = b"\0" if b"\0" in data else b"\n"
    return [Path(n.decode(errors="surrogateescape")) for n in data.split(separator) if n.strip()]


def _below(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Images in a folder and the folders in it; a Zarr is one image, hidden names are none."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not _is_zarr(path):
            yield from ((p, Path(path.name) / below) for p, below in _below(path))
        elif path.suffix.lower() in IMAGE_SUFFIXES or (path.is_dir() and _is_zarr(path)):
            yield path, Path(path.name)


def _is_zarr(path: Path) -> bool:
    """Whether a folder is meant as a Zarr, a damaged one too."""
    return path.suffix == ".zarr" or is_zarr(path)


def _is_folder(output: Path) -> bool:
    """Whether an output is a folder for images rather than an image."""
    return output.is_dir() and not _is_zarr(output)


def place(found: list[tuple[Path, Path]], folder: Path, choices: Choices) -> list[Item]:
    """Give every image an output below the folder, in the tree it was found in.

    Raises
    ------
    ImageError
        If two images would get the same output, or the folder is a file.
    """
    if folder.exists() and not _is_folder(folder):
        raise ImageError(f"{folder}: several images need a folder; this is none, name another")
    items = [Item(path, folder / _output_name(below, choices)) for path, below in found]
    taken: dict[Path, Path] = {}
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


def share_of(items: list[Item], share: Share) -> list[Item]:
    """A share of a batch: the largest files first, each to the share with the least so far."""
    sizes = {i.input: i.input.stat().st_size if i.input.is_file() else 0 for i in items}
    loads = [0] * share.count
    chosen = set()
    for item in sorted(items, key=lambda i: (-sizes[i.input], str(i.input))):
        least = loads.index(min(loads))
        loads[least] += sizes[item.input] + 1
        if least == share.index:
            chosen.add(item.input)
    return [item for item in items if item.input in chosen]
