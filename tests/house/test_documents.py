"""What README and docs/ name is there, and what they show runs."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from rasterio.transform import Affine

from unetmm_cli.__main__ import run
from unetmm_cli.app import PANELS, name_of

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {f"#{heading.replace(' ', '-')}" for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
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
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        for block in (text for language, text in blocks if not language):
            lines = (line.partition(" | ")[0] for line in block.splitlines())
            found += [shlex.split(line, comments=True) for line in lines if "unetmm " in line]
    return [words[words.index("unetmm") :] for words in found if "unetmm" in words]


def test_commands_that_are_shown_are_there() -> None:
    names = {name_of(command) for panel in PANELS.values() for command in panel}
    shown = {words[1] for words in commands()}
    assert len(shown) > 5
    assert {word for word in shown if not word.startswith("-")} <= names


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the first pages speak of, in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    photo = rng.normal(120, 12, (144, 192, 3)).clip(0, 255).astype(np.uint8)
    for folder in ("photos", "scans"):
        (tmp_path / folder).mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.png", "scans/c.png"):
        Image.fromarray(photo).save(tmp_path / name)
    cells = rng.poisson(30, (2, 96, 112)).astype(np.uint16)
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "Cy5"]}}
    tifffile.imwrite(tmp_path / "cells.tif", cells, metadata=names, ome=True)
    tifffile.imwrite(tmp_path / "scan.tif", np.tile(cells[0], (5, 5)))
    where = {"transform": Affine(10, 0, 500000, 0, -10, 4600000), "crs": "EPSG:32633"}
    bands = rng.normal(900, 40, (4, 160, 208)).astype(np.uint16)
    shape = {"height": 160, "width": 208, "count": 4, "dtype": "uint16"}
    with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", **shape, **where) as file:
        file.write(bands)
    shape |= {"count": 12, "nodata": 0}
    with rasterio.open(tmp_path / "sentinel.tif", "w", driver="GTiff", **shape, **where) as file:
        file.write(rng.integers(1, 9000, (12, 160, 208)).astype(np.uint16))
        for i in range(12):
            file.set_band_description(i + 1, f"B{i + 1:02}")
    return tmp_path


RUN = [
    ROOT / "README.md",
    ROOT / "docs/howto/preview.md",
    ROOT / "docs/howto/bands.md",
    *sorted(ROOT.glob("docs/start/*.md")),
]
"""Pages whose commands are run as they are written."""
SOURCE = ROOT / "docs/images/source"
SHOWN = {
    "photo.jpg": "photo_denoised.jpg",
    "cells.tif": "cells_dn.tif",
    "scene.tif": "scene_dn.tif",
}
"""Images that README shows before and after -> what its commands make of them."""


def check_session(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the command of a block, and find in what it prints what the block shows of that."""
    command, *expected = block.removeprefix("$ unetmm ").splitlines()
    code = run(shlex.split(command))
    shown = capsys.readouterr()
    assert code == 0, f"{command}: {shown.err}"
    lines = (shown.err + shown.out).splitlines()
    for line in expected:
        start, dots, _ = line.partition("...")
        found = [other for other in lines if other == line or (dots and other.startswith(start))]
        assert found, f"{command} prints {lines}, and README shows {line}"


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch.onnx
@pytest.mark.parametrize("page", RUN, ids=lambda p: p.stem)
def test_pages_run_as_they_are_written(
    page: Path, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if page.name == "README.md":
        for name in SHOWN:
            shutil.copy(SOURCE / name, in_folder)
    text = page.read_text("utf-8")
    shared: dict[str, object] = {}
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        if language == "python":
            exec(compile(block, page.name, "exec"), shared)  # noqa: S102 the page is ours
            continue
        if language == "console":
            check_session(block, capsys)
            continue
        for line in block.splitlines():
            line, _, target = line.partition(" > ")
            program, *words = shlex.split(line, comments=True) or ["pip"]
            if program == "pip":
                continue
            assert program == "unetmm"
            code = run(words)
            shown = capsys.readouterr()
            assert code == 0, f"{line}: {shown.err}"
            if target:
                (in_folder / target).write_text(shown.out)
    for name in re.findall(r"writes `(\w+\.\w+)`", text):
        assert (in_folder / name).exists(), name
    if page.name == "README.md":
        check_pictures(in_folder)


def check_pictures(folder: Path) -> None:
    """The pictures are those of what the commands of README have just written."""
    made = runpy.run_path(str(SOURCE.parent / "make_pictures.py"))
    for shown in made["PICTURES"]:
        path = SOURCE / shown.file
        with Image.open(SOURCE.parent / f"{path.stem}.png") as picture:
            there = np.asarray(picture, dtype=np.int16)
        drawn = made["picture"](shown, path, folder / SHOWN[shown.file])
        change = np.abs(np.asarray(drawn, dtype=np.int16) - there).mean()
        assert change < 0.5, "run python docs/images/make_pictures.py and look at them"


def test_the_reference_is_that_of_the_code() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))
    for name, make in made["PAGES"].items():
        page = ROOT / "docs" / "reference" / name
        assert page.read_text("utf-8") == make(), "run python docs/make_reference.py"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    listed = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in ROOT.glob("docs/**/*.md"):
        assert str(page.relative_to(ROOT / "docs")) in listed, "a page that no menu shows"
        assert (tmp_path / page.relative_to(ROOT / "docs").with_suffix(".html")).exists()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 66
