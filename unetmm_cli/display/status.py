"""How far an output is, for a reader."""

from __future__ import annotations

from unetmm.plan.share import WHOLE, Share
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
        pairs["done"] = "nothing yet"
        if status.chunks:
            done = status.done_chunks / status.chunks
            pairs["done"] = f"{status.done_chunks:,} of {status.chunks:,} chunks ({done:.0%})"
        pairs["next"] = _next(status)
    for name in ("input", "model"):
        if status.made.get(name):
            pairs[name] = str(status.made[name])
    for writer in status.writers:
        share = Share.of_writer(writer.name)
        is_part = share is not None and share != WHOLE
        is_done = is_part and str(share) not in status.missing_shares
        pairs[f"share {share}" if is_part else "writer"] = _writer_text(writer, is_done)
    show_pairs(pairs)


def _next(status: Status) -> str:
    """What to do next."""
    if status.missing_shares:
        shares = ", ".join(f"--share {share}" for share in status.missing_shares)
        return f"these are to be done: {shares}"
    if status.state == "stopped" and status.done_chunks == status.chunks:
        return f"unetmm finalize {status.output}"
    return NEXT[status.state]


def _writer_text(writer: Writer, is_done: bool) -> str:
    """Who writes, or wrote.

    is_done : whether all of its share is there; a share may be empty.
    """
    work = "at work" if writer.at_work else "done" if is_done else "gone"
    ago = seconds_text(writer.quiet_s)
    return f"process {writer.process} on {writer.host}, {work}, wrote {ago} ago"
