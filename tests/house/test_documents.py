"""What README and docs/ name is there, and what they show runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from unetmm_cli.app import PANELS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {f"#{heading.replace(' ', '-')}" for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text("utf-8")):
        if "://" in target:
            continue
        found = (page.parent / target).resolve()
        assert found.exists(), f"{page.name}: {target}"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{page.name}: {target}{anchor}"


def commands() -> list[list[str]]:
    """Every command line of ours in README and docs, as words."""
    found = []
    for page in (p for p in PAGES if p.name != "CHANGELOG.md"):
        for block in re.findall(r"^```\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
            lines = (line.partition(" | ")[0] for line in block.splitlines())
            found += [shlex.split(line, comments=True) for line in lines if "unetmm " in line]
    return [words[words.index("unetmm") :] for words in found if "unetmm" in words]


def test_commands_that_are_shown_are_there() -> None:
    names = {command.__name__ for panel in PANELS.values() for command in panel}
    shown = {words[1] for words in commands()}
    assert len(shown) > 5
    assert shown <= names


def test_the_snippet_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    exec(compile(snippet, "README.md", "exec"), {})  # noqa: S102 the README is ours
    assert "NetConfig" in capsys.readouterr().out


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 90
