"""What becomes of many images, one line each, and all of them in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unetmm_cli.display.lines import result, say, say_json

if TYPE_CHECKING:
    from unetmm.io.places import Place


def watching(folders: list[str], as_json: bool) -> None:
    """That a run waits for images."""
    if as_json:
        say_json({"event": "watch", "folders": folders})
    else:
        say(f"watching {', '.join(folders)}; Ctrl-C ends it")


def left_out(count: int, as_json: bool) -> None:
    """How many images are no inputs because an earlier run of the command made them."""
    if as_json:
        say_json({"event": "left_out", "outputs": count})
    elif count == 1:
        say("left out 1 image that is an output of this command")
    else:
        say(f"left out {count} images that are outputs of this command")


def batch_item(path: str, output: Place, outcome: str, reason: str, as_json: bool) -> None:
    """What became of one image of a batch."""
    if as_json:
        facts = {"event": "file", "input": path, "output": str(output), "outcome": outcome}
        say_json(facts | ({"error": reason} if reason else {}))
    elif outcome == "failed":
        say(f"failed: {reason}")
    else:
        say(f"{outcome}: {path} -> {output}")


def batch_summary(counts: dict[str, int], failed: list[str], as_json: bool) -> None:
    """How a batch ended, the images that failed by name."""
    if as_json:
        say_json({"event": "batch", **counts, "failed_inputs": failed})
        return
    result(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    for name in failed:
        result(f"failed: {name}")
