"""Two runs at one output: one of them refuses, and a record is that of the pixels beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import content
from interrupted import go_on

from unetmm.errors import ImageError, LockedError
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import part_path, spent_path
from unetmm.io.output.local_workspace import Workspace
from unetmm.io.output.output import Output
from unetmm.provenance.record import read_record, remove_leftovers


@contextmanager
def held_run(folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run that has written a chunk and waits; it ends in peace when the block is left."""
    begun, go, put = threading.Event(), threading.Event(), Output._put

    def waiting(self: Output, key: ChunkKey, pixels: Any) -> None:
        put(self, key, pixels)
        begun.set()
        assert go.wait(60)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "_put", waiting)
        thread = threading.Thread(target=go_on, args=(folder, output), kwargs={"workers": 1})
        thread.start()
        assert begun.wait(60)
        patch.setattr(Output, "_put", put)
        try:
            yield
        finally:
            go.set()
            thread.join()


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_overwrite_refuses_an_output_that_is_being_written(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    with held_run(folder, output, monkeypatch):
        for changes in ({"strength": 0.3}, {}):  # another run, and the same one
            with pytest.raises(LockedError, match=r"another process is writing it \(process \d+"):
                go_on(folder, output, overwrite=True, **changes)
        output.write_text("by somebody else, later than what is under way")
        assert not remove_leftovers(output) and part_path(output).is_dir()
        output.unlink()
    assert content(output) == content(folder / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    go_on(folder, output, overwrite=True, strength=0.3)
    record = read_record(output)
    assert record is not None and record["facts"]["strength"] == "0.3"


def test_a_stop_before_the_first_chunk_leaves_others_their_workspace(tmp_path: Path) -> None:
    workspace, other = Workspace(tmp_path / "out.tif"), Workspace(tmp_path / "out.tif")
    with workspace.locked("job", make=True):
        journal = workspace.open_journal("0-of-1")
    other.abandon()
    assert (part_path(tmp_path / "out.tif") / "journal-0-of-1").exists()
    journal.close()
    other.abandon()
    assert not list(tmp_path.iterdir())


def test_who_waited_for_a_lock_that_is_removed_takes_the_new_one(tmp_path: Path) -> None:
    workspace, other = Workspace(tmp_path / "out.tif"), Workspace(tmp_path / "out.tif")
    taken, waiting = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        with other.locked("job", make=True):
            taken.set()

    thread = threading.Thread(target=wait)
    with workspace.locked("job", make=True):
        thread.start()
        assert waiting.wait(10) and not taken.wait(0.05)
        workspace.remove()
        assert not part_path(tmp_path / "out.tif").exists()
    thread.join()
    assert taken.is_set() and (part_path(tmp_path / "out.tif") / "lock-job").exists()
    other.sweep()
    assert not spent_path(tmp_path / "out.tif").exists()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_workspace_that_is_not_ours_is_neither_used_nor_removed(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("precious")
    output = tmp_path / "out.tif"
    if kind == "link":
        part_path(output).symlink_to(victim)
        spent_path(output).symlink_to(victim)
    else:
        part_path(output).write_text("precious")
    with pytest.raises(ImageError, match=r"\.out\.tif\.part is a link, a file or another user's"):
        go_on(folder, output)
    assert [p.name for p in victim.iterdir()] == ["thesis.txt"] and not output.exists()
    assert part_path(output).is_symlink() or part_path(output).read_text() == "precious"


def test_files_of_others_in_a_workspace_stay(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ome.zarr"
    part_path(output).mkdir()
    (part_path(output) / "thesis.txt").write_text("precious")
    (part_path(output) / "image.zarr").symlink_to(tmp_path / "elsewhere")
    go_on(folder, output)
    assert content(output) == content(folder / output.name)
    assert (spent_path(output) / "thesis.txt").read_text() == "precious"
    go_on(folder, output, overwrite=True)
    assert (spent_path(output) / "thesis.txt").read_text() == "precious"
