"""Shares on nodes whose processors have other vectors are computed in the width of the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import content, lively_model
from interrupted import go_on, options, stop_after

from unetmm.compiling.processor import LANES, LANES_VARIABLE, WIDTHS
from unetmm.errors import ResumeError, WidthError
from unetmm.io.output.disk import part_path
from unetmm.models.weights import save_model
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.plan.share import Share
from unetmm.provenance.facts import VECTORS
from unetmm.provenance.record import read_record
from unetmm.run.of_file import restore_file
from unetmm_cli import __main__ as command
from unetmm_cli import width as going_on

OTHER = next(width for width in WIDTHS if width != LANES)
ALONE = NetConfig(1, 1, 24, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1)))
"""A net whose sums differ by the width of vectors."""


def pretend(output: Path, lanes: int | None) -> None:
    """Let an output look as if it had been begun on a node with other vectors, or long ago."""
    path = part_path(output) / "job.json"
    job = json.loads(path.read_text())
    del job["facts"][VECTORS]
    if lanes is not None:
        job["facts"][VECTORS] = f"{lanes} floats"
    path.write_text(json.dumps(job))


def test_a_run_of_another_width_is_not_gone_on_with_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tif"
    stop_after(folder, output, 2, monkeypatch)
    pretend(output, OTHER)
    with pytest.raises(WidthError, match=f"set {LANES_VARIABLE}={OTHER}") as raised:
        go_on(folder, output)
    assert raised.value.lanes == OTHER and part_path(output).is_dir()
    with pytest.raises(ResumeError, match="strength"):  # what is another run is that first
        go_on(folder, output, strength=0.5)
    pretend(output, LANES)
    go_on(folder, output)
    assert content(output) == content(folder / output.name)


def test_overwriting_begins_anew_but_for_a_share(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tif"
    first, second = Share(0, 2), Share(1, 2)
    restore_file(folder / "in.tif", output, options(folder), share=first)
    pretend(output, OTHER)
    with pytest.raises(WidthError):
        restore_file(folder / "in.tif", output, options(folder, overwrite=True), share=second)
    assert part_path(output).is_dir(), "what the first share did is not lost"
    assert restore_file(folder / "in.tif", output, options(folder, overwrite=True)).complete
    assert content(output) == content(folder / output.name)


def test_an_output_that_does_not_say_its_width_is_gone_on_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tif"
    stop_after(folder, output, 2, monkeypatch)
    pretend(output, None)
    go_on(folder, output)
    assert output.exists()


def test_a_finished_output_is_left_whatever_its_width(folder: Path) -> None:
    output = folder / "out.tif"
    record = read_record(output)
    assert record is not None and record["facts"][VECTORS] == f"{LANES} floats"
    from unetmm.provenance.facts import check_record

    check_record(output, record, record["facts"] | {VECTORS: f"{OTHER} floats"})


def test_the_command_goes_on_in_a_process_of_that_width(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    output, seen = tmp_path / "out.tif", []
    stop_after(folder, output, 2, monkeypatch)
    pretend(output, OTHER)

    def run(words: list[str], env: dict[str, str], check: bool) -> Any:
        seen.append((words, env[LANES_VARIABLE]))
        return subprocess.CompletedProcess(words, 7)

    monkeypatch.setattr(going_on.subprocess, "run", run)
    words = ["denoise", str(folder / "in.tif"), "-o", str(output), "--mem-budget", "2GB"]
    words += ["--model", str(folder / "m.safetensors")]
    assert command.run(words) == 7
    assert seen == [([sys.executable, "-P", "-m", "unetmm_cli", *words], str(OTHER))]
    assert f"goes on with vectors of {OTHER} floats" in capsys.readouterr().err
    monkeypatch.setattr(sys, "executable", "")
    assert command.run(words) == 1, "one line where no process can be started"
    assert f"set {LANES_VARIABLE}={OTHER}" in capsys.readouterr().err


def test_a_width_that_there_is_not_is_one_line(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unetmm_cli", "plan", str(folder / "in.tif")],
        env={**os.environ, LANES_VARIABLE: "7"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "4, 8 or 16" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_shares_of_two_widths_make_the_bytes_of_one(tmp_path: Path) -> None:
    """The second share's node has narrower vectors than the first's, or wider ones."""
    rng = np.random.default_rng(1)
    np.save(tmp_path / "in.npy", rng.normal(0.4, 0.2, (1100, 300)).astype(np.float32))
    model = tmp_path / "m.safetensors"
    save_model(model, ALONE, lively_model(ALONE).tensors, {"task": "denoise"})

    def run(output: str, lanes: int, *more: str) -> str:
        words = ["denoise", str(tmp_path / "in.npy"), "-o", str(tmp_path / output), *more]
        done = subprocess.run(
            [sys.executable, "-m", "unetmm_cli", *words, "--model", str(model), "--mem-budget=2GB"],
            env={**os.environ, LANES_VARIABLE: str(lanes)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr

    found = {}
    for first, second in ((LANES, OTHER), (OTHER, LANES)):
        output = f"{first}.npy"
        run(output, first, "--share", "1/2")
        assert f"goes on with vectors of {first} floats" in run(output, second, "--share", "2/2")
        run(f"whole-{output}", first)
        found[first] = np.load(tmp_path / output)
        np.testing.assert_array_equal(found[first], np.load(tmp_path / f"whole-{output}"))
    assert (found[LANES] != found[OTHER]).any(), "or the width is no fact"
