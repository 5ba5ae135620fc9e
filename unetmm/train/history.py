"""What a training run wrote down: one CSV line every few steps, beside its checkpoint folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

HEADER = ("step", "training_psnr_db", "seconds", "validation_psnr_db")


@dataclass(frozen=True)
class Row:
    """One line of the log."""

    step: int
    psnr_db: float
    """Mean PSNR of the training batches since the line before."""
    seconds: float
    """Wall time of the process that wrote it."""
    validation_db: float | None = None


def log_path(folder: Path) -> Path:
    """The log of the run whose checkpoints are in `folder`."""
    return folder.parent / f"{folder.name}.csv"


def append_row(path: Path, row: Row) -> None:
    """Add a line, and the header to a new file."""
    validation = "" if row.validation_db is None else f"{row.validation_db:.3f}"
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(HEADER)
        writer.writerow((row.step, f"{row.psnr_db:.3f}", f"{row.seconds:.1f}", validation))


def read_rows(path: Path) -> list[Row]:
    """Every line in the order written; nothing if there is no log.

    A run that was killed has some steps twice, as it went on from its last checkpoint. Logs of
    old runs have no header and no validation.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        lines = [line for line in csv.reader(file) if line and line[0] != HEADER[0]]
    return [
        Row(int(step), float(psnr), float(seconds), float(rest[0]) if rest and rest[0] else None)
        for step, psnr, seconds, *rest in lines
    ]


def total_seconds(rows: list[Row]) -> float:
    """Wall time of all processes of a run; each starts its own clock."""
    total = previous = 0.0
    for row in rows:
        total += row.seconds - previous if row.seconds >= previous else row.seconds
        previous = row.seconds
    return total
