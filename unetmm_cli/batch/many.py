"""The images of a batch one by one: what became of each, and the report of all."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from unetmm.errors import DeviceError, UnetmmError, WidthError
from unetmm.io.formats import RECORDLESS_SUFFIXES
from unetmm.io.places import Place
from unetmm.io.sniff import sniff_format
from unetmm.models.choice import is_auto
from unetmm.run.loaded import Loaded
from unetmm.run.model import settle_file
from unetmm.run.of_file import find_finished
from unetmm.run.report import Report
from unetmm_cli.batch.inputs import STDIN
from unetmm_cli.batch.one import find_same, report_dict, restore_with_view
from unetmm_cli.batch.pages import check_page_place, write_page
from unetmm_cli.batch.placing import Item
from unetmm_cli.display.batch import Standing, batch_item, batch_summary, one_model
from unetmm_cli.display.messages import about
from unetmm_cli.display.text import plain
from unetmm_cli.files import check_paths, write_text
from unetmm_cli.options.choices import Choices
from unetmm_cli.progress import Silent

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
    total: int | None = None
    """Number of images; None while more may come."""
    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "skipped": 0, "failed": 0})
    """Outcome -> number of images so far."""
    failed: list[str] = field(default_factory=list)
    """Names of the images that failed, in order."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """Entries of the report, one an image, in the order in which they ended."""
    loaded: Loaded = field(default_factory=Loaded)
    """Models that the images share."""
    busy_s: float = 0.0
    """Time in seconds that the images took which were not skipped."""

    def do(self, item: Item, stop: threading.Event) -> None:
        """Restore an image unless it is done; an error is counted.

        Raises
        ------
        Interrupted
            If a signal stopped the run.
        DeviceError
            If the GPU failed, so that all other images would fail too.
        WidthError
            If the image was begun with vectors of another width.
        """
        started, lost = time.monotonic(), False
        try:
            with about(item.input.name, item.output.name):
                entry = self._restore(item, stop)
        except WidthError:  # another process goes on, with this image and with those after it
            raise
        except (UnetmmError, OSError, MemoryError) as error:
            entry = {"outcome": "failed", "error": " ".join(str(error).split()) or "out of memory"}
            lost = isinstance(error, DeviceError)
        if entry["outcome"] != "skipped":
            self.busy_s += time.monotonic() - started
        self._note(item, entry)
        if lost:
            raise DeviceError(
                "the GPU failed, so the images after it are left; "
                "the same command goes on with them"
            )

    def fail(self, item: Item, reason: str) -> None:
        """Count an image that cannot be restored."""
        self._note(item, {"outcome": "failed", "error": " ".join(reason.split())})

    def _restore(self, item: Item, stop: threading.Event) -> dict[str, Any]:
        """The entry of the report for an image."""
        has_no_record = item.output.suffix.lower() in RECORDLESS_SUFFIXES
        if has_no_record and item.output.exists() and not self.choices.output.overwrite:
            return {"outcome": "skipped", "reason": "it is there; --overwrite makes it anew"}
        check_page_place(item.page, item.input, item.output, self.choices)
        self._settle(item)
        report = self._find_finished(item)
        if report is None:
            check_paths(item.input, item.output, {})
            sniff_format(item.input)  # no folder is made for what is no image
            if isinstance(item.output, Path):
                item.output.parent.mkdir(parents=True, exist_ok=True)
            report = restore_with_view(
                item.input, item.output, self._choices_of(item), Silent(), stop, self.loaded
            )
        is_new = item.page is not None and not (report.already_done and item.page.exists())
        if is_new and report.complete:
            write_page(item.page, item.input, item.output, self.choices)
        if report.already_done:
            facts = {"outcome": "skipped", "reason": "it was made of this very image already"}
        else:
            facts = {"outcome": "done"}
        return facts | self._facts(report, item)

    def _settle(self, item: Item) -> None:
        """Choose the model of all images by one of them, where that is asked for."""
        how = self.choices.restoration
        if not (how.same_model and is_auto(how.model)):
            return
        path, options = self.model_from or item.input, self._choices_of(item).to_options()
        try:
            chosen = settle_file(path, options).choice
        except UnetmmError:  # which is told when its turn comes
            path = item.input
            chosen = settle_file(path, options).choice
        if chosen is not None:
            self.choices = self.choices.changed(model=chosen.model)
            told = self.choices.reporting
            if not told.quiet:
                one_model(chosen.model, self._named(str(path)), told.as_json)

    def _choices_of(self, item: Item) -> Choices:
        """The options for one image."""
        return self.choices if item.series is None else self.choices.changed(series=item.series)

    def _find_finished(self, item: Item) -> Report | None:
        choices = self._choices_of(item)
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
        which = {} if item.series is None else {"series": item.series}
        shown = path if item.series is None else f"{path} --series {item.series}"
        reason = error or entry.get("reason", "")
        named = {"error": error} if error else {}
        self.entries.append({"input": path, **which, "output": str(item.output), **entry, **named})
        self.counts[outcome] += 1
        if outcome == "failed":
            self.failed.append(shown)
        if outcome == "failed" or not told.quiet:
            name = path if told.as_json else shown
            batch_item(name, item.output, outcome, reason, self._standing(), told.as_json)

    def _standing(self) -> Standing:
        """How far the batch is."""
        done = sum(self.counts.values())
        tried = done - self.counts["skipped"]
        left_s = None
        if self.total is not None and tried:
            left_s = (self.total - done) * self.busy_s / tried
        return Standing(done, self.total, self.counts["failed"], left_s)

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
            With FAILED_EXIT if images failed, and with 1 if there was no other.
        """
        batch_summary(self.counts, self.failed, self.choices.reporting.as_json)
        if self.failed:
            raise typer.Exit(1 if self.total == 1 else FAILED_EXIT)
