"""`unetmm evaluate`: several models on one folder, with a table, CSV and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetmm_cli import display
from unetmm_cli.files import check_written, write_text
from unetmm_cli.options.arguments import AsJson

if TYPE_CHECKING:
    from unetmm.models.weights import Model
    from unetmm.quality.evaluate import Case, OnResult
    from unetmm.quality.gallery import Gallery
    from unetmm.quality.scores import Evaluation


ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A zoo name or a weight file.")]
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Clean images, or noisy/ and clean/ with pairs.")
]
Sigmas = Annotated[
    list[int] | None,
    typer.Option(metavar="N", min=1, max=255, help="Noise levels of 255; 15, 25, 50."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the added noise.")]
Against = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Another model to compare with; may be repeated."),
]
Affine = Annotated[
    bool,
    typer.Option(
        "--affine", help="Pairs: fit the clean image to the noisy one by gain and offset."
    ),
]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the scores of all images.")]
Worst = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Write clean | noisy | restored of the worst cases."),
]


def evaluate(
    model: ModelName,
    folder: Folder,
    sigma: Sigmas = None,
    seed: Seed = 0,
    against: Against = None,
    affine: Affine = False,
    csv: Csv = None,
    worst: Worst = None,
    as_json: AsJson = False,
) -> None:
    """Measure a denoiser: PSNR and SSIM on clean images with added white noise, or on pairs.

    The noise is neither clipped nor rounded, and its level is not told to the model.

    Example: unetmm evaluate tiny-rgb datasets/cbsd68 --sigma 25
    """
    from unetmm_cli.display.evaluation import show_evaluations

    task = EvaluationTask([model, *(against or [])], folder, sigma or [], seed, affine)
    found = measure(task, csv, worst)
    if as_json:
        display.result_json(found[0].as_dict() if len(found) == 1 else [e.as_dict() for e in found])
    else:
        show_evaluations(found)


@dataclass(frozen=True)
class EvaluationTask:
    """What is to be measured."""

    models: Sequence[str]
    """Zoo names or weight files; the pictures are those of the first."""
    folder: Path
    """Clean images, or noisy/ and clean/ with pairs."""
    sigmas: Sequence[int]
    """Noise levels as standard deviations of 255; empty for those of the field."""
    seed: int
    """Seed of the added noise."""
    affine: bool
    """Whether clean images of pairs are fitted to the noisy ones by gain and offset."""


def measure(task: EvaluationTask, csv: Path | None, worst: Path | None) -> list[Evaluation]:
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
        found.append(_evaluate_one(model, task, _told(model.name, keep)))
    if csv is not None:
        write_text(csv, to_csv(found))
    if worst is not None:
        written = gallery.save(worst)
        display.say(f"the {len(written)} cases with the least gain: {worst}")
    return found


def _evaluate_one(model: Model, task: EvaluationTask, on_result: OnResult) -> Evaluation:
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
