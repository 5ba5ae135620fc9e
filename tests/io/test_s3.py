"""Images behind URLs: a bucket of a real S3 server on loopback, fsspec's memory, a web server."""

from __future__ import annotations

import functools
import http.server
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from helpers import lively_model
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from unetmm.errors import ImageError
from unetmm.io.image import Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.lease import Lease
from unetmm.io.output.output import Output
from unetmm.io.output.remote_workspace import RemoteJournal, RemoteWorkspace
from unetmm.io.places import RemotePath, to_place
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.provenance.facts import Share
from unetmm.provenance.verify import finalize, verify
from unetmm.run.of_file import restore_file
from unetmm_cli.app import app

NET = NetConfig(1, 1, 8, (1, 1), 0, (1, 1))
PIXELS = np.random.default_rng(1).normal(3000, 400, (1300, 700)).astype(np.uint16)
INFO = ImageInfo("any", "YX", PIXELS.shape, PIXELS.dtype, (1, 1))
SLOW_CLI = (
    "import time\n"
    "from unetmm.io import remote_workspace\n"
    "from unetmm.io.output.output import Output\n"
    "remote_workspace.SAVE_EVERY_S = 0.1\n"
    "put = Output._put\n"
    "def slow(self, key, pixels):\n"
    "    put(self, key, pixels)\n"
    "    time.sleep(0.5)\n"
    "Output._put = slow\n"
    "from unetmm_cli.__main__ import main\n"
    "main()\n"
)
"""The command line with a pause after every chunk, so that a kill comes between two."""


def write_image(where: str | Path) -> None:
    sink = open_sink(SinkOptions(to_place(where)), INFO)
    sink.write((0, 0, 0), Box(0, 0, *PIXELS.shape), PIXELS[..., None])
    sink.close()


def objects(where: str | Path) -> dict[str, bytes]:
    """Every object below an URL, or file of a folder, by name."""
    place = to_place(where)
    if isinstance(place, RemotePath):
        return {name: (place / name).read_bytes() for name in place.all_names()}
    files = (p for p in place.rglob("*") if p.is_file())
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(path, NET, lively_model(NET).tensors, {"task": "denoise"})
    return path


@pytest.fixture
def options(model: Path) -> Options:
    return Options(model=model, budget_bytes=10**9)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket that holds in.zarr; the server is named by the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("images")
        write_image("s3://images/in.zarr")
        yield "s3://images"
    server.stop()


