"""The citation file names the version that the package has."""

import re
from pathlib import Path

from unetmm.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_the_citation_names_this_version_and_a_day_of_the_changelog() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    facts = dict(re.findall(r'^(version|date-released): "?([^"\n]+)"?$', citation, re.MULTILINE))
    assert facts["version"] == __version__
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{__version__}] - {facts['date-released']}\n" in changelog
