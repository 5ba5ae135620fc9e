"""What every workspace holds: the job, and journals of the chunks that are written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unetmm.io.output.chunks import ChunkKey
from unetmm.io.places import Place

log = logging.getLogger(__name__)

JOB = "job.json"
"""Name of the file that says what the output is made from."""
JOURNAL = "journal-"
"""Beginning of the names of journals."""
LOCK = "lock-"
"""Beginning of the names of locks."""
REPLACED = "replaced"
"""Name of the old output, for the moment in which the new one gets its name."""
STORES = (
    "image.", "tiles", "pixels", "record.json", "chunks.zarr", REPLACED
)  # fmt: skip
"""Beginnings of the names of what stores keep in a workspace."""


def is_ours(name: str) -> bool:
    """Whether a file or folder in a workspace is one that we make, and may be removed."""
    return name.startswith((JOB, f".{JOB}.", JOURNAL, LOCK, *STORES))


def format_record(key: ChunkKey, crc: int, note: str = "") -> str:
    """A journal's line, without its end.

    note : numbers that tell what was found while the chunk was made.
    """
    line = " ".join(map(str, (key.level, *key.plane, key.row, key.column))) + f" {crc:08x}"
    return f"{line} {note}" if note else line


def parse_records(lines: Iterable[str]) -> Iterator[tuple[ChunkKey, int]]:
    """What `format_record` wrote; whatever else there is, a torn last line too, does not count."""
    for key, crc, _ in _parsed(lines):
        yield key, crc


def parse_notes(lines: Iterable[str]) -> Iterator[tuple[ChunkKey, str]]:
    """The notes of the chunks that have one."""
    for key, _, note in _parsed(lines):
        if note:
            yield key, note


def _parsed(lines: Iterable[str]) -> Iterator[tuple[ChunkKey, int, str]]:
    for line in lines:
        try:
            level, t, c, z, row, column, crc, *note = line.removesuffix("\n").split(" ", 7)
            key = ChunkKey(int(level), (int(t), int(c), int(z)), int(row), int(column))
            if line.endswith("\n"):
                yield key, int(crc, 16), "".join(note)
        except ValueError:
            continue


class JournalReader:
    """What the journals of an output say, wherever they are kept."""

    def _journals(self) -> Iterator[Iterable[str]]:
        """The lines of each journal."""
        raise NotImplementedError

    def records(self) -> Iterator[tuple[ChunkKey, int]]:
        """Every chunk that any writer recorded, with its checksum; a torn last line is left out."""
        for lines in self._journals():
            yield from parse_records(lines)

    def notes(self) -> Iterator[tuple[ChunkKey, str]]:
        """What was noted of the chunks; of one that was made twice there are two notes."""
        for lines in self._journals():
            yield from parse_notes(lines)


def load_job(file: Place) -> dict[str, Any] | None:
    """The content of a job.json; None if it is not there, or damaged."""
    if isinstance(file, Path) and file.exists() and not file.is_file():
        return None  # a pipe would be waited at
    try:
        job: dict[str, Any] = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        log.warning("%s is damaged, so the output is begun anew", file)
        return None
    return job
