"""Reads a folder of image files by random boxes and compares with other readers, bit for bit.

    python benchmarks/formats.py DATA_FOLDER docs/reference/formats.md

Then copies every image of at most 24 MB, unchanged, through each format that is written, reads the
copy and compares pixels and metadata. Every file gets 60 s and 4 GB. The answer is a table: what
each file is, and whether it is read and copied exactly, or the line with which it is refused. Exit
code 1 if a file gave a traceback, hung, differed from tifffile, Pillow, imagecodecs, NumPy or zarr,
or a copy differed.

Other readers are in `formats_others`, copies in `formats_copies`, the page in `formats_page`.
"""

from __future__ import annotations

import collections
import logging
import multiprocessing
import resource
import sys
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from formats_copies import copy_everywhere
from formats_others import find_difference
from formats_page import FINE, Judgement, make_page

from unetmm.errors import UnetmmError
from unetmm.io.open import open_source
from unetmm.io.places import ZARR_MARKS

LIMIT_S = 60
"""Longest time that a file may take, in seconds."""
LIMIT_BYTES = 4 * 10**9
"""Largest address space of the process that reads files, in bytes."""
FOLDERS = ("formats", "satellite", "microscopy")
"""Folders of the data that hold images."""
NOT_IMAGES = (".csv", ".md")
"""Extensions of files beside the images."""


def main() -> int:
    root, target = Path(sys.argv[1]), Path(sys.argv[2])
    results = [
        (path.relative_to(root), found.within(root)) for path, found in judge_all(find(root))
    ]
    target.write_text("\n".join(make_page(results)) + "\n", encoding="utf-8")
    print(dict(collections.Counter(found.state for _, found in results)))
    is_fine = True
    for name, found in results:
        if found.state not in FINE:
            is_fine = False
            print(found.state, name, found.what, found.line)
        for kind, copy in found.copies.items():
            if copy.state not in FINE:
                is_fine = False
                print(name, kind, copy.state)
    return int(not is_fine)


def find(root: Path) -> list[Path]:
    """Files and Zarr stores, sorted."""
    found: list[Path] = []
    for folder in FOLDERS:
        stores = {path.parent for mark in ZARR_MARKS for path in (root / folder).rglob(mark)}
        tops = [s for s in stores if not any(parent in stores for parent in s.parents)]
        files = [
            path
            for path in (root / folder).rglob("*")
            if path.is_file()
            and path.suffix not in NOT_IMAGES
            and not any(top in path.parents for top in tops)
        ]
        found += sorted([*tops, *files])
    return found


def judge_all(paths: list[Path]) -> Iterator[tuple[Path, Judgement]]:
    """What became of every file, each judged in a process that may be ended."""
    worker, ours = None, None
    for path in paths:
        if worker is None or ours is None:
            ours, theirs = multiprocessing.Pipe()
            worker = multiprocessing.Process(target=serve, args=(theirs,))
            worker.start()
        ours.send(path)
        try:
            if ours.poll(LIMIT_S):
                found = ours.recv()
            else:
                found = Judgement("hung", line=f"more than {LIMIT_S} s")
        except EOFError:
            found = Judgement("crashed", line="the process ended")
        if found.state in ("hung", "crashed"):
            worker.kill()
            worker = None
        yield path, found
    if worker is not None:
        worker.kill()


def serve(pipe: Connection) -> None:
    """Judge the files that come through a pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    logging.disable()
    warnings.simplefilter("ignore")
    while True:
        pipe.send(judge(pipe.recv()))


def judge(path: Path) -> Judgement:
    """Read a file by boxes as others read it whole, then copy it."""
    found = Judgement("traceback")
    try:
        source = open_source(path)
        info = source.info
        sizes = " ".join(f"{a}{n}" for a, n in zip(info.axes, info.shape, strict=True))
        found.what = f"{info.format} {info.metadata.reading.compression} {sizes} {info.dtype}"
        found.line = find_difference(path, source)
        found.copies = copy_everywhere(source)
        source.close()
        found.state = "differs" if found.line else "exact"
    except UnetmmError as error:
        found.state, found.line = "refused", str(error).removeprefix(f"{path}: ")
    except Exception as error:
        found.state, found.line = "traceback", repr(error)
    return found


if __name__ == "__main__":
    sys.exit(main())
