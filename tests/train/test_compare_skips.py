"""The experiment UNet-- against ordinary skips: its runs, its page, its plot."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import imageio.v3 as iio
import numpy as np
import pytest
from helpers import ROOT

from unetmm.nets.shapes import parameter_count
from unetmm.train.config import load_train_config

CONFIG = ROOT / "training" / "compare.toml"
SCORES = {"kodak24": [30.0, 29.0, 28.0], "mcmaster": [31.0, 30.0, 29.0]}
MODULES = ("compare_skips", "compare_page", "compare_plot")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import compare_skips

    yield compare_skips
    for name in MODULES:
        sys.modules.pop(name)


def higher(by_db: float) -> dict[str, list[float]]:
    return {name: [db + by_db for db in values] for name, values in SCORES.items()}


def rows(page: str, title: str) -> dict[str, list[str]]:
    """The cells of a section's table, by its first column."""
    section = page.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return {cells[0]: cells[1:] for cells in lines}


def make_page(script: ModuleType, results: dict) -> str:
    runs = script.all_runs(load_train_config(CONFIG))
    return script.page(runs, results, tuple(script.STATISTICS.items()), "plot.svg")


def test_page_holds_mean_and_spread_of_what_is_finished(script: ModuleType) -> None:
    results = {"nafnet-1": SCORES, "nafnet-2": higher(0.2), "nafnet-3": SCORES}
    results |= {"unetmm-1": higher(-0.1), "unetmm-2": SCORES}
    page = make_page(script, results)
    table = rows(page, "Three seeds")
    assert table["nafnet"][:2] == ["3 of 3", "30.07 +- 0.10 / 29.07 +- 0.10 / 28.07 +- 0.10"]
    assert table["unetmm"][:2] == ["2 of 3", "29.95 +- 0.05 / 28.95 +- 0.05 / 27.95 +- 0.05"]
    assert table["unetmm - nafnet"][1] == "-0.15 +- 0.05 / -0.15 +- 0.05 / -0.15 +- 0.05"
    assert "UNet-- differs by -0.15 +- 0.05 dB" in page
    assert "**Missing: unetmm-3, unetmm, nafnet, scale-2" in page


def test_page_computes_the_skip_footprint_of_ours_and_of_the_paper(script: ModuleType) -> None:
    table = rows(make_page(script, {}), "Cost")
    assert [table[n][2:4] for n in ("ours, NAFNet", "ours, UNet--")] == [
        ["30", "-"],
        ["2", "-93.3 %"],
    ]
    assert table["NAFNet-32"][2] == "60" and table["NAFNet-32 as UNet--"][3] == "-93.3 %"


def test_short_runs_are_compared_with_the_first_of_their_section(script: ModuleType) -> None:
    results = {"unetmm-1": higher(9), "unetmm": SCORES, "scale-8": higher(0.25)}
    results |= {"tiny-mono": {"frozen": [1.0, 2.0, 3.0], "global": [1.0, 2.002, 2.9]}}
    page = make_page(script, results)
    table = rows(page, "Ablations")
    assert table["UNet--"][2] == "-" and table["E' at 1/8"][2] == "+0.25"
    assert table["E' at 1/2"][:3] == ["missing", "missing", "-"]
    assert rows(page, "Another body")["U-Net"][:2] == ["missing", "missing"]
    assert rows(page, "Frozen against global channel attention")["tiny-mono"][-1] == (
        "+0.000 / -0.002 / +0.100"
    )


def test_ablations_change_one_thing_and_bodies_are_comparable(script: ModuleType) -> None:
    runs = {r.name: r for r in script.all_runs(load_train_config(CONFIG))}
    assert len(runs) == 6 + 8 + 3
    ours = runs["unetmm"].config.net
    assert runs["unetmm-1"].config.net == ours and runs["unetmm-1"].config.steps == 12000
    for name in ("scale-2", "scale-8", "no-blocks", "no-image"):
        assert runs[name].config.net.skip_floats_per_px == ours.skip_floats_per_px, name
        assert runs[name].config.steps == runs["unetmm"].config.steps == 3000
    plain, bare, unetmm = (runs[n].config.net for n in ("unet", "unet-bare", "unet-unetmm"))
    assert 15 * bare.skip_floats_per_px == plain.skip_floats_per_px
    assert 1 < parameter_count(bare) / parameter_count(plain) < 1.03
    assert 1 < parameter_count(unetmm) / parameter_count(plain) < 1.25


def test_plot_shows_every_finished_run_once(script: ModuleType) -> None:
    runs = script.all_runs(load_train_config(CONFIG))
    results = {r.name: higher(i / 10) for i, r in enumerate(runs)}
    for found, circles in ({}, 0), ({"unet": SCORES}, 1), (results, len(runs) - 1):
        tree = ElementTree.fromstring(script.plot(runs, found))
        assert len([e for e in tree if e.tag.endswith("circle")]) == circles
    texts = [e.text for e in tree if e.tag.endswith("text")]
    assert texts.count("nafnet") == 1 and "E' at 1/8" in texts
    heights = [float(e.get("cy", "0")) for e in tree if e.tag.endswith("circle")]
    assert heights == sorted(heights, reverse=True), "a better run must lie higher"


def test_script_trains_measures_and_goes_on_where_it_was(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "eval/kodak24", "eval/mcmaster"):
        (tmp_path / folder).mkdir(parents=True)
        iio.imwrite(tmp_path / folder / "a.png", rng.integers(0, 256, (32, 40, 3), np.uint8))
    text = CONFIG.read_text().replace("../shared/data/train", str(tmp_path / "images"))
    smaller = {"width = 16": "width = 8", "patch_px = 80, batch = 8": "patch_px = 16, batch = 1"}
    for old, new in smaller.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "run.toml").write_text(text)
    results = tmp_path / "runs" / "ablate" / "results.json"
    results.parent.mkdir(parents=True)
    results.write_text(json.dumps({"unet": SCORES}))
    page = tmp_path / "docs" / "page.md"
    arguments = {"--runs": tmp_path / "runs", "--config": tmp_path / "run.toml", "--page": page,
                 "--data": tmp_path / "eval", "--sections": "bodies", "--steps": 2}  # fmt: skip
    command = ["x", *(str(part) for pair in arguments.items() for part in pair)]
    monkeypatch.setattr(sys, "argv", [*command, "--limit-s", "0"])
    assert script.main() == 75 and list(json.loads(results.read_text())) == ["unet"]
    monkeypatch.setattr(sys, "argv", command)
    assert script.main() == 0
    found = json.loads(results.read_text())
    assert list(found) == ["unet", "unet-bare", "unet-unetmm"] and found["unet"] == SCORES
    assert not (results.parent / "unet").exists(), "a finished run was trained again"
    assert 5 < found["unet-bare"]["kodak24"][0] < 30
    assert rows(page.read_text(), "Another body")["U-Net"][0] == "30.00 / 29.00 / 28.00"
    assert "circle" in page.with_suffix(".svg").read_text()
