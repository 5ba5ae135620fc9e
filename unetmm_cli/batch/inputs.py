"""The images that a command line names: folders, patterns and lists, each image once."""

from __future__ import annotations

import codecs
import glob
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from unetmm.errors import ImageError
from unetmm.io.formats import READ_SUFFIXES
from unetmm.io.ome_sets import without_parts
from unetmm.io.places import Place, RemotePath, is_zarr, to_place
from unetmm_cli.files import name_of

PIPE = "-"
"""Name that stands for stdin as an input, and for stdout as the output."""
STDIN = "standard input"
"""Name of stdin in messages, where an image from there lies in a temporary file."""
_NO_IMAGES = (
    *(".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".log", ".ini", ".yaml", ".yml", ".html"),
    *(".pdf", ".doc", ".docx", ".xls", ".xlsx", ".py", ".sh", ".ipynb", ".zip", ".gz", ".tar"),
    *(".tfw", ".tifw", ".jgw", ".pgw", ".wld", ".prj", ".msk", ".ovr", ".rpb", ".imd", ".til"),
    *(".xmp", ".thm", ".db", ".ome", ".index", ".safetensors", ".pth", ".npz", ".part", ".sha256"),
)
"""Extensions of files that lie beside images and are none."""
Found = tuple[Place, Path]
"""Image, and its path below the folder that it was found in."""


def find(inputs: list[str], stdin: Path | bytes = b"") -> list[Found]:
    """The images of a command line, of which there is one at least.

    Raises
    ------
    ImageError
        If there is none.
    """
    found = list(expand(inputs, stdin))
    if not found:
        what = "is a folder without images" if len(inputs) == 1 else "no image is there"
        if others := other_kinds(inputs):
            what += f" that are read ({kinds_text(others)})"
        raise ImageError(f"{', '.join(inputs)}: {what}; give images, or a folder that holds some")
    return found


def other_kinds(inputs: list[str]) -> Counter[str]:
    """Number of files in the folders of a command line that may be images but are no inputs.

    By their kind, which is the extension without its point.
    """
    found: Counter[str] = Counter()
    for text in inputs:
        path = to_place(text)
        if isinstance(path, Path) and path.is_dir() and not looks_like_zarr(path):
            for folder in _folders(str(path)):
                for entry in os.scandir(folder):
                    suffix = Path(entry.name).suffix.lower()
                    other = suffix not in READ_SUFFIXES and suffix not in _NO_IMAGES
                    if other and not entry.name.startswith(".") and entry.is_file():
                        found[suffix.lstrip(".") or "no extension"] += 1
    return found


def kinds_text(kinds: Counter[str]) -> str:
    """ "heic 4, nef 3", the most first."""
    ranked = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    return ", ".join(f"{name} {count}" for name, count in ranked)


def without_set_parts(found: list[Found]) -> tuple[list[Found], dict[Place, Place]]:
    """(images without the further files of sets, such a file -> the image that it is of)."""
    parts = without_parts([path for path, _ in found if isinstance(path, Path)])
    kept = [one for one in found if one[0] not in parts]
    return kept, {part: first for part, first in parts.items()}


def is_alone(found: list[Found], inputs: list[str], stdin: Path | bytes = b"") -> bool:
    """Whether there is one image, and the command line names it itself."""
    return len(found) == 1 and found[0][0] in (stdin, to_place(inputs[0]))


def expand(inputs: list[str], stdin: Path | bytes = b"") -> Iterator[Found]:
    """The images of every input, in order; one that is named again is left out.

    Parameters
    ----------
    stdin : what `-` stands for: an image, or names of images.

    Raises
    ------
    ImageError
        If a list cannot be read, or a list, pattern or folder holds nothing.
    """
    seen: set[Place] = set()
    for text in inputs:
        for path, below in _expand_one(text, stdin):
            place = real_place(path)
            if place not in seen:
                seen.add(place)
                yield path, below


def real_place(path: Place) -> Place:
    """A place without links in its folders; a link itself is a name of its own, with an output."""
    return path.parent.resolve() / path.name


def _expand_one(text: str, stdin: Path | bytes) -> Iterator[Found]:
    path = to_place(text)
    if isinstance(path, RemotePath):
        yield path, Path(path.name)
    elif text == PIPE:
        if isinstance(stdin, Path):
            yield stdin, Path("stdin")
        else:
            yield from _listed(stdin, STDIN)
    elif text.startswith("@") and not path.exists():
        try:
            data = Path(text[1:]).read_bytes()
        except OSError as error:
            raise ImageError(f"{text[1:]}: cannot read the list: {error.strerror}") from error
        yield from _listed(data, text[1:])
    elif not path.exists() and glob.has_magic(text):
        for match in _matches(text):
            yield from _images_of(match)
    else:
        yield from _images_of(path)


def _images_of(path: Path) -> Iterator[Found]:
    """What is in a folder, or else the path itself."""
    if path.is_dir() and not looks_like_zarr(path):
        yield from _below(path, set())
    else:
        yield path, Path(name_of(path))


def _listed(data: bytes, name: str) -> Iterator[Found]:
    """Images of a list: paths, one a line or separated by NUL as of `find -print0`."""
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = data.split(b"\0") if b"\0" in data else data.replace(b"\r\n", b"\n").split(b"\n")
    texts = [line.decode(errors="surrogateescape") for line in lines if line.strip()]
    if not texts:
        remedy = "pipe an image, or names" if name == STDIN else "write names"
        raise ImageError(f"{name}: names no image; {remedy}, one a line")
    for text in texts:
        path = to_place(text)
        yield path, Path(name_of(path))


def _matches(pattern: str) -> list[Path]:
    """Files and folders of a pattern in order, those of the fewest folders first.

    Raises
    ------
    ImageError
        If there is none.
    """
    found = sorted(_glob(pattern), key=lambda path: (len(path.parts), path))
    if not found:
        raise ImageError(f"{pattern}: no file matches the pattern")
    return found


def _glob(pattern: str) -> Iterator[Path]:
    """Paths of a pattern; `**` stands for folders, but not for links to such.

    glob itself follows links in circles, which are endless where there are two.
    """
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from map(Path, glob.glob(pattern))
        return
    at = parts.index("**")
    for top in glob.glob(str(Path(*parts[:at]))):
        for folder in _folders(top):
            yield from _glob(str(Path(glob.escape(folder), *parts[at + 1 :])))


def _folders(top: str) -> Iterator[str]:
    """A folder and those below it; a Zarr is no folder, nor is what a hidden name has."""
    for folder, names, _ in os.walk(top):
        kept = (n for n in names if not n.startswith("."))
        names[:] = [n for n in kept if not looks_like_zarr(Path(folder, n))]
        yield folder


def _below(folder: Path, visited: set[Path]) -> Iterator[Found]:
    """Images in a folder and the folders in it; a Zarr is one image, hidden names are none.

    Here the extension tells an image; a file that is named is taken whatever it is called.

    visited : folders that the walk has been to, which it enters once however many links lead there.
    """
    real = folder.resolve()
    if real in visited:
        return
    visited.add(real)
    paths = (path for path in folder.iterdir() if not path.name.startswith("."))
    # Links come last, so that an image is found where it lies.
    for path in sorted(paths, key=lambda p: (p.is_symlink() and p.is_dir(), p)):
        if path.is_dir() and not looks_like_zarr(path):
            yield from ((p, Path(path.name) / below) for p, below in _below(path, visited))
        elif path.suffix.lower() in READ_SUFFIXES or (path.is_dir() and looks_like_zarr(path)):
            yield path, Path(path.name)


def looks_like_zarr(path: Place) -> bool:
    """Whether a folder is meant as a Zarr, a damaged one too."""
    return path.suffix == ".zarr" or is_zarr(path)
