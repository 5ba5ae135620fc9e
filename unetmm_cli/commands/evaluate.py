"""`unetmm evaluate`: several models on one folder, with a table, CSV and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetmm_cli import display
from unetmm_cli.files import check_written, write_text

if TYPE_CHECKING:
    from unetmm.models.weights import Model
    from unetmm.quality.evaluate import Case, OnResult
    from unetmm.quality.gallery import Gallery
    from unetmm.quality.scores import Evaluation


@dataclass(frozen=True)
class Task:
    """What is to be measured."""

    models: Sequence[str]
    """Zoo names or weight files; the pictures are those of the first."""
    folder: Path
    sigmas: Sequence[int]
    """Noise levels; empty for the field's."""
    seed: int
    affine: bool
    """Fit clean images to the noisy ones by gain and offset; for pairs."""


def measure(task: Task, csv: Path | None, worst: Path | None) -> list[Evaluation]:
    """Run every model over the folder, and write what was asked for.

    Raises
    ------
    UnetmmError
        If a model or an image cannot be used, or a file cannot be written.
    """
    from unetmm.errors import ImageError
    from unetmm.models.weights import load_model
    from unetmm.quality.gallery import Gallery
    from unetmm.quality.scores import to_csv

    if csv is not None:
        check_written({"--csv": csv}, [])
    if worst is not None and worst.exists() and not worst.is_dir():
        raise ImageError(f"{worst}: is a file; --worst names a folder for pictures")
    models = [load_model(name) for name in task.models]
    gallery = Gallery()
    found = []
    for i, model in enumerate(models):
        keep = gallery if worst is not None and i == 0 else None
        found.append(_evaluate(model, task, _told(model.name, keep)))
    if csv is not None:
        write_text(csv, to_csv(found))
    if worst is not None:
        written = gallery.save(worst)
        display.say(f"the {len(written)} cases with the least gain: {worst}")
    return found


def _evaluate(model: Model, task: Task, on_result: OnResult) -> Evaluation:
    from unetmm.errors import ShapeError
    from unetmm.quality.evaluate import SIGMAS, evaluate, evaluate_pairs
    from unetmm.quality.testsets import pair_folders

    pairs = pair_folders(task.folder)
    if pairs is None:
        if task.affine:
            raise ShapeError(
                f"{task.folder}: --affine is for pairs; give a folder with noisy/ and clean/ in it"
            )
        return evaluate(model, task.folder, task.sigmas or SIGMAS, task.seed, on_result=on_result)
    if task.sigmas:
        raise ShapeError(
            f"{task.folder}: holds pairs of noisy and clean images, to which no noise is added; "
            f"leave out --sigma, or give {task.folder}/clean"
        )
    return evaluate_pairs(model, *pairs, task.affine, on_result=on_result)


def _told(name: str, gallery: Gallery | None) -> OnResult:
    """Keeps pictures, and shows on a terminal how far a model is."""
    is_terminal = sys.stderr.isatty()

    def on_result(case: Case, done: int, total: int) -> None:
        if gallery is not None:
            gallery.add(case)
        if is_terminal:
            display.progress_line(f"{name}: {done} of {total} images" if done < total else "")

    return on_result
