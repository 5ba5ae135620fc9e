"""Recipes of containers and conda agree with the project; they cannot be built here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from unetmm.version import __version__
from unetmm_cli.app import PANELS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMANDS = {command.__name__ for panel in PANELS.values() for command in panel}


@pytest.fixture
def recipe() -> dict[str, Any]:
    """The conda recipe, its template filled in."""
    text = (ROOT / "packaging" / "meta.yaml").read_text()
    version = re.search(r'set version = "(.*)"', text)
    assert version is not None
    filled = re.sub(r"{%.*%}", "", text).replace("{{ version }}", version[1])
    return dict(yaml.safe_load(filled))


def test_the_conda_recipe_asks_for_what_the_project_asks_for(recipe: dict[str, Any]) -> None:
    wanted = {d.replace("dask[array]", "dask-core") for d in PROJECT["dependencies"]}
    found = {need.replace(" ", "") for need in recipe["requirements"]["run"]}
    assert found == wanted | {f"python{PROJECT['requires-python']}"}
    assert __version__.startswith(recipe["package"]["version"])
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["build"]["entry_points"] == [f"unetmm = {PROJECT['scripts']['unetmm']}"]


@pytest.mark.parametrize("name", ["Dockerfile", "unetmm.def"])
def test_containers_install_set_up_and_run(name: str) -> None:
    text = (ROOT / "packaging" / name).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    content = "\n".join(lines)
    assert re.search(r"pip install --no-cache-dir \"/src", content)
    assert "UNETMM_CACHE_DIR=/opt/unetmm" in content
    called = re.findall(r"(?:^|\s)unetmm ([a-z]+)", content)
    assert "setup" in called and set(called) <= COMMANDS
    python = re.search(r"python:(\d+)\.(\d+)-slim", content)
    assert python is not None and (int(python[1]), int(python[2])) >= (3, 11)


def test_what_is_large_or_secret_stays_out_of_images() -> None:
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "runs"} <= set(left_out)


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")))
def test_workflows_call_what_there_is(path: Path) -> None:
    text = path.read_text()
    jobs = yaml.safe_load(text)["jobs"]
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set(re.findall(r"make ([a-z-]+)", text))
    for job in jobs.values():
        called |= set(job.get("strategy", {}).get("matrix", {}).get("target", ()))
        assert "timeout-minutes" in job
    assert called and called <= targets
    for script in re.findall(r"python (\S+\.py)", text):
        assert (ROOT / script).is_file()


def test_workflows_run_every_python_that_the_project_names() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["tests"]
    named = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c}
    assert set(matrix["strategy"]["matrix"]["python"]) == named
