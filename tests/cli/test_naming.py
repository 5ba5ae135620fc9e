"""A command line that names no output with -o has one all the same, or is told what to write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unetmm_cli.__main__ import run


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two images in the current folder."""
    monkeypatch.chdir(tmp_path)
    names = ["a.tif", "b.ome.tif"]
    for name in names:
        noisy = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)
        tifffile.imwrite(name, noisy)
    return names


FAST = ["--model", "tiny-mono", "--quiet"]


def test_an_output_lies_beside_the_only_image(
    images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", "a.tif", "--model", "tiny-mono"]) == 0
    assert "the output goes to a_denoised.tif" in capsys.readouterr().err
    assert run(["restore", "b.ome.tif", *FAST]) == 0
    assert Path("a_denoised.tif").exists() and Path("b_restored.ome.tif").exists()


def test_no_output_is_named_for_an_image_that_is_not_there(
    images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", "none.tif"]) == 1
    said = capsys.readouterr().err
    assert "no such file" in said and "none_denoised" not in said


def test_suffix_and_format_name_it_too(images: list[str]) -> None:
    assert run(["denoise", "a.tif", "--suffix", "_clean", "--format", "npy", *FAST]) == 0
    assert Path("a_clean.npy").exists()


def test_the_last_name_is_the_output(images: list[str]) -> None:
    assert run(["denoise", "a.tif", "c.ome.zarr", *FAST]) == 0
    assert run(["denoise", *images, "out/", *FAST]) == 0
    assert run(["denoise", *images, "new", *FAST]) == 0
    assert run(["denoise", "a.tif", "c.ome.zarr", *FAST]) == 0  # it is known for what it is
    for made in ("c.ome.zarr", "out/a.tif", "out/b.ome.tif", "new/a.tif"):
        assert Path(made).exists()


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["a.tif", "b.ome.tif"], "give -o FOLDER/"),
        (["a.tif", "b.ome.tif", "c.tif"], "give -o FOLDER/"),
        (["."], "give -o FOLDER/"),
        (["*.tif"], "give -o FOLDER/"),
        (["@list.txt"], "give -o FOLDER/"),
        (["-"], "give -o PATH"),
        (["https://nowhere.test/a.zarr"], "give -o PATH"),
    ],
)
def test_what_cannot_be_told_is_asked(
    words: list[str], remedy: str, images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    assert run(["denoise", *words]) == 2
    assert remedy in capsys.readouterr().err
    assert sorted(Path().iterdir()) == before


def test_several_images_do_not_become_a_folder_with_the_name_of_one(
    images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", *images, "-o", "x.tif"]) == 1
    assert "give a folder, as -o x/" in capsys.readouterr().err
    assert not Path("x.tif").exists()


def test_a_missing_image_is_told_as_such(
    images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", "missing.tif"]) == 1
    assert "missing.tif" in capsys.readouterr().err


def test_a_budget_without_a_unit_is_refused(
    images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", "a.tif", "--mem-budget", "4"]) == 2
    assert "write 4GB or 4MB" in capsys.readouterr().err


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "unetmm", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("unetmm ")
