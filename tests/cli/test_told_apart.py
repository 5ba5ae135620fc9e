"""Outputs of images of one name, or of arrays of one file, have names of their own."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from unetmm_cli.__main__ import run

FAST = ["--model", "tiny-mono", "--mem-budget", "4GB"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in/ with a photo in three formats, in the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8))
    for suffix in ("bmp", "png", "webp"):
        photo.convert("RGB").save(tmp_path / "in" / f"p.{suffix}")
    return tmp_path


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_photos_of_one_name_keep_their_extension(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", "in", "-o", "out/", *FAST]) == 0
    assert made(folder / "out") == ["p.png", "p_bmp.png", "p_webp.png"]
    said = capsys.readouterr().err
    assert "images of the same name: their outputs are told apart as p_bmp.png, p_webp.png" in said
    for _ in range(2):  # beside the images, and outputs are no inputs
        assert run(["denoise", "in", "-o", "in", "--suffix", "_d", *FAST]) == 0
    outputs = ["p_bmp_d.png", "p_d.png", "p_webp_d.png"]
    assert made(folder / "in") == sorted(["p.bmp", "p.png", "p.webp", *outputs])
    assert "3 skipped" in capsys.readouterr().out


def test_one_photo_alone_is_named_as_ever(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["denoise", "in/p.bmp", "in/p.png", "-o", "out/", "--format", "tiff", *FAST]) == 0
    assert made(folder / "out") == ["p_bmp.tif", "p_png.tif"]
    assert run(["denoise", "in/p.webp", "-o", "two/", "--suffix", "_d", *FAST]) == 0
    assert made(folder / "two") == ["p_d.png"]


def test_a_watched_folder_tells_them_apart_too(folder: Path) -> None:
    assert run(["denoise", "in", "-o", "out", "--watch-for", "0.2", *FAST]) == 0
    assert len(made(folder / "out")) == 3


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An HDF5 with two arrays of the same name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("twins.h5", "w") as file:
        for name in ("a/raw", "b/raw"):
            file[name] = np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)
    return tmp_path


def test_arrays_are_named_by_their_whole_path(
    twins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        assert run(["denoise", f"twins.h5/{name}/raw", *FAST]) == 0
        out, err = capsys.readouterr()
        assert f"the output goes to twins_{name}_raw_denoised.ome.zarr; -o" in err
        assert out == f"twins_{name}_raw_denoised.ome.zarr\n"
    assert run(["denoise", "twins.h5/a/raw", "twins.h5/b/raw", "-o", "out/", *FAST]) == 0
    assert made(twins / "out") == ["twins_a_raw.ome.zarr", "twins_b_raw.ome.zarr"]


def test_lines_on_all_images_of_a_file_say_which(
    twins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["denoise", "twins.h5", "--series", "all", "-o", "out/", "--report", "r.json", *FAST]
    assert run(words) == 0
    err = capsys.readouterr().err
    assert "done: twins.h5 --series 0 -> out/twins_s0.ome.zarr" in err
    assert [entry["series"] for entry in json.loads(Path("r.json").read_text())] == [0, 1]


def test_an_image_that_is_opened_twice_is_doubted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((40, 50, 4), np.uint8))
    assert run(["plan", str(tmp_path / "a.npy"), "--mem-budget", "4GB"]) == 0
    assert capsys.readouterr().err.count("colours and opacity, which is left as it is") == 1


@pytest.mark.parametrize(("more", "is_said"), [([], True), (["--same-model"], False)])
def test_slices_in_files_of_their_own_are_pointed_to_one_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], is_said: bool
) -> None:
    for i in range(2):
        (tmp_path / f"{i}.dcm").write_bytes(b"no DICOM")
    assert run(["denoise", str(tmp_path), "-o", f"{tmp_path}/out/", *more]) == 3
    assert ("--same-model gives the slices" in capsys.readouterr().err) == is_said
