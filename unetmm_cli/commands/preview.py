"""`unetmm preview`: what a run would make of an image, on a few crops of it, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetmm_cli import display
from unetmm_cli.commands.slurm import option_words
from unetmm_cli.files import check_page, page_beside, write_bytes
from unetmm_cli.options.arguments import AsJson, Input
from unetmm_cli.options.choices import Choices, with_choices
from unetmm_cli.parsing import parse_crop, parse_strength

if TYPE_CHECKING:
    from unetmm.io.places import Place
    from unetmm.run.preview import Preview, Wishes
    from unetmm_cli.display.preview.content import FullRun

NOT_TAKEN = (
    "crop", "model", "same_model", "strength", "watch", "watch_for", "format", "compression",
    "pyramid", "ome_zarr", "shard_px", "suffix", "share", "save_calibration", "report",
    "report_html", "scores", "quiet", "log", "scheduler", "cluster", "jobs",
)  # fmt: skip
"""Options of denoise that a preview does not have, or has in another way."""
MARK = "unetmm preview"
"""Words near the beginning of every preview."""

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="auto|NAME|FILE",
        help="Model to show: of the zoo, or a .safetensors or .pth file; may be repeated. By "
        "default the one that fits the image.",
    ),
]
Strengths = Annotated[
    list[Any] | None,
    typer.Option(
        "--strength",
        metavar="0..1",
        parser=parse_strength,
        help="Strength to show each model at: 0 gives the input back, 1 the net's answer; may be "
        "repeated. By default 1.",
    ),
]
Crops = Annotated[
    list[Any] | None,
    typer.Option(
        "--crop",
        metavar="X,Y,W,H",
        parser=parse_crop,
        help="Part to show: left, top, width and height in pixels; may be repeated. By default a "
        "few with structure, noise, and little light.",
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE.html|FILE.png",
        help="Where to write: a page that opens in any browser, or one picture. By default "
        "NAME_preview.html beside the image. An older preview of that name is replaced.",
    ),
]


@with_choices(without=NOT_TAKEN)
def preview(
    input: Input,
    choices: Choices,
    model: Models = None,
    strength: Strengths = None,
    crop: Crops = None,
    output: Page = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would make of an image, on a few crops of it, in seconds.

    The crops are restored with the statistics of the whole image, so their pixels are exactly
    those of the run. Takes the options of denoise that pixels depend on.

    Example: unetmm preview scan.tif --strength 1 --strength 0.6
    """
    from unetmm.process import held_bytes
    from unetmm.run.preview import Wishes, preview_file
    from unetmm_cli.display.preview.content import Shown, as_dict
    from unetmm_cli.display.preview.inline import show_inline
    from unetmm_cli.display.preview.page import make_page
    from unetmm_cli.display.preview.sheet import sheet_png

    target = _target(input, output, choices.output.overwrite)
    choices.check_calibration()
    held = held_bytes()  # before nets are tried, whose memory is given back
    wishes = Wishes(crop or (), model or (), strength or ())
    found = preview_file(input, wishes, choices.to_options())
    shown = Shown(input, found, _full_runs(input, found, choices, wishes, held))
    is_sheet = target.suffix.lower() == ".png"
    write_bytes(target, sheet_png(shown) if is_sheet else make_page(shown).encode())
    if as_json:
        display.result_json(as_dict(shown, target))
        return
    for run in shown.runs:
        display.say(f"{run.model}: {run.in_words}")
    display.result(str(target))
    show_inline(lambda: sheet_png(shown))


def _target(source: Place, output: Path | None, overwrite: bool) -> Path:
    """Where the preview goes.

    Raises
    ------
    ImageError
        If it cannot be written there, or something else is there.
    """
    from unetmm.errors import ImageError

    if output is None:
        output = page_beside(source, "_preview")
    if output.suffix.lower() not in (".html", ".htm", ".png"):
        raise ImageError(f"{output}: a preview is a page or a picture; name it .html or .png")
    check_page(output, [source], MARK, "preview", overwrite)
    return output


def _full_runs(
    source: Place, found: Preview, choices: Choices, wishes: Wishes, held_bytes: int
) -> list[FullRun]:
    """What a run over all of the image takes with each of the models."""
    from unetmm.errors import BudgetError
    from unetmm.models.tasks import task_of
    from unetmm.models.weights import load_model
    from unetmm.plan.outlook import look_ahead, plannable
    from unetmm_cli.batch.naming import default_output
    from unetmm_cli.display.preview.content import FullRun

    runs, names = [], _asked_names(wishes)
    budget_bytes = choices.restoration.mem_budget
    budget = [] if budget_bytes is None else [f"--mem-budget={budget_bytes}"]
    for name in dict.fromkeys(take.model for take in found.takes):
        asked, strength = names.get(name, name), found.takes[0].strength
        some = choices.changed(model=asked, strength=strength, overwrite=False)
        task = task_of(load_model(asked))
        output = default_output(source, choices, task.ending)
        words = ["unetmm", task.name, str(source), "-o", str(output), *budget, *option_words(some)]
        plan, refusal = None, ""
        try:
            options = some.to_options()
            plan = look_ahead(source, plannable(output), options, False, held_bytes).plan
        except BudgetError as error:
            refusal = str(error)
        runs.append(FullRun(name, plan, refusal, words))
    return runs


def _asked_names(wishes: Wishes) -> dict[str, str]:
    """Name of a model -> how it was asked for, which may be a file."""
    from unetmm.models.choice import is_auto
    from unetmm.models.weights import load_model

    asked = [str(model) for model in wishes.models if not is_auto(model)]
    return {load_model(model).name: model for model in asked}
