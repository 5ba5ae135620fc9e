"""URLs as places of images: names, journals, leases, and what is refused."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from remote_images import INFO, PIXELS

from unetmm.errors import ImageError
from unetmm.io.image import Box, Encoding, SinkOptions
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.lease import Lease
from unetmm.io.output.remote_workspace import RemoteJournal
from unetmm.io.places import RemotePath, to_place


def test_an_abort_leaves_nothing(memory: str) -> None:
    sink = open_sink(SinkOptions(to_place(f"{memory}/out.zarr")), INFO)
    sink.write((0, 0, 0), Box(0, 0, 512, 700), PIXELS[:512, :, None])
    sink.abort()
    assert RemotePath(memory).names() == ["in.zarr"]


REFUSED = [
    ("memory://images/out.tif", "only OME-Zarr is written to URLs"),
    ("https://example.org/out.zarr", "web servers are only read"),
    ("memory://images/in.zarr/0", "exists; give --overwrite"),
    ("memory://images", "names no image; give one, as memory://images/scan.ome.zarr"),
    ("memory://images/data.zarr", "objects below it that are no Zarr"),
    ("memory://images/in[12].zarr", "take \\*, \\? and \\[ for patterns"),
]


@pytest.mark.parametrize(("url", "text"), REFUSED)
def test_outputs_that_cannot_be_are_refused(memory: str, url: str, text: str) -> None:
    RemotePath("memory://images/data.zarr/mine.txt").write_bytes(b"precious")
    with pytest.raises(ImageError, match=text):
        open_sink(SinkOptions(to_place(url)), INFO, None if url.endswith(".tif") else "ome-zarr")
    assert RemotePath("memory://images/data.zarr/mine.txt").exists()


def test_only_what_is_named_is_removed(memory: str) -> None:
    for name in ("a1", "a2", "a[12]"):
        RemotePath(f"{memory}/{name}/zarr.json").write_bytes(b"{}")
    RemotePath(f"{memory}/a[12]").remove()
    assert RemotePath(memory).names() == ["a1", "a2", "in.zarr"]


def test_shards_behind_an_url_are_refused(memory: str) -> None:
    options = SinkOptions(to_place(f"{memory}/o.zarr"), encoding=Encoding(shard_px=1024))
    with pytest.raises(ImageError, match="shards are made of local files"):
        open_sink(options, INFO)


def test_inputs_that_cannot_be_are_refused(memory: str) -> None:
    with pytest.raises(ImageError, match="only Zarr is read from URLs; download it"):
        open_source(f"{memory}/in.tif")
    with pytest.raises(ImageError, match="nothing is known of such URLs"):
        open_source("telepathy://bucket/in.zarr")


def test_places_are_told_from_their_text() -> None:
    assert to_place("a//b.zarr") == Path("a/b.zarr")
    assert to_place("file:///a/b.zarr") == Path("/a/b.zarr")
    for nothing in ("s3://", "s3:///"):
        with pytest.raises(ImageError, match="names no place"):
            to_place(nothing)
    url = to_place("s3://bucket/a/b.ome.zarr/")
    assert isinstance(url, RemotePath) and str(url) == "s3://bucket/a/b.ome.zarr"
    assert (url.name, url.suffix) == ("b.ome.zarr", ".zarr")
    assert str(url.with_name("c")) == "s3://bucket/a/c" == str(url.parent / "c")


def test_a_journal_saves_itself_and_says_when_it_could_not(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetmm.io.output.remote_workspace.SAVE_EVERY_S", 0.01)
    place = RemotePath(f"{memory}/out.zarr.part/journal-x")
    journal = RemoteJournal(place)
    journal.record(ChunkKey(0, (0, 0, 0), 1, 2), 3)
    give_up = time.monotonic() + 10
    while b"0 0 0 0 1 2 00000003\n" not in place.read_bytes():
        assert time.monotonic() < give_up
        time.sleep(0.01)

    def failing(self: RemotePath, data: bytes) -> None:
        raise ImageError("the cable was pulled")

    monkeypatch.setattr(RemotePath, "write_bytes", failing)
    journal.record(ChunkKey(0, (0, 0, 0), 1, 3), 3)
    with pytest.raises(ImageError, match="cable"):
        while time.monotonic() < give_up:
            journal.record(ChunkKey(0, (0, 0, 0), 1, 3), 3)
            time.sleep(0.01)
    journal.close()


def test_a_lease_has_one_owner_and_that_of_a_dead_one_is_taken(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetmm.io.output.lease.RENEW_EVERY_S", 0.05)
    monkeypatch.setattr("unetmm.io.output.lease.LOOK_EVERY_S", 0.01)
    place, inside, most = RemotePath(f"{bucket}/lock-x"), [0], [0]

    def enter(number: int) -> None:
        lease = Lease(place)
        lease.take()
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.1)
        inside[0] -= 1
        lease.give_back()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert most[0] == 1 and not place.exists()
    place.write_bytes(b"host 1 dead 0")
    monkeypatch.setattr("unetmm.io.output.lease.DEAD_AFTER_S", 0.2)
    enter(0)
    assert not place.exists()
