"""What is shown while a run goes on: a bar, a few plain lines, JSON lines, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from unetmm.process import resident_bytes
from unetmm.sizes import format_size
from unetmm_cli import display
from unetmm_cli.display.text import seconds_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import ProgressColumn

    from unetmm.plan.types import Plan
    from unetmm.run.report import Progress, Report
    from unetmm_cli.options.reporting import ReportingChoices

JSON_INTERVAL_S = 1.0
"""Least time between two progress lines of `--log json`, in seconds."""
BAR_INTERVAL_S = 0.1
"""Least time between two updates of the bar, in seconds."""


class View:
    """Something that is shown while a block runs, with or without a bar."""

    bar: RichProgress | None = None
    """Bar that is shown while the block runs; None for no bar."""

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()


def make_bar(*columns: ProgressColumn) -> RichProgress:
    """A bar on stderr that goes away in the end."""
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    return RichProgress(
        *columns, console=Console(stderr=True), refresh_per_second=4, transient=True
    )


class Silent(View):
    """Shows nothing of a run; the base of the others. Calls come from any thread, one at a time."""

    def update(self, progress: Progress) -> None:
        """Take what the library says about the run."""

    def done(self, report: Report) -> None:
        """Show how the run went."""


class PlainLines(Silent):
    """A line with the plan at the start and one with the outcome at the end."""

    def __init__(self) -> None:
        self._started = False

    def update(self, progress: Progress) -> None:
        if not self._started and progress.plan is not None:
            self._started = True
            display.say(plan_line(progress.plan, progress.total_px / 1e6))

    def done(self, report: Report) -> None:
        display.say(report_line(report))


class Bar(PlainLines):
    """Plain lines, and between them a bar that says rate, time left and memory."""

    bar: RichProgress
    """Bar that shows how many megapixels are done."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

        super().__init__()
        self.bar = make_bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[mpx]}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[memory]}"),
        )
        self._task = self.bar.add_task("", total=None, visible=False, mpx="", rate="", memory="")
        self._updated = 0.0

    def update(self, progress: Progress) -> None:
        super().update(progress)
        now = time.monotonic()
        if now - self._updated < BAR_INTERVAL_S and progress.done_px < progress.total_px:
            return
        self._updated = now
        facts = progress_facts(progress)
        self.bar.update(
            self._task,
            description=progress.phase,
            completed=progress.done_px,
            # Before there is a plan, the bar moves without an end.
            total=None if progress.plan is None else progress.total_px,
            visible=True,
            mpx=f"{facts['megapixels']:.1f}/{facts['total_megapixels']:.1f} Mpx",
            rate=f"{facts['megapixels_per_s'] or 0:.2f} Mpx/s",
            memory=_memory(facts),
        )

    def done(self, report: Report) -> None:
        self.bar.stop()
        super().done(report)


