"""A command line that is wrong is one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import one_error

BAD_USAGE = [
    ("unit", ["--mem-budget", "4XB"], "4XB"),
    ("no size", ["--mem-budget", "lots"], "512MB, 4GB"),
    ("zero", ["--mem-budget", "0"], "is not a memory size"),
    ("range", ["--range", "5"], "lo,hi"),
    ("empty range", ["--range", "5,5"], "lo < hi"),
    ("endless range", ["--range", "0,inf"], "lo,hi"),
    ("strength", ["--strength", "1.5"], "from 0 to 1"),
    ("strength NaN", ["--strength", "nan"], "from 0 to 1"),
    ("format", ["--format", "gif"], "gif"),
    ("suffix", ["--suffix", "/../x"], "names a folder"),
    ("both", ["--range", "0,9", "--calibration", "c.json"], "one of --calibration and --range"),
    ("cores", ["--cores", "-1"], "--cores"),
    ("unknown option", ["--tile", "7"], "--tile"),
]


@pytest.mark.parametrize(("note", "more", "text"), BAD_USAGE, ids=[b[0] for b in BAD_USAGE])
def test_bad_usage_is_one_line_and_exits_with_2(
    note: str, more: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = one_error(["denoise", "a.tif", "-o", tmp_path / "b.tif", *more], capsys, code=2)
    assert text in line and "unetmm denoise --help" in line


def test_plan_has_no_options_for_files_that_it_does_not_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--report", "--save-calibration"):
        line = one_error(["plan", "a.tif", option, tmp_path / "f.json"], capsys, code=2)
        assert f"No such option: {option}" in line


def test_unknown_command_and_missing_input_exit_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "shrink" in one_error(["shrink"], capsys, code=2)
    assert "INPUT" in one_error(["denoise"], capsys, code=2)
