"""The log of a training run and its picture."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio

from unetmm.train.curve import SIZE_PX, draw_curve, ticks
from unetmm.train.history import Row, append_row, read_rows, total_seconds


def test_log_keeps_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    rows = [Row(100, 30.125, 10.0), Row(200, 31.5, 20.5, 29.25), Row(200, 31.5, 4.0)]
    for row in rows:
        append_row(path, row)
    assert read_rows(path) == rows and read_rows(tmp_path / "none.csv") == []
    assert total_seconds(rows) == 24.5
    path.write_text("100,30.125,10.0\n")  # as old runs have it
    assert read_rows(path) == rows[:1]


def test_curve_shows_training_and_validation(tmp_path: Path) -> None:
    rows = [Row(i, 20 + i / 10, 0.0, 25.0 if i % 20 == 0 else None) for i in range(1, 100)]
    draw_curve(rows, tmp_path / "curve.png", "test")
    pixels = iio.imread(tmp_path / "curve.png")
    assert pixels.shape == (SIZE_PX[1], SIZE_PX[0], 3)
    for colour in ((0x9D, 0xB8, 0xD9), (0xC0, 0x39, 0x2B)):
        assert (pixels == colour).all(2).sum() > 300
    draw_curve([], tmp_path / "empty.png", "test")
    assert not (tmp_path / "empty.png").exists()
    assert len(ticks(30, 30)) == 2
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100] and ticks(31.2, 33.9)[0] <= 31.2
