"""Options that were called otherwise before: the former names work as the new ones do, hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import content, lively_model

from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.plan.share import Share
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.options.former_names import FORMER_NAMES
from unetmm_cli.parsing import parse_share

NET = NetConfig(1, 1, 8, (1,), 1, (1,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image of two rows of chunks, and a model."""
    pixels = np.random.default_rng(1).integers(0, 4000, (600, 70), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    save_model(tmp_path / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    return tmp_path


def words(command: str, folder: Path, *more: Any) -> list[str]:
    given = [command, folder / "in.tif", "--model", folder / "m.safetensors"]
    return [str(w) for w in (*given, "--mem-budget", "2GB", *more)]


def output_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    code = run_cli(arguments)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return shown.out


@pytest.mark.parametrize("command", ["denoise", "restore", "plan", "slurm", "benchmark"])
def test_help_shows_the_new_names_only(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = output_of(capsys, [command, "--help"]).replace("--shard-px", "").split()
    assert "--cores" in names and "--workers" not in names and "--shard" not in names
    assert ("--share" in names) == (command != "benchmark")


@pytest.mark.parametrize("share", ["--share", "--shard"])
def test_shares_under_either_name_make_one_output(
    share: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, shared = folder / "alone.tif", folder / "shared" / "alone.tif"
    shared.parent.mkdir()
    output_of(capsys, words("denoise", folder, "-o", alone))
    assert output_of(capsys, words("denoise", folder, "-o", shared, share, "1/2")) == ""
    assert not shared.exists()
    text = output_of(capsys, words("denoise", folder, "-o", shared, share, "2/2"))
    assert text == f"{shared}\n" and content(shared) == content(alone)


@pytest.mark.parametrize("share", ["--share", "--shard"])
@pytest.mark.parametrize("variable", ["UNETMM_SHARES", "UNETMM_SHARDS"])
def test_a_task_of_an_array_finds_its_share(
    share: str,
    variable: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "2")
    assert parse_share("auto") == Share(0, 1)
    monkeypatch.setenv(variable, "2")
    assert parse_share("auto") == Share(1, 2)
    output = folder / "o.tif"
    assert output_of(capsys, words("denoise", folder, "-o", output, share, "auto")) == ""
    assert (folder / ".o.tif.part").exists() and not output.exists()


def test_the_new_variable_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_ARRAY_INDEX", "3")
    monkeypatch.setenv("UNETMM_SHARDS", "4")
    monkeypatch.setenv("UNETMM_SHARES", "8")
    assert parse_share("auto") == Share(2, 8)


def test_cores_under_either_name_plan_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = [
        json.loads(output_of(capsys, words("plan", folder, "--json", name, 1)))["plan"]
        for name in ("--cores", "--workers")
    ]
    assert plans[0] == plans[1] and plans[0]["workers"] * plans[0]["threads"] == 1


def test_a_script_has_the_new_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripts = [
        output_of(capsys, words("slurm", folder, "-o", folder / "o.tif", name, 3))
        for name in ("--cores", "--workers")
    ]
    assert scripts[0] == scripts[1]
    assert "--share auto" in scripts[0] and "--cores=3" in scripts[0]
    assert not any(name in scripts[0] for name in ("--shard", "--workers", "UNETMM_SHARDS"))


def test_a_benchmark_takes_either_name(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[Any] = []
    monkeypatch.setattr(
        "unetmm_cli.commands.benchmark.measure", lambda setting, as_json: settings.append(setting)
    )
    for name in ("--cores", "--workers"):
        assert run_cli(["benchmark", name, "3"]) == 0
    assert [setting.threads for setting in settings] == [3, 3]


@pytest.mark.parametrize(("name", "value"), [("share", "1/2"), ("cores", "0")])
def test_both_names_at_once_are_a_usage_error(
    name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    former = FORMER_NAMES[name]
    command = ["denoise", "a.tif", "-o", "b.tif", f"--{name}", value, f"--{former}", value]
    assert run_cli(command) == 2
    assert capsys.readouterr().err == (
        f"error: Invalid value: --{former} is the former name of --{name}: give one of them; "
        "see unetmm denoise --help\n"
    )


@pytest.mark.parametrize(
    ("more", "text"), [(["--shard", "3/2"], "'--shard': \"3/2\""), (["--workers", "-1"], "'--wor")]
)
def test_a_wrong_value_names_the_option_as_it_was_given(
    more: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["denoise", "a.tif", "-o", "b.tif", *more]) == 2
    assert text in capsys.readouterr().err