@pytest.fixture
def memory() -> Iterator[str]:
    """An empty object store within this process, with an image."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    write_image("memory://images/in.zarr")
    yield "memory://images"
    store.store.clear()


def cli(*code: str) -> list[str]:
    return [sys.executable, *(code or ("-m", "unetmm_cli"))]


@pytest.mark.slow
def test_a_killed_run_on_a_bucket_goes_on_to_the_bytes_of_a_local_one(
    bucket: str, model: Path, options: Options, tmp_path: Path
) -> None:
    output = f"{bucket}/out.ome.zarr"
    arguments = ["denoise", f"{bucket}/in.zarr", "-o", output, "--model", str(model)]
    arguments += ["--mem-budget", "4GB"]
    with subprocess.Popen(
        [*cli("-c", SLOW_CLI), *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        # The kernels, calibration and the local output take about as long as the start.
        restore_file(to_place(f"{bucket}/in.zarr"), tmp_path / "out.ome.zarr", options)
        journal = RemotePath(f"{output}.part/journal-0-of-1")
        give_up = time.monotonic() + 60
        # Of 3 x 2 chunks four, so that a row of chunks is whole.
        while not (journal.exists() and journal.read_bytes().count(b"\n0 ") >= 4):
            assert process.poll() is None and time.monotonic() < give_up, process.stderr
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert "zarr.json" not in objects(output)
    with pytest.raises(ImageError, match="is no Zarr"):
        open_source(output)
    report = tmp_path / "report.json"
    done = subprocess.run(
        [*cli(), *arguments, "--report", str(report)], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout == f"{output}\n", done.stderr
    assert '"resumed_rows": 0,' not in report.read_text()
    assert objects(output) == objects(tmp_path / "out.ome.zarr")
    assert RemotePath(bucket).names() == ["in.zarr", "out.ome.zarr"]


def test_a_server_that_refuses_is_one_line(bucket: str, options: Options) -> None:
    with pytest.raises(ImageError, match="no-such-bucket.*does not exist"):
        restore_file(
            to_place(f"{bucket}/in.zarr"), to_place("s3://no-such-bucket/o.ome.zarr"), options
        )


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_objects_are_those_of_a_local_output(memory: str, tmp_path: Path, version: str) -> None:
    encoding = Encoding(ome_zarr=version)
    for place in (to_place(f"{memory}/a.zarr"), tmp_path / "a.zarr"):
        sink = open_sink(SinkOptions(place, encoding=encoding), INFO)
        sink.write((0, 0, 0), Box(0, 0, *PIXELS.shape), PIXELS[..., None])
        sink.close()
    assert objects(f"{memory}/a.zarr") == objects(tmp_path / "a.zarr")
    assert verify(to_place(f"{memory}/a.zarr")).damaged == ()
    found = open_source(f"{memory}/a.zarr").read((0, 0, 0), Box(500, 100, 600, 700))
    np.testing.assert_array_equal(found[..., 0], PIXELS[500:600, 100:700])


def test_shares_make_one_output_and_a_finished_one_is_left_alone(
    memory: str, options: Options, tmp_path: Path
) -> None:
    source, output = to_place(f"{memory}/in.zarr"), to_place(f"{memory}/out.zarr")
    for index in (1, 0):
        report = restore_file(source, output, options, share=Share(index, 2))
        assert report.complete == (index == 0)
    restore_file(source, tmp_path / "out.zarr", options)
    assert objects(str(output)) == objects(tmp_path / "out.zarr")
    assert restore_file(source, output, options).already_done
    other = Options(options.model, strength=0.5, budget_bytes=10**9)
    with pytest.raises(ImageError, match="exists and was made with strength 1.0, now it is 0.5"):
        restore_file(source, output, other)


def test_a_network_that_fails_is_one_line_and_the_run_goes_on_later(
    memory: str, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = to_place(f"{memory}/in.zarr"), to_place(f"{memory}/out.zarr")
    store, sent = fsspec.filesystem("memory"), [0]
    send = type(store).pipe_file

    def failing(self: Any, path: str, value: bytes, *args: Any, **kwargs: Any) -> Any:
        sent[0] += "/0/c/" in path
        if sent[0] > 3:
            raise OSError("Network is unreachable")
        return send(self, path, value, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "pipe_file", failing)
        with pytest.raises(ImageError, match=r"out.zarr: cannot write to it: Network is unr"):
            restore_file(source, output, options)
    assert not (output / "zarr.json").exists() and (output / "0").is_dir()
    assert restore_file(source, output, options).resumed_rows == 0, "its journal was lost too"
    restore_file(source, tmp_path / "out.zarr", options)
    assert objects(str(output)) == objects(tmp_path / "out.zarr")


def test_overwriting_removes_the_old_output_when_the_new_one_begins(memory: str) -> None:
    place = to_place(f"{memory}/in.zarr")
    with pytest.raises(ImageError, match="exists; give --overwrite"):
        open_sink(SinkOptions(place), INFO)
    small = ImageInfo("any", "YX", (9, 9), PIXELS.dtype, (1, 1))
    sink = open_sink(SinkOptions(place, overwrite=True), small)
    sink.abort()
    assert open_source(place).info.shape == PIXELS.shape, "nothing was begun"
    sink = open_sink(SinkOptions(place, overwrite=True), small)
    sink.begin()
    assert not (place / "zarr.json").exists()
    sink.write((0, 0, 0), Box(0, 0, 9, 9), PIXELS[:9, :9, None])
    sink.close()
    assert open_source(place).info.shape == (9, 9)
    assert [name for name in objects(str(place)) if name.startswith("0/c")] == ["0/c/0/0"]


def test_what_a_kill_at_the_very_end_left_is_tidied_up(
    memory: str, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = to_place(f"{memory}/in.zarr"), to_place(f"{memory}/out.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(RemoteWorkspace, "remove", lambda self: None)
        restore_file(source, output, options)
    assert "out.zarr.part" in RemotePath(memory).names()
    assert restore_file(source, output, options).already_done
    assert RemotePath(memory).names() == ["in.zarr", "out.zarr"]


def test_finalize_finishes_what_the_last_share_left(
    memory: str, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = to_place(f"{memory}/in.zarr"), to_place(f"{memory}/out.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        restore_file(source, output, options)
    with pytest.raises(ImageError, match="is no Zarr"):
        verify(output)
    assert finalize(output) and verify(output).damaged == ()


def test_several_urls_are_restored_below_another(memory: str, model: Path) -> None:
    write_image("memory://images/b.ome.zarr")
    inputs = [f"{memory}/in.zarr", f"{memory}/b.ome.zarr"]
    command = ["denoise", *inputs, "-o", "memory://results/all", "--model", str(model)]
    done = CliRunner().invoke(app, [*command, "--mem-budget", "4GB", "--suffix", "_dn"])
    assert done.exit_code == 0, done.output
    assert RemotePath("memory://results/all").names() == ["b_dn.ome.zarr", "in_dn.zarr"]


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


def test_shares_that_begin_at_once_agree_on_who_creates_the_output(
    memory: str, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lease the later one would remove the chunks of the earlier one."""
    monkeypatch.setattr("unetmm.io.output.lease.LOOK_EVERY_S", 0.01)
    source, output = to_place(f"{memory}/in.zarr"), to_place(f"{memory}/out.zarr")
    created, create = [], Output.create

    def noted(self: Output, record: Any) -> None:
        created.append(threading.get_ident())
        create(self, record)

    monkeypatch.setattr(Output, "create", noted)
    with ThreadPoolExecutor(2) as pool:
        shares = [Share(i, 2) for i in range(2)]
        reports = pool.map(lambda s: restore_file(source, output, options, share=s), shares)
        assert any(report.complete for report in reports)
    assert len(created) == 1
    restore_file(source, tmp_path / "out.zarr", options)
    assert objects(str(output)) == objects(tmp_path / "out.zarr")
    assert RemotePath(memory).names() == ["in.zarr", "out.zarr"]


def test_a_zarr_on_a_web_server_is_read(tmp_path: Path, options: Options) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    write_image(tmp_path / "in.zarr")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        place = to_place(f"http://127.0.0.1:{server.server_port}/in.zarr")
        found = open_source(place).read((0, 0, 0), Box(500, 100, 600, 700))
        assert verify(place).damaged == ()
        server.shutdown()
        thread.join()
    np.testing.assert_array_equal(found[..., 0], PIXELS[500:600, 100:700])


def test_the_plan_counts_what_an_url_takes(memory: str, tmp_path: Path) -> None:
    outputs: list[Output] = []
    for place in (to_place(f"{memory}/o.zarr"), tmp_path / "o.zarr"):
        outputs.append(open_sink(SinkOptions(place), INFO))
    remote, local = outputs
    assert remote.resident_bytes > local.resident_bytes + 2**20
    assert remote.write_bytes(512, 512) > local.write_bytes(512, 512)
