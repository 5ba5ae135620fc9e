"""The citation file names the newest release, which the package is or is on the way beyond."""

import re
from pathlib import Path

from unetmm.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_the_citation_names_the_newest_release() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    facts = dict(re.findall(r'^(version|date-released): "?([^"\n]+)"?$', citation, re.MULTILINE))
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\] - (\S+)$", changelog, re.MULTILINE)
    assert newest is not None
    assert (facts["version"], facts["date-released"]) == newest.groups()
    assert __version__ == newest[1] or __version__.endswith(".dev0")
