"""Subjects of commits are short."""

from pathlib import Path

import pytest
from commit_subject import main


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x" * 72, 0),
        ("x" * 73, 1),
        ("Read palettes\n\n" + "why " * 40, 0),
        ("", 1),
        ("# a comment of git", 1),
    ],
)
def test_a_subject_has_1_to_72_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], message: str, code: int
) -> None:
    path = tmp_path / "COMMIT_EDITMSG"
    path.write_text(message)
    assert main(str(path)) == code
    assert ("give 1 to 72" in capsys.readouterr().err) == bool(code)
