"""One image through the library: checks, run with a view, side files."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from unetmm.errors import ImageError, WeightsError
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import Place
from unetmm.models.choice import is_auto
from unetmm.models.tasks import DENOISE, ModelTask, made_for, task_of
from unetmm.models.weights import Model, load_model
from unetmm.plan.share import WHOLE
from unetmm.run.job import Cancelled
from unetmm.run.loaded import Loaded
from unetmm.run.of_file import find_finished, restore_file
from unetmm.run.report import Report
from unetmm_cli import display
from unetmm_cli.batch.pages import check_page_place, page_of, write_page
from unetmm_cli.files import check_paths, output_sha256, write_text
from unetmm_cli.options.choices import Choices
from unetmm_cli.progress import Silent, open_view
from unetmm_cli.signals import Interrupted, stop_on_signal


def check_task(choices: Choices, task: ModelTask) -> None:
    """Refuse a model that was trained for something else than the command says.

    Raises
    ------
    WeightsError
        If it was, or there is no such model.
    """
    choice = choices.restoration.model
    if task is DENOISE and is_auto(choice):
        return
    made_for(choice or "", task.name)


def check_gives_maps(choices: Choices) -> Model:
    """The model that is asked for, which gives something else than an image.

    Raises
    ------
    WeightsError
        If it does not, none is asked for, or there is no such model.
    """
    choice = choices.restoration.model
    if choice is None or is_auto(choice):
        raise WeightsError(
            "apply needs --model FILE, as no model of the zoo gives maps or classes; unetmm import "
            "makes one of a net of yours"
        )
    return made_for(choice, "apply")


def task_named(choices: Choices) -> ModelTask:
    """The task of the model that is asked for.

    Raises
    ------
    WeightsError
        If there is no such model.
    """
    choice = choices.restoration.model
    return DENOISE if choice is None or is_auto(choice) else task_of(load_model(choice))


def restore_one(path: Place, output: Place, choices: Choices, shown: str | None = None) -> Report:
    """Restore one image and write what the options ask for besides it.

    Parameters
    ----------
    shown : the output's name to the reader where it will not stay; then it is no result either.

    Raises
    ------
    UnetmmError
        One of its leaves; nothing is left under the output's name.
    Interrupted
        If a signal stopped the run; the same command goes on with it.
    """
    display.show_logs(choices.reporting.quiet, choices.reporting.as_json)
    check_paths(path, output, choices.written)
    page = page_of(Path(output.name), choices)
    check_page_place(page, path, output, choices)
    with open_view(choices.reporting) as view, stop_on_signal() as stop:
        report = restore_with_view(path, output, choices, view, stop)
    if shown is not None:
        report.output = shown
    view.done(report)
    _write_side_files(output, choices, report)
    if report.complete and shown is None:
        display.result(str(output))
        write_page(page, path, output, choices)
    return report


def restore_with_view(
    path: Place,
    output: Place,
    choices: Choices,
    view: Silent,
    stop: threading.Event,
    loaded: Loaded | None = None,
) -> Report:
    """Restore one image; an interrupt says what became of the output."""
    try:
        share = choices.output.share
        if share is not None and choices.output.overwrite:
            finished = find_same(path, output, choices)
            if finished is not None:
                return finished
        if choices.is_distributed:
            from unetmm_cli.batch.cluster import restore_on_cluster

            return restore_on_cluster(path, output, choices, view.update, stop)
        options = choices.to_options()
        return restore_file(path, output, options, view.update, stop, share or WHOLE, loaded)
    except (Cancelled, KeyboardInterrupt):
        if workspace_of(output).exists():
            outcome = f"what is done of {output} is kept; the same command goes on with it"
        else:
            outcome = f"nothing was done of {output} yet"
        raise Interrupted(outcome) from None


def find_same(
    path: Place, output: Place, choices: Choices, loaded: Loaded | None = None
) -> Report | None:
    """The report of an output that would be overwritten with the same; None if there is no such.

    A task of a job array that is submitted again must not undo what all of them have done.
    """
    try:
        return find_finished(path, output, choices.to_options(), loaded)
    except ImageError:  # it is another, or none of ours
        return None


def report_dict(report: Report, output: Place) -> dict[str, Any]:
    """What `--report` says of one image."""
    content = report.as_dict()
    if report.complete:
        content["output_sha256"] = output_sha256(output)
    return content


def _write_side_files(output: Place, choices: Choices, report: Report) -> None:
    calibration, told = choices.output.save_calibration, choices.reporting.report
    if calibration is not None:
        write_text(calibration, report.calibration.to_json())
    if told is not None:
        write_text(told, json.dumps(report_dict(report, output), indent=2) + "\n")
