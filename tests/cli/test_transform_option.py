"""`--transform`: how counts of photons are restored, said and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import denoise, one_error, pixels_of, run_ok


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """An image of few photons: four grounds of different brightness."""
    light = np.kron([[1, 4], [10, 25]], np.ones((80, 90)))
    path = tmp_path / "counts.tif"
    tifffile.imwrite(path, np.random.default_rng(0).poisson(light).astype(np.uint16))
    return path


def test_counts_are_said_and_reported(
    counts: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.json"
    given = counts, tmp_path / "a.tif", mono, "--report", report
    _, err = run_ok(denoise(*given), capsys)
    assert err.count("restored on a square-root scale") == 1
    told = json.loads(report.read_text())["counts"]["0.0"][0]
    assert told["transform"] == "anscombe" and told["gain"] == pytest.approx(1, abs=0.1)
    assert f"a photon is worth {told['gain']:.3g}" in err
    report.unlink()
    _, err = run_ok(
        denoise(counts, tmp_path / "b.tif", mono, "--transform", "none", "--report", report), capsys
    )
    assert "square-root" not in err
    assert json.loads(report.read_text())["counts"] == {}
    assert not np.array_equal(pixels_of(tmp_path / "a.tif"), pixels_of(tmp_path / "b.tif"))


def test_a_calibration_and_a_transform_are_refused(
    counts: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "c.json"
    run_ok(denoise(counts, tmp_path / "a.tif", mono, "--save-calibration", saved), capsys)
    asked = ("--calibration", saved, "--transform", "none")
    told = one_error(denoise(counts, tmp_path / "b.tif", mono, *asked), capsys, 2)
    assert "leave out one of --calibration and --transform" in told
