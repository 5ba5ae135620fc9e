"""The page of the experiment NAFNet against UNet-- is made of any finished runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCORES = {"kodak24": [30.0, 29.0, 28.0], "mcmaster": [31.0, 30.0, 29.0]}


def test_page_holds_mean_and_spread_of_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import compare_skips

    from unetmm.train.config import load_train_config

    runs = compare_skips.all_runs(load_train_config(ROOT / "training" / "compare.toml"))
    better = {name: [db + 0.2 for db in values] for name, values in SCORES.items()}
    results = {"nafnet-1": SCORES, "nafnet-2": better, "unetmm-1": SCORES}
    page = compare_skips.page(runs, results)
    assert "2 of 3 nafnet and 1 of 3 unetmm" in page
    assert "| nafnet | 30.10 +- 0.10 / 29.10 +- 0.10 / 28.10 +- 0.10 |" in page
    costs = [line.split(" | ") for line in page.splitlines() if line.count(" | ") == 5]
    assert [row[0] for row in costs] == ["| net", "| nafnet", "| unetmm"]
    held = {row[0]: float(row[3]) for row in costs[1:]}
    assert held["| unetmm"] / held["| nafnet"] == pytest.approx(1 - 0.933, abs=0.001)
    sys.modules.pop("compare_skips")
