"""Journals of chunks are read whatever stands in them."""

from __future__ import annotations

from pathlib import Path

from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.local_workspace import Workspace
from unetmm.io.output.records import format_record, parse_records


def test_records_survive_garbage() -> None:
    key = ChunkKey(1, (0, 2, 3), 4, 5)
    line = format_record(key, 0xDEADBEEF)
    text = f"by host 12\n{line}\n1 2 three\n\n{line[:-3]}"
    assert list(parse_records(text.splitlines(keepends=True))) == [(key, 0xDEADBEEF)]


def test_records_end_where_another_process_finished_the_output(tmp_path: Path) -> None:
    workspace, key = Workspace(tmp_path / "out.tif"), ChunkKey(0, (0, 0, 0), 0, 0)
    assert not list(workspace.records())
    workspace.set_up()
    for writer in ("1-of-2", "2-of-2"):
        journal = workspace.open_journal(writer)
        journal.record(key, 1)
        journal.close()
    assert len(list(workspace.records())) == 2
    records = workspace.records()
    assert next(records) == (key, 1)
    workspace.remove()
    assert not list(records)
