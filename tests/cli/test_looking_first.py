"""Commands that look and change nothing: plan, info, models, evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import BUDGET, HEIGHT, WIDTH, one_error, run_ok
from PIL import Image

from unetmm_cli.__main__ import run as run_cli


def test_plan_takes_a_folder_that_the_run_makes(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET, "--json", "-o"]
    out, _ = run_ok([*words, f"{tmp_path}/new/"], capsys)
    assert json.loads(out)["output"] == str(tmp_path / "new" / "grey.tif")
    assert "does not exist" in one_error([*words, tmp_path / "new" / "grey.tif"], capsys)
    assert "input itself" in one_error([*words, tmp_path], capsys)


def test_plan_reads_no_pixel_and_writes_nothing(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    out, _ = run_ok(["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET, "--json"], capsys)
    content = json.loads(out)
    plan = content["plan"]
    assert content["output"] == str(tmp_path / "grey_denoised.tif")
    assert plan["budget_bytes"] == 2 * 10**9 >= plan["projected_peak_bytes"]
    assert sum(plan["terms"].values()) == plan["projected_peak_bytes"]
    nafnet, unetmm = content["comparison"]["nafnet"], content["comparison"]["unet--"]
    assert unetmm["skip_floats_per_px"] < nafnet["skip_floats_per_px"]
    assert sorted(tmp_path.iterdir()) == before
    words = ["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET]
    text, hint = run_ok(words, capsys)
    names = [line.split()[0] for line in text.splitlines()]
    assert names == ["input", "output", "model", "time", "memory", "cut"] and "--verbose" in hint
    text, _ = run_ok([*words, "--verbose"], capsys)
    for word in (*plan["terms"], "projected peak", "budget", "halo", "UNet--", f"{10**9 * 2:,}"):
        assert word in text


def test_info_shows_metadata(grey_tiff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run_ok(["info", grey_tiff, "--json"], capsys)
    content = json.loads(out)
    assert content["axes"] == "YX" and content["shape"] == [HEIGHT, WIDTH]
    assert content["dtype"] == "uint16" and content["nodata"] is None
    text, _ = run_ok(["info", grey_tiff], capsys)
    assert "uint16" in text and f"{HEIGHT}, {WIDTH}" in text


def test_models_shows_the_zoo_and_a_card(
    mono: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unetmm.models.weights.zoo_folder", lambda: mono.parent)
    (row,) = json.loads(run_ok(["models", "--json"], capsys)[0])
    assert row["name"] == "mono" and row["channels"] == 1 and row["parameters"] > 0
    assert row["data_licences"] == ""  # no card of others need have it
    assert "mono" in run_ok(["models"], capsys)[0]
    card = json.loads(run_ok(["models", "mono", "--json"], capsys)[0])["card"]
    assert card["licence"] == "test" and len(card["tensors_sha256"]) == 64
    assert card["tensors_sha256"] in run_ok(["models", "mono"], capsys)[0]


def test_evaluate_measures_a_folder(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((40, 44), 90, np.uint8)).save(tmp_path / "flat.png")
    command = ["evaluate", str(mono), str(tmp_path), "--sigma", "25", "--sigma", "50"]
    assert run_cli([*command, "--json"]) == 0
    means = json.loads(capsys.readouterr().out)["means"]
    assert [m["sigma"] for m in means] == [25, 50]
    assert means[0]["psnr_before_db"] == pytest.approx(20.17, abs=0.3)
    assert run_cli(command) == 0
    assert "white Gaussian noise, seed 0" in capsys.readouterr().out
    assert run_cli(["evaluate", str(mono), str(tmp_path / "missing")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_models_are_readable_on_narrow_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unetmm_cli.display.models.width", lambda: 60)
    out = run_ok(["models"], capsys)[0]
    assert max(map(len, out.splitlines()[2:])) <= 60
    assert out.index("Colour:") < out.index("universal-tiny-rgb") < out.index("Single channels")
    assert "commercial use allowed" in out


def test_models_say_which_one_an_image_would_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(90, 140, (80, 90), np.uint8))
    found = json.loads(run_ok(["models", "--for", str(path), "--json"], capsys)[0])
    assert found["model"] in found["estimated_errors"]
    assert found["reason"] in run_ok(["models", "--for", str(path)], capsys)[0]
