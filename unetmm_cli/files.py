"""Files around a run: checks before it starts, JSON written whole or not at all, checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from unetmm.errors import ImageError
from unetmm.io.formats import DOUBLE_SUFFIXES
from unetmm.io.hdf5.arrays import is_hdf5, split_place
from unetmm.io.places import Place, RemotePath

HEAD_BYTES = 512
"""Bytes at the beginning of a page within which it says whose it is."""
BLOCK_BYTES = 2**20
"""Size of what is read at once for a checksum, in bytes."""


def exists(path: Place) -> bool:
    """Whether an image is there, or the file that it lies in."""
    return path.exists() or (isinstance(path, Path) and is_hdf5(path))


def name_of(path: Place) -> str:
    """Name of an image: of an array in an HDF5, that of the file with the array's path in it."""
    if not isinstance(path, Path) or path.exists():
        return path.name
    file, within = split_place(path)
    if not within:
        return path.name
    return f"{file.stem}_{within.replace('/', '_')}{file.suffix}"


def check_paths(source: Place, output: Place, written: dict[str, Path]) -> None:
    """Refuse paths that would overwrite one another or cannot be written in the end.

    Parameters
    ----------
    written : option -> file that is written besides the output.

    Raises
    ------
    ImageError
        If the output is the input or inside it, or a file's folder is missing or none.
    """
    if overlap(source, output):
        raise ImageError(f"{output}: is the input or a part of it; choose another output")
    check_folder(output.parent)
    check_written(written, [source, output])


def check_folder(folder: Place) -> None:
    """Refuse a folder for outputs that is a file, or lies below one.

    Raises
    ------
    ImageError
        It names the file.
    """
    if isinstance(folder, Path):
        there = next((path for path in (folder, *folder.parents) if path.exists()), None)
        if there is not None and not there.is_dir():
            raise ImageError(f"{there}: is a file, not a folder; choose another output")


def check_written(written: dict[str, Path], images: Iterable[Place]) -> None:
    """Refuse side files that cannot be written in the end, or that would overwrite an image.

    Raises
    ------
    ImageError
        If one is such a file.
    """
    for option, path in written.items():
        if path.is_dir() or not path.parent.is_dir():
            raise ImageError(f"{path}: cannot be written ({option}); its folder must exist")
        if any(overlap(path, image) for image in images):
            raise ImageError(f"{path}: {option} would overwrite the image; choose another name")


def check_new_file(path: Path, suffix: str, overwrite: bool, read: Path | None = None) -> None:
    """Refuse a file to write that has another suffix, is there already, or is the one to read.

    Raises
    ------
    ImageError
        If it is such a file.
    """
    if path.suffix.lower() != suffix:
        raise ImageError(f"{path}: a name that ends with {suffix} is needed")
    check_written({"--output": path}, [read] if read is not None else [])
    if path.exists() and not overwrite:
        raise ImageError(f"{path}: is there already; give another name, or --overwrite")


def overlap(a: Place, b: Place) -> bool:
    """Whether two paths are the same file, or one is a folder around the other."""
    if isinstance(a, RemotePath) or isinstance(b, RemotePath):
        return f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/")
    if a.exists() and b.exists() and os.path.samefile(a, b):
        return True
    a, b = a.resolve(), b.resolve()
    return a == b or a in b.parents or b in a.parents


def page_beside(source: Place, ending: str) -> Path:
    """Where a page about an image goes that nobody names; that of an URL into the working folder.

    Raises
    ------
    ImageError
        If nothing can be written there.
    """
    stem, _ = split_name(source.resolve().name)
    folder = source.parent if isinstance(source, Path) else Path()
    page = folder / f"{stem}{ending}.html"
    if not os.access(folder, os.W_OK):
        raise ImageError(f"{page}: the folder cannot be written to; give another with -o")
    return page


def check_page(
    page: Path, images: Iterable[Place], mark: str, what: str, overwrite: bool, option: str = "-o"
) -> None:
    """Refuse a page that cannot be written, or whose place something else has.

    Parameters
    ----------
    mark : text near the beginning of pages of ours, which are replaced.
    what : a page of ours is, in words.
    option : that names the page; --overwrite is about it only where it is -o.

    Raises
    ------
    ImageError
        If it is such a one.
    """
    check_written({option: page}, images)
    if not page.exists() or overwrite:
        return
    with page.open("rb") as file:
        if mark.encode() not in file.read(HEAD_BYTES):
            remedy = "give --overwrite, or" if option == "-o" else "give"
            raise ImageError(
                f"{page}: exists and is no {what}; {remedy} another name with {option}"
            )


def split_name(name: str) -> tuple[str, str]:
    """A file's name without its extension, and the extension, .ome.tif and the like as one."""
    doubles = (s for s in DOUBLE_SUFFIXES if name.lower().endswith(s))
    suffix = next(doubles, Path(name).suffix)
    return name[: len(name) - len(suffix)], suffix


def write_text(path: Path, text: str) -> None:
    """Write a small file; it appears whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`, for what is no text."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def output_sha256(path: Place) -> str:
    """SHA-256 of a file's bytes; of a folder's files as sorted relative names and contents."""
    digest = hashlib.sha256()
    if isinstance(path, RemotePath):
        for name in path.all_names():
            digest.update(name.encode())
            digest.update((path / name).read_bytes())
    elif path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        for name in names:
            digest.update(name.encode())
            for block in _blocks(path / name):
                digest.update(block)
    else:
        for block in _blocks(path):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block
