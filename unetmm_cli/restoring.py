"""One image through the library: checks, run with a view, side files."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from unetmm.errors import WeightsError
from unetmm.io.workspace import Workspace
from unetmm.pipeline import WHOLE, Report, restore_file
from unetmm.run import Cancelled
from unetmm.weights import load_model
from unetmm_cli import display
from unetmm_cli.files import check_paths, output_sha256, write_text
from unetmm_cli.options import Choices
from unetmm_cli.progress import Silent, open_view
from unetmm_cli.signals import Interrupted, stop_on_signal


def check_task(choices: Choices, task: str) -> None:
    """Refuse a model that was trained for something else than the command says.

    Raises
    ------
    WeightsError
        If it was, or there is no such model.
    """
    if choices.model is None:
        return
    model = load_model(choices.model)
    if model.task != task:
        raise WeightsError(f"model {model.name} is for {model.task}; run it with unetmm restore")


def restore_one(path: Path, output: Path, choices: Choices) -> Report:
    """Restore one image and write what the options ask for besides it.

    Raises
    ------
    UnetmmError
        One of its leaves; nothing is left under the output's name.
    Interrupted
        If a signal stopped the run; the same command goes on with it.
    """
    display.show_logs(choices.quiet, choices.log == "json")
    with open_view(choices) as view, stop_on_signal() as stop:
        report = restore_with_view(path, output, choices, view, stop)
    view.done(report)
    _write_side_files(output, choices, report)
    if report.complete:
        display.result(str(output))
    return report


def restore_with_view(
    path: Path, output: Path, choices: Choices, view: Silent, stop: threading.Event
) -> Report:
    """Restore one image; an interrupt says what became of the output."""
    check_paths(path, output, choices.written)
    try:
        if choices.scheduler or choices.cluster:
            from unetmm_cli.cluster import restore_on_cluster

            return restore_on_cluster(path, output, choices, view.update, stop)
        return restore_file(
            path, output, choices.to_options(), view.update, stop, choices.shard or WHOLE
        )
    except (Cancelled, KeyboardInterrupt):
        if Workspace(output).exists():
            outcome = f"what is done of {output} is kept; the same command goes on with it"
        else:
            outcome = f"nothing was done of {output} yet"
        raise Interrupted(outcome) from None


def _write_side_files(output: Path, choices: Choices, report: Report) -> None:
    if choices.save_calibration is not None:
        write_text(choices.save_calibration, report.calibration.to_json())
    if choices.report is not None:
        content = report.as_dict()
        if report.complete:
            content["output_sha256"] = output_sha256(output)
        write_text(choices.report, json.dumps(content, indent=2) + "\n")
