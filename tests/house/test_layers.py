"""The contract of imports in pyproject.toml refuses what docs/explain/architecture.md forbids."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("unetmm", "unetmm_cli", "unetmm_napari")
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

PLAIN = "\nimport {module}\n"
IN_A_FUNCTION = "\ndef late() -> None:\n    import {module}\n"
FOR_TYPES = "\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import {module}\n"


def copy_sources(folder: Path) -> None:
    """Copy the packages' sources and the contract."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)


def lint(folder: Path) -> tuple[int, str]:
    """Exit code and output of import-linter on a folder with packages and contract."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def unspoiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of the tree as it is."""
    folder = tmp_path_factory.mktemp("unspoiled")
    copy_sources(folder)
    return lint(folder)[1]


@pytest.mark.parametrize(
    ("importer", "imported", "how", "line"),
    [
        # Each kind of import counts.
        ("sizes", "unetmm.plan.search", PLAIN, "unetmm.sizes -> unetmm.plan.search"),
        ("sizes", "unetmm.plan.search", IN_A_FUNCTION, "unetmm.sizes -> unetmm.plan.search"),
        ("sizes", "unetmm.plan.search", FOR_TYPES, "unetmm.sizes -> unetmm.plan.search"),
        # Each contract holds.
        ("errors", "unetmm_cli.app", PLAIN, "unetmm.errors -> unetmm_cli.app"),
        ("io.open", "unetmm.nets.config", PLAIN, "unetmm.io.open -> unetmm.nets.config"),
        ("plan.search", "torch", IN_A_FUNCTION, "unetmm.plan.search -> torch"),
        ("api", "rich", PLAIN, "unetmm.api -> rich"),
        (
            "engine.torch.net",
            "unetmm.engine.cpu.stream",
            PLAIN,
            "unetmm.engine.torch.net -> unetmm.engine.cpu.stream",
        ),
        ("nets.constants", "unetmm.nets.blocks", FOR_TYPES, ".constants -> .blocks"),
    ],
)
def test_a_forbidden_import_is_refused(
    tmp_path: Path, unspoiled: str, importer: str, imported: str, how: str, line: str
) -> None:
    copy_sources(tmp_path)
    module = tmp_path.joinpath("unetmm", *importer.split(".")).with_suffix(".py")
    module.write_text(module.read_text("utf-8") + how.format(module=imported), "utf-8")
    code, output = lint(tmp_path)
    assert code == 1
    assert line in output, output
    assert line not in unspoiled, "the tree as it is breaks the contract already"


def test_a_module_without_a_layer_is_refused(tmp_path: Path, unspoiled: str) -> None:
    copy_sources(tmp_path)
    (tmp_path / "unetmm" / "utils.py").touch()
    code, output = lint(tmp_path)
    assert code == 1
    assert "utils" in output and "utils" not in unspoiled, output


def test_no_module_imports_a_package_that_it_lies_in() -> None:
    """Circles through an `__init__`, the only ones that the contract does not see."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    assert graph.modules
    upwards = [
        f"{importer} -> {package}"
        for importer in graph.modules
        for package in graph.find_modules_directly_imported_by(importer)
        if importer.startswith(f"{package}.")
    ]
    assert not upwards


def test_the_page_about_the_architecture_shows_the_layers_of_the_contract() -> None:
    page = (ROOT / "docs" / "explain" / "architecture.md").read_text("utf-8")
    shown = page.partition("## Who may import whom")[2].split("```")[1].split("\n")[1:-1]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    packages, rooms = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    assert shown == [packages[0], *(room.replace("(", "").replace(")", "") for room in rooms)]
