"""The images of a batch one by one: what became of each, and the report of all."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from unetmm.errors import UnetmmError
from unetmm.io.formats import RECORDLESS_SUFFIXES
from unetmm.io.places import Place
from unetmm.models.choice import is_auto
from unetmm.run.loaded import Loaded
from unetmm.run.model import settle_file
from unetmm.run.of_file import find_finished
from unetmm.run.report import Report
from unetmm_cli.batch.inputs import STDIN
from unetmm_cli.batch.one import find_same, report_dict, restore_with_view
from unetmm_cli.batch.placing import Item
from unetmm_cli.display.batch import batch_item, batch_summary
from unetmm_cli.display.text import plain
from unetmm_cli.files import check_paths, write_text
from unetmm_cli.options.choices import Choices
from unetmm_cli.progress import Silent

log = logging.getLogger(__name__)

FAILED_EXIT = 3
"""Exit code when some images of a batch failed and the others are done."""


@dataclass
class Many:
    """Restores items with one set of models and counts what became of them."""

    choices: Choices
    """Options that hold for every image."""
    resubmitted: bool = False
    """Whether this may be a task of a job array that has run before."""
    stdin: Path | None = None
    """File that an image on stdin passes through; None if none came from there."""
    model_from: Place | None = None
    """Image that the model of all is chosen by, where they get the same; None: the first done."""
    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "skipped": 0, "failed": 0})
    """Outcome -> number of images so far."""
    failed: list[str] = field(default_factory=list)
    """Names of the images that failed, in order."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """Entries of the report, one an image, in the order in which they ended."""
    loaded: Loaded = field(default_factory=Loaded)
    """Models that the images share."""

    def do(self, item: Item, stop: threading.Event) -> None:
        """Restore an image unless it is done; an error is counted.

        Raises
        ------
        Interrupted
            If a signal stopped the run.
        """
        try:
            entry = self._restore(item, stop)
        except (UnetmmError, OSError, MemoryError) as error:
            entry = {"outcome": "failed", "error": " ".join(str(error).split()) or "out of memory"}
        self._note(item, entry)

    def fail(self, item: Item, reason: str) -> None:
        """Count an image that cannot be restored."""
        self._note(item, {"outcome": "failed", "error": " ".join(reason.split())})

    def _restore(self, item: Item, stop: threading.Event) -> dict[str, Any]:
        """The entry of the report for an image."""
        has_no_record = item.output.suffix.lower() in RECORDLESS_SUFFIXES
        if has_no_record and item.output.exists() and not self.choices.output.overwrite:
            return {"outcome": "skipped"}
        self._settle(item)
        report = self._find_finished(item)
        if report is None:
            check_paths(item.input, item.output, {})
            if isinstance(item.output, Path):
                item.output.parent.mkdir(parents=True, exist_ok=True)
            report = restore_with_view(
                item.input, item.output, self.choices, Silent(), stop, self.loaded
            )
        return {"outcome": _outcome(report), **self._facts(report, item)}

    def _settle(self, item: Item) -> None:
        """Choose the model of all images by one of them, where that is asked for."""
        how = self.choices.restoration
        if not (how.same_model and is_auto(how.model)):
            return
        path, options = self.model_from or item.input, self.choices.to_options()
        try:
            chosen = settle_file(path, options).choice
        except UnetmmError:  # which is told when its turn comes
            path = item.input
            chosen = settle_file(path, options).choice
        if chosen is not None:
            self.choices = self.choices.changed(model=chosen.model)
            log.info("model %s for all images: it fits %s", chosen.model, self._named(str(path)))

    def _find_finished(self, item: Item) -> Report | None:
        choices = self.choices
        if not choices.output.overwrite:
            return find_finished(item.input, item.output, choices.to_options(), self.loaded)
        if self.resubmitted:
            return find_same(item.input, item.output, choices, self.loaded)
        return None

    def _facts(self, report: Report, item: Item) -> dict[str, Any]:
        return {} if self.choices.reporting.report is None else report_dict(report, item.output)

    def _note(self, item: Item, entry: dict[str, Any]) -> None:
        told, outcome = self.choices.reporting, entry["outcome"]
        path, error = self._named(str(item.input)), self._named(entry.get("error", ""))
        named = {"error": error} if error else {}
        self.entries.append({"input": path, "output": str(item.output), **entry, **named})
        self.counts[outcome] += 1
        if outcome == "failed":
            self.failed.append(path)
        if outcome == "failed" or not told.quiet:
            batch_item(path, item.output, outcome, error, told.as_json)

    def _named(self, text: str) -> str:
        """A text about an image, with what it is instead of the file that stdin passes through."""
        return text if self.stdin is None else text.replace(str(self.stdin), STDIN)

    def write_report(self) -> None:
        """All entries so far as a JSON list, if they are wanted."""
        report = self.choices.reporting.report
        if report is not None:
            write_text(report, json.dumps(plain(self.entries), indent=2) + "\n")

    def summarise(self) -> None:
        """Show how it went.

        Raises
        ------
        typer.Exit
            With FAILED_EXIT if images failed.
        """
        batch_summary(self.counts, self.failed, self.choices.reporting.as_json)
        if self.failed:
            raise typer.Exit(FAILED_EXIT)


def _outcome(report: Report) -> str:
    return "skipped" if report.already_done else "done"
