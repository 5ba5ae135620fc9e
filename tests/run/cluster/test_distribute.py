"""A run on a Dask cluster gives the bytes of a run alone, whatever happens to its workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import content, lively_model

from unetmm.compiling.processor import LANES, LANES_VARIABLE, WIDTHS
from unetmm.errors import BudgetError, ImageError
from unetmm.io.image import Box, Encoding
from unetmm.io.output.disk import part_path
from unetmm.io.select import Selection
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.provenance.record import read_record
from unetmm.run.job import Cancelled
from unetmm.run.of_file import restore_file
from unetmm.run.report import Progress
from unetmm_cli.__main__ import run as run_command

distributed = pytest.importorskip("distributed", reason="needs distributed")
from unetmm.run.cluster.client import restore_distributed  # noqa: E402
from unetmm.run.cluster.worker import Failure, output_state  # noqa: E402

# Dask's own event loop and sockets complain when a worker is killed.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
NET = NetConfig(1, 1, 8, (1, 1), 0, (1, 1))
HEIGHT_PX, WIDTH_PX = 4100, 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 9 rows of chunks, a model, and what a run alone makes of them."""
    folder = tmp_path_factory.mktemp("distribute")
    pixels = np.random.default_rng(1).normal(3000, 400, (HEIGHT_PX, WIDTH_PX)).astype(np.uint16)
    tifffile.imwrite(folder / "in.tif", pixels, rowsperstrip=64)
    save_model(folder / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    restore_file(folder / "in.tif", folder / "out.ome.zarr", options(folder))
    return folder


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def options(folder: Path, **changes: Any) -> Options:
    given = {"model": folder / "m.safetensors", "budget_bytes": 10**9, "workers": 1}
    return Options(**{**given, **changes})


def slow_down() -> None:
    """In a worker: leave time between two chunks."""
    from unetmm.io.output.output import Output

    put = Output._put
    Output._fast_put = put  # type: ignore[attr-defined]

    def slow(self: Output, key: Any, pixels: Any) -> None:
        put(self, key, pixels)
        time.sleep(0.1)

    Output._put = slow  # type: ignore[method-assign]


def speed_up() -> None:
    """In a worker: undo `slow_down`, if it was there then."""
    from unetmm.io.output.output import Output

    Output._put = getattr(Output, "_fast_put", Output._put)  # type: ignore[method-assign]


def test_a_killed_worker_changes_nothing(folder: Path, tmp_path: Path, client: Any) -> None:
    output, seen, killed = tmp_path / "out.ome.zarr", [], []
    client.run(slow_down)

    def progress(now: Progress) -> None:
        seen.append(now)
        busy = [address for address, tasks in client.processing().items() if tasks]
        if 0 < now.done_px < now.total_px and busy and not killed:
            killed.extend(client.run(os.getpid, workers=busy[:1]).values())
            os.kill(killed[0], signal.SIGKILL)

    report = restore_distributed(
        folder / "in.tif", output, options(folder), client, 8, progress=progress
    )
    client.run(speed_up)
    assert killed and report.complete and report.guard["blocks"] > 0
    assert content(output) == content(folder / output.name)
    assert [p.name for p in tmp_path.iterdir()] == [output.name]
    assert {p.phase for p in seen} == {"calibrate", "compute", "finish"}
    assert all(0 <= p.done_px <= HEIGHT_PX * WIDTH_PX == p.total_px for p in seen)
    assert report.as_dict()["megapixels"] <= HEIGHT_PX * WIDTH_PX / 1e6


@pytest.mark.slow
def test_workers_go_on_in_the_width_that_was_begun(
    folder: Path, tmp_path: Path, client: Any
) -> None:
    """As if the first share had been done on a node with other vectors than the workers'."""
    lanes = next(width for width in WIDTHS if width != LANES)

    def run(output: Path, *more: str) -> None:
        words = ["denoise", str(folder / "in.tif"), "-o", str(output), *more]
        words += ["--model", str(folder / "m.safetensors"), "--mem-budget", "1GB"]
        subprocess.run(
            [sys.executable, "-m", "unetmm_cli", *words], check=True, capture_output=True,
            env={**os.environ, LANES_VARIABLE: str(lanes)},
        )  # fmt: skip

    output, whole = tmp_path / "out.ome.zarr", tmp_path / "whole" / "out.ome.zarr"
    whole.parent.mkdir()
    run(output, "--share", "1/9")
    run(whole)
    report = restore_distributed(folder / "in.tif", output, options(folder), client, shares=3)
    assert report.complete and 0 < report.measured_peak_bytes
    assert content(output) == content(whole)
    assert read_record(output)["facts"]["vectors"] == f"{lanes} floats"


def test_a_stop_keeps_what_is_done(folder: Path, tmp_path: Path, client: Any) -> None:
    output, stop = tmp_path / "out.ome.zarr", threading.Event()

    def progress(now: Progress) -> None:
        if now.phase == "calibrate":
            stop.set()

    with pytest.raises(Cancelled):
        restore_distributed(
            folder / "in.tif", output, options(folder), client, 8, progress=progress, stop=stop
        )
    assert not output.exists()
    restore_distributed(folder / "in.tif", output, options(folder), client, 8)
    assert content(output) == content(folder / output.name)


def test_a_finished_output_is_left_and_its_part_is_kept_to(
    folder: Path, tmp_path: Path, client: Any
) -> None:
    output, image = tmp_path / "o.ome.zarr", tmp_path / "stack.tif"
    pixels = np.random.default_rng(1).normal(3000, 400, (3, 1100, 60)).astype(np.uint16)
    tifffile.imwrite(image, pixels, metadata={"axes": "CYX"}, ome=True)
    chosen = options(folder, select=Selection(("1",)), encoding=Encoding(pyramid=False))
    # The client finishes the output itself, as after the loss of the last worker.
    client.run(never_finish)
    try:
        restore_distributed(image, output, chosen, client, 2)
    finally:
        client.run(finish_again)
    restore_file(image, tmp_path / "alone.ome.zarr", chosen)
    found, expected = content(output), content(tmp_path / "alone.ome.zarr")
    assert found.keys() == expected.keys()
    assert {k for k in found if found[k] != expected[k]} <= {"zarr.json"}, "which has its name"
    before = output_state(output)
    report = restore_distributed(image, output, chosen, client, 2)
    assert report.already_done and output_state(output) == before
    with pytest.raises(ImageError, match="exists and was made with image CYX"):
        restore_distributed(image, output, options(folder), client, 2)


def never_finish() -> None:
    """In a worker: every share believes that others are still at work."""
    from unetmm.io.output.output import Output

    Output._complete = Output.complete  # type: ignore[attr-defined]
    Output.complete = lambda self: self._release() or False  # type: ignore


def finish_again() -> None:
    from unetmm.io.output.output import Output

    Output.complete = getattr(Output, "_complete", Output.complete)  # type: ignore[method-assign]


def test_a_crop_is_made_by_all_workers(folder: Path, tmp_path: Path, client: Any) -> None:
    cropped = options(folder, crop=Box(300, 41, 3777, 590))
    restore_file(folder / "in.tif", tmp_path / "one.ome.zarr", cropped)
    output, told = tmp_path / "many" / "one.ome.zarr", []
    output.parent.mkdir()
    report = restore_distributed(
        folder / "in.tif", output, cropped, client, shares=3, progress=told.append
    )
    assert report.complete and {p.total_px for p in told} == {3477 * 549}
    assert content(output) == content(tmp_path / "one.ome.zarr")


def test_an_error_of_a_worker_is_ours(folder: Path, tmp_path: Path, client: Any) -> None:
    with pytest.raises(BudgetError, match="[Bb]udget") as caught:
        restore_distributed(
            folder / "in.tif", tmp_path / "o.tif", options(folder, budget_bytes=10**6), client, 4
        )
    travelled = Failure(BudgetError, str(caught.value), vars(caught.value)).to_error()
    assert vars(travelled) == vars(caught.value) and str(travelled) == str(caught.value)
    with pytest.raises(ImageError, match="does not exist"):
        restore_distributed(
            folder / "in.tif", tmp_path / "no" / "o.tif", options(folder), client, 4
        )
    assert not part_path(tmp_path / "o.tif").exists()


def test_the_command_runs_on_a_scheduler(
    folder: Path, tmp_path: Path, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.ome.zarr"
    command = ["denoise", str(folder / "in.tif"), "-o", str(output), "--mem-budget", "1GB"]
    command += ["--model", str(folder / "m.safetensors")]
    address = client.scheduler.address
    assert run_command([*command, "--scheduler", address]) == 0, capsys.readouterr().err
    assert content(output) == content(folder / output.name)


def test_a_calibration_that_cannot_be_read_is_one_line(
    folder: Path, tmp_path: Path, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", str(folder / "in.tif"), "-o", str(tmp_path / "o.tif"), "--mem-budget"]
    command += ["1GB", "--model", str(folder / "m.safetensors"), "--calibration", "none.json"]
    assert run_command([*command, "--scheduler", client.scheduler.address]) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and "calibration none.json cannot be read" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--scheduler", "local", "--cluster", "slurm"], "one of"),
        (["--scheduler", "local", "--share", "1/2"], "one of"),
        (["--cluster", "slurm"], "--mem-budget"),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(
    folder: Path, tmp_path: Path, given: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", str(folder / "in.tif"), "-o", str(tmp_path / "o.tif"), *given]
    assert run_command(command) == 2
    assert named in capsys.readouterr().err


def test_the_budget_of_several_images_is_that_of_the_workers(
    folder: Path, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int | None] = []

    def smallest(client: Any) -> int:
        told.append(10**9)
        return 10**9

    monkeypatch.setattr("unetmm_cli.batch.cluster._smallest_budget", smallest)
    shutil.copy(folder / "in.tif", tmp_path / "b.tif")
    command = ["denoise", str(folder / "in.tif"), str(tmp_path / "b.tif"), "-o", f"{tmp_path}/o/"]
    command += ["--model", str(folder / "m.safetensors"), "--scheduler", client.scheduler.address]
    assert run_command(command) == 0
    assert told == [10**9, 10**9]


def test_a_missing_package_is_named(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    command = ["denoise", str(folder / "in.tif"), "-o", str(tmp_path / "o.tif")]
    assert run_command([*command, "--scheduler", "local"]) == 1
    assert "pip install dask-jobqueue distributed" in capsys.readouterr().err


def test_maps_are_shared_as_images_are(folder: Path, tmp_path: Path, client: Any) -> None:
    config = NetConfig(1, 2, 8, (1,), 1, (1,), body="unet", gives="map", final="sigmoid")
    save_model(tmp_path / "maps.safetensors", config, lively_model(config).tensors, {})
    seen: list[Progress] = []
    asked = options(folder, model=tmp_path / "maps.safetensors")
    report = restore_distributed(
        folder / "in.tif", tmp_path / "o.ome.zarr", asked, client, 4, progress=seen.append
    )
    assert report.complete and report.holds == "2 maps" and not report.guard
    assert all(0 <= p.done_px <= HEIGHT_PX * WIDTH_PX == p.total_px for p in seen)
    (tmp_path / "alone").mkdir()
    restore_file(folder / "in.tif", tmp_path / "alone" / "o.ome.zarr", asked)
    assert content(tmp_path / "o.ome.zarr") == content(tmp_path / "alone" / "o.ome.zarr")


def test_bands_go_through_a_net_together_there_too(tmp_path: Path, client: Any) -> None:
    net = NetConfig(4, 4, 8, (1,), 0, (1,))
    pixels = np.random.default_rng(1).normal(3000, 400, (1100, 200, 4)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, photometric="minisblack", planarconfig="contig", tile=(64, 64)
    )
    card = {"task": "denoise", "stored_range": [0, 10000]}
    save_model(tmp_path / "m.safetensors", net, lively_model(net).tensors, card)
    alone, together = tmp_path / "alone" / "a.ome.zarr", tmp_path / "a.ome.zarr"
    alone.parent.mkdir()
    restore_file(tmp_path / "in.tif", alone, options(tmp_path))
    report = restore_distributed(tmp_path / "in.tif", together, options(tmp_path), client, 3)
    assert content(together) == content(alone)
    assert report.complete and report.bands == ("1", "2", "3", "4")
