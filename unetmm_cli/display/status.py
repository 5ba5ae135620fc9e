"""How far an output is, for a reader."""

from __future__ import annotations

from unetmm.provenance.status import Status, Writer
from unetmm_cli.display.tables import show_pairs
from unetmm_cli.display.text import seconds_text

NEXT = {
    "under way": "wait for it",
    "stopped": "start the same command again; it goes on where it was",
}
"""State -> what to do."""


def show_status(status: Status) -> None:
    """State, chunks, and who writes them."""
    pairs = {"output": status.output, "state": status.state}
    if status.state != "finished":
        share = status.done_chunks / max(1, status.chunks)
        pairs["done"] = f"{status.done_chunks:,} of {status.chunks:,} chunks ({share:.0%})"
        complete = status.done_chunks == status.chunks and status.state == "stopped"
        pairs["next"] = f"unetmm finalize {status.output}" if complete else NEXT[status.state]
    for name in ("input", "model"):
        if status.made.get(name):
            pairs[name] = str(status.made[name])
    for writer in status.writers:
        pairs[f"writer {writer.name}"] = _writer_text(writer)
    show_pairs(pairs)


def _writer_text(writer: Writer) -> str:
    work = "at work" if writer.at_work else "gone"
    ago = seconds_text(writer.quiet_s)
    return f"process {writer.process} on {writer.host}, {work}, wrote {ago} ago"
