"""Runs on images behind URLs: a real S3 server on loopback, memory, a web server."""

from __future__ import annotations

import functools
import http.server
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from remote_images import INFO, PIXELS, write_image
from typer.testing import CliRunner

from unetmm.errors import ImageError
from unetmm.io.image import Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.output import Output
from unetmm.io.output.remote_workspace import RemoteWorkspace
from unetmm.io.places import RemotePath, to_place
from unetmm.options import Options
from unetmm.plan.share import Share
from unetmm.provenance.verify import finalize, verify
from unetmm.run.of_file import restore_file
from unetmm_cli.app import app

SLOW_CLI = (
    "import time\n"
    "from unetmm.io.output import remote_workspace\n"
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


def objects(where: str | Path) -> dict[str, bytes]:
    """Every object below an URL, or file of a folder, by name."""
    place = to_place(where)
    if isinstance(place, RemotePath):
        return {name: (place / name).read_bytes() for name in place.all_names()}
    files = (p for p in place.rglob("*") if p.is_file())
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in files}


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
    send = type(store).open  # which `pipe_file` calls, of which older zarr holds a reference

    def failing(self: Any, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        sent[0] += "/0/c/" in path and "w" in mode
        if sent[0] > 3 and "w" in mode:
            raise OSError("Network is unreachable")
        return send(self, path, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "open", failing)
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
    with pytest.raises(ImageError, match="is not finished"):
        verify(output)
    assert finalize(output) and verify(output).damaged == ()


def test_several_urls_are_restored_below_another(memory: str, model: Path) -> None:
    write_image("memory://images/b.ome.zarr")
    inputs = [f"{memory}/in.zarr", f"{memory}/b.ome.zarr"]
    command = ["denoise", *inputs, "-o", "memory://results/all", "--model", str(model)]
    done = CliRunner().invoke(app, [*command, "--mem-budget", "4GB", "--suffix", "_dn"])
    assert done.exit_code == 0, done.output
    assert RemotePath("memory://results/all").names() == ["b_dn.ome.zarr", "in_dn.zarr"]


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
