"""What becomes of many images, one line each, and all of them in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unetmm_cli.display.lines import result, say, say_json
from unetmm_cli.display.text import seconds_text

if TYPE_CHECKING:
    from pathlib import Path

    from unetmm.io.places import Place

LEAST_LEFT_S = 20.0
"""Shortest time left that is worth saying, in seconds."""


def watching(folders: list[str], as_json: bool) -> None:
    """That a run waits for images."""
    if as_json:
        say_json({"event": "watch", "folders": folders})
    else:
        say(f"watching {', '.join(folders)}; Ctrl-C ends it")


def left_out(count: int, as_json: bool) -> None:
    """How many images are no inputs because an earlier run of the command made them."""
    if as_json and count:
        say_json({"event": "left_out", "outputs": count})
    elif count == 1:
        say("left out 1 image that is an output of this command")
    elif count:
        say(f"left out {count} images that are outputs of this command")


def restored_before(count: int, as_json: bool) -> None:
    """How many images are no inputs because unetmm made them of others that are."""
    if as_json and count:
        say_json({"event": "left_out", "restored": count})
    elif count:
        what = "1 image that was" if count == 1 else f"{count} images that were"
        say(f"left out {what} made of another of these; to restore such an image, give it alone")


def told_apart(names: list[str], as_json: bool) -> None:
    """Which outputs are named by the format of their image too, as others have the same name."""
    if as_json and names:
        say_json({"event": "told_apart", "outputs": names})
    elif names:
        listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        say(f"images of the same name: their outputs are told apart as {listed}")


def slices_apart(count: int, as_json: bool) -> None:
    """That files of slices are restored one by one, if there are several."""
    if count < 2:
        return
    if as_json:
        say_json({"event": "slices_apart", "count": count})
    else:
        say(
            f"{count} DICOM files of one folder are restored each by itself, and may get different "
            "models; --same-model gives the slices of a series the same"
        )


def other_files(kinds: Counter[str], as_json: bool) -> None:
    """How many files of folders are of formats that are not read, by kind."""
    count = kinds.total()
    if as_json and count:
        say_json({"event": "left_out", "other_formats": dict(kinds)})
    elif count:
        ranked = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        listed = ", ".join(f"{name} {number}" for name, number in ranked)
        say(f"{count} file{'s' * (count > 1)} of other formats left out: {listed}")


def parts_of_sets(parts: dict[Place, Place], as_json: bool) -> None:
    """Which files are no inputs of their own because they are parts of images that are."""
    if as_json and parts:
        say_json({"event": "left_out", "parts": {str(p): str(i) for p, i in parts.items()}})
        return
    for image in dict.fromkeys(parts.values()):
        names = [path.name for path, whole in parts.items() if whole == image]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"{image} is restored with its parts: {', '.join(names[:3])}{more}")


@dataclass(frozen=True)
class Standing:
    """How far a batch is."""

    done: int
    """Number of images that are dealt with."""
    total: int | None
    """Number of all images; None while more may come."""
    failed: int
    """Number of those that failed."""
    left_s: float | None
    """Time that the others will take, in seconds; None where that cannot be told."""

    @property
    def count(self) -> str:
        """Which image of how many this is, before a line."""
        return f"{self.done}/{self.total} " if self.total is not None else ""

    @property
    def outlook(self) -> str:
        """Failures so far and time left, after a line."""
        failed = f"; {self.failed} failed so far" if self.failed else ""
        worth_saying = self.left_s is not None and self.left_s >= LEAST_LEFT_S
        return failed + (f"; about {seconds_text(self.left_s or 0)} left" if worth_saying else "")


def one_model(model: str, path: str, as_json: bool) -> None:
    """Which model all images of a batch get, and which image it was chosen by."""
    if as_json:
        say_json({"event": "model", "model": model, "chosen_for": path})
    else:
        say(f"model {model} for all images: it fits {path}")


def batch_item(
    path: str, output: Place, outcome: str, reason: str, standing: Standing, as_json: bool
) -> None:
    """What became of one image of a batch.

    reason : why it failed, or was skipped.
    """
    if as_json:
        facts: dict[str, Any] = {
            "event": "file", "input": path, "output": str(output), "outcome": outcome,
            "number": standing.done, "of": standing.total,
        }  # fmt: skip
        name = "error" if outcome == "failed" else "reason"
        say_json(facts | ({name: reason} if reason else {}))
        return
    if outcome == "failed":
        say(f"{standing.count}failed: {reason}")
        return
    why = f" ({reason})" if reason else ""
    say(f"{standing.count}{outcome}: {path} -> {output}{why}{standing.outlook}")


def page_written(page: Path, verdict: str, as_json: bool) -> None:
    """That there is a page about an output, and what it says of it in short."""
    if as_json:
        say_json({"event": "page", "page": str(page), "verdict": verdict})
    else:
        say(f"{page}: {verdict}")


def batch_summary(counts: dict[str, int], failed: list[str], as_json: bool) -> None:
    """How a batch ended, the images that failed by name."""
    if as_json:
        say_json({"event": "batch", **counts, "failed_inputs": failed})
        return
    result(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    for name in failed:
        result(f"failed: {name}")
