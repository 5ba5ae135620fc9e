"""`unetmm trust`: a verdict, figures with what they mean, and the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tifffile
from command_line import denoise, one_error, run_ok

from unetmm.quality.trust.report import FigureRow
from unetmm.quality.trust.trust import LayerTrust
from unetmm_cli.display import trust as display

RNG = np.random.default_rng(3)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    y, x = np.mgrid[:160, :200]
    clean = 1000 + 300 * np.sin(y / 9) * np.sin(x / 14)
    noisy = clean + RNG.normal(0, 40, clean.shape)
    for name, values in (("in", noisy), ("out", clean)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.rint(values).astype(np.uint16))
    return tmp_path / "in.tif", tmp_path / "out.tif"


def test_a_verdict_comes_first_then_figures(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run_ok(["trust", *pair], capsys)
    assert out.startswith("GOOD: ") and err == ""
    for words in ("noise removed", "shift", "bias by brightness", "finest detail, decorrelation"):
        assert words in out
    assert "Example: unetmm trust" in run_ok(["trust", "--help"], capsys)[0]


def test_json_has_the_verdict_and_every_figure(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trust", *pair, "--reference", pair[1], "--mem-budget", "2GB", "--json"]
    facts = json.loads(run_ok(words, capsys)[0])
    assert facts["verdict"] == "good" and facts["share"] == 1 and facts["output"] == str(pair[1])
    (layer,) = facts["layers"]
    assert layer["reference"]["error_after"] == 0 and len(layer["figures"]["deciles"]) > 5
    assert layer["figures"]["shift"]["error_px"] < 0.1


def test_a_part_is_compared_with_that_part_of_the_input(
    pair: tuple[Path, Path], mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = pair[0].with_name("part.tif")
    run_ok(denoise(pair[0], part, mono, "--crop", "13,9,140,150"), capsys)
    facts = json.loads(run_ok(["trust", pair[0], part, "--json"], capsys)[0])
    assert "shifted" not in {one["code"] for one in facts["findings"]}
    line = one_error(["trust", pair[1], part.with_name("none.tif")], capsys)
    assert "none.tif" in line
    tifffile.imwrite(part.with_name("small.tif"), np.zeros((20, 30), np.uint16))
    line = one_error(["trust", pair[0], part.with_name("small.tif")], capsys)
    assert "200 x 160 px" in line and "30 x 20 px" in line


def test_figures_that_only_some_channels_have_stand_beside_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They once moved all that came below them up by a row."""
    both = FigureRow("shift", "0 px", "where it is")
    strength = FigureRow("strength", "1.00", "how strong it is")
    told: dict[str, list[FigureRow]] = {"GFP": [both], "DAPI": [strength, both]}
    monkeypatch.setattr(display, "rows_of", told.__getitem__)
    found = list(display.rows_side_by_side(cast("list[LayerTrust]", ["GFP", "DAPI"])))
    assert found == [
        ("strength", ["not told", "1.00"], "how strong it is"),
        ("shift", ["0 px", "0 px"], "where it is"),
    ]