class JsonLines(Silent):
    """One JSON object a line: start, progress at most once a second, done."""

    def __init__(self) -> None:
        self._started = False
        self._shown = 0.0

    def update(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.plan is None:
            display.say_json({"event": "progress", **progress_facts(progress)})
        elif not self._started:
            self._started, self._shown = True, now
            total = progress.total_px / 1e6
            plan = progress.plan.as_dict()
            display.say_json({"event": "start", "megapixels": total, "plan": plan})
        elif now - self._shown >= JSON_INTERVAL_S:
            self._shown = now
            display.say_json({"event": "progress", **progress_facts(progress)})

    def done(self, report: Report) -> None:
        display.say_json({"event": "done", **report.as_dict()})


def open_view(choices: ReportingChoices) -> Silent:
    """The view that the options and the terminal ask for."""
    if choices.quiet:
        return Silent()
    if choices.as_json:
        return JsonLines()
    return Bar() if sys.stderr.isatty() else PlainLines()


def progress_facts(progress: Progress) -> dict[str, Any]:
    """Where a run is: phase, megapixels, rate, time left, memory."""
    new_px = progress.done_px - progress.resumed_px
    rate = new_px / 1e6 / progress.seconds if progress.seconds > 0 else 0.0
    left_mpx = (progress.total_px - progress.done_px) / 1e6
    return {
        "phase": progress.phase,
        "megapixels": round(progress.done_px / 1e6, 3),
        "total_megapixels": round(progress.total_px / 1e6, 3),
        "megapixels_per_s": round(rate, 3) if rate else None,
        "eta_s": round(left_mpx / rate, 1) if rate else None,
        "resident_bytes": resident_bytes(),
        "projected_peak_bytes": progress.plan.projected_peak_bytes if progress.plan else None,
    }


def _memory(facts: Mapping[str, Any]) -> str:
    """Memory that is taken, of what is planned if that is known."""
    planned = facts["projected_peak_bytes"]
    told = format_size(facts["resident_bytes"])
    return told if planned is None else f"{told} of planned {format_size(planned)}"


def _cores(plan: Plan) -> str:
    if plan.device_terms is not None:
        terms, budget_bytes = plan.device_terms, plan.device_budget_bytes
        return f"{plan.device} with {format_size(terms.total)} of {format_size(budget_bytes)}"
    return f"{plan.cores} core{'s' * (plan.cores > 1)}"


def plan_line(plan: Plan, megapixels: float) -> str:
    """A plan in one line."""
    strips = len(plan.strips)
    return (
        f"{plan.model}: {megapixels:.2f} Mpx, {strips} strip{'s' * (strips > 1)} of "
        f"{plan.strip_width_px} px, {_cores(plan)}, "
        f"peak {format_size(plan.projected_peak_bytes)} of {format_size(plan.budget_bytes)} planned"
    )


def report_line(report: Report) -> str:
    """An outcome in one line."""
    plan = report.plan
    if plan is None:
        return f"already done: {report.output} was made from the same input with the same options"
    rate, compute_s = report.as_dict()["megapixels_per_s"], report.seconds.get("compute", 0.0)
    computed = f" ({seconds_text(compute_s)} of it computing, {rate:.2f} Mpx/s)" if rate else ""
    done = "done" if report.complete else "share done, others are still to do"
    if not (report.complete or report.megapixels or report.resumed_rows):
        done = "nothing to do in this share, others are still to do"
    return (
        f"{done}: {report.megapixels:.2f} Mpx in "
        f"{seconds_text(report.seconds.get('total', 0.0))}{computed}; "
        f"peak {format_size(report.measured_peak_bytes)}, "
        f"planned {format_size(plan.projected_peak_bytes)}, "
        f"budget {format_size(plan.budget_bytes)}"
        f"{_doubt(report)}"
    )


def _doubt(report: Report) -> str:
    """What is doubtful, for the end of the line."""
    from unetmm.run.report import is_by_rounding, planes_changed

    guard = report.guard
    if report.holds:
        return f"; it holds {report.holds}, so it is not compared with the image"
    if is_by_rounding(guard):
        lost = guard["rounding"]["mean_change"]
        return (
            f"; but rounding to whole counts changed its mean by {lost:+.1%}: use --dtype float32"
        )
    if guard.get("is_doubtful"):
        worst = guard["worst"]
        return (
            f"; but {guard['doubtful']} of {guard['blocks']} blocks changed by more than noise "
            f"allows: look at row {worst['row']}, column {worst['column']} first"
        )
    if planes := planes_changed(guard):
        first = guard["changed_planes"][0]
        return (
            f"; but the mean of {planes} of {guard['planes']} planes "
            f"changed, by {first['mean_change']:+.1%} at most"
        )
    if guard.get("is_changed"):
        return f"; but its mean changed by {guard['mean_change']:+.1%}"
    if guard.get("is_left"):
        return f"; but noise was left in {guard['noise_left']} of {guard['noisy']} noisy blocks"
    return ""
