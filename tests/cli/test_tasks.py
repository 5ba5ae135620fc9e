"""`unetmm upscale` and `deblur`: their models, names of outputs, refusals, plans, previews."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import lively_model
from PIL import Image

from unetmm.models.weights import load_model, save_model
from unetmm.nets.config import NetConfig
from unetmm_cli.__main__ import run

PIXELS = np.random.default_rng(0).integers(0, 4000, (60, 70), np.uint16)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image, and models of three tasks that change nothing, in the current folder."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", PIXELS, metadata={"axes": "YX"})
    for name, task, scale in (("up3", "upscale", 3), ("sharp", "deblur", 1), ("dn", "denoise", 1)):
        config = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=scale)
        zeros = {k: 0 * v for k, v in lively_model(config).tensors.items()}
        save_model(tmp_path / f"{name}.safetensors", config, zeros, {"task": task})
    return tmp_path


def picture(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image, float)


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(words) in (1, 2)  # a run that fails, or options that do not go together
    return capsys.readouterr().err


def test_outputs_are_named_by_what_was_done(folder: Path) -> None:
    assert run(["upscale", "a.tif", "--model", "up3.safetensors", "--quiet"]) == 0
    assert run(["deblur", "a.tif", "--model", "sharp.safetensors", "--quiet"]) == 0
    np.testing.assert_array_equal(
        tifffile.imread("a_upscaled.tif"), PIXELS.repeat(3, 0).repeat(3, 1)
    )
    np.testing.assert_array_equal(tifffile.imread("a_deblurred.tif"), PIXELS)


def test_models_scales_and_tasks_go_together(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    up, dn = "up3.safetensors", "dn.safetensors"
    found = error_of(["upscale", "a.tif", "--model", up, "--scale", "2"], capsys)
    assert "model up3 enlarges 3 times, not 2 times" in found
    found = error_of(["upscale", "a.tif", "--scale", "8"], capsys)
    assert "no model to upscale 8 times; there is one for 2 and 4 times" in found
    assert "run it with unetmm denoise" in error_of(["upscale", "a.tif", "--model", dn], capsys)
    assert "run it with unetmm upscale" in error_of(["denoise", "a.tif", "--model", up], capsys)
    assert "run it with unetmm upscale" in error_of(["deblur", "a.tif", "--model", up], capsys)
    assert "auto-clean" in error_of(["deblur", "a.tif", "--model", "auto-clean"], capsys)
    assert not list(folder.glob("a_*"))


def test_plan_preview_and_reports_know_larger_outputs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "a.tif", "--model", "up3.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == "a_upscaled.tif"
    words = ["preview", "a.tif", "--model", "up3.safetensors", "--crop", "5,6,30,20"]
    assert run([*words, "-o", "p.png"]) == 0
    with Image.open("p.png") as sheet:
        assert sheet.size[0] > 3 * 60
    capsys.readouterr()
    assert run([*words, "-o", "p.html", "--json"]) == 0
    command = json.loads(capsys.readouterr().out)["full_runs"][0]["command"]
    assert command.startswith("unetmm upscale a.tif -o a_upscaled.tif")
    options = ["--model", "up3.safetensors", "--report", "r.json", "--quiet"]
    assert run(["upscale", "a.tif", *options]) == 0
    report = json.loads(Path("r.json").read_text())
    assert report["megapixels"] == pytest.approx(9 * 60 * 70 / 1e6)
    assert run(["verify", "a_upscaled.tif"]) == 0
    assert run(["upscale", "a.tif", *options]) == 0  # finished already


def test_hot_pixels_stay_unless_they_are_to_be_replaced(folder: Path) -> None:
    hot = np.full((64, 64), 1000, np.uint16) + PIXELS[:1, :64] // 200
    hot[30, 40] = 60000
    tifffile.imwrite("hot.tif", hot)
    options = ["--model", "up3.safetensors", "--quiet"]
    assert run(["upscale", "hot.tif", "kept.tif", *options]) == 0
    assert (tifffile.imread("kept.tif")[90:93, 120:123] == 60000).all()
    assert run(["upscale", "hot.tif", "gone.tif", *options, "--outliers", "replace"]) == 0
    assert tifffile.imread("gone.tif").max() < 2000


def test_folders_and_pipes(folder: Path) -> None:
    (folder / "many").mkdir()
    for name in "bc":
        tifffile.imwrite(f"many/{name}.tif", PIXELS)
    options = ["--model", "up3.safetensors", "--quiet"]
    assert run(["upscale", "many/", "-o", "large/", *options]) == 0
    assert sorted(p.name for p in (folder / "large").iterdir()) == ["b.tif", "c.tif"]
    assert tifffile.imread("large/b.tif").shape == (180, 210)


@pytest.mark.parametrize(("name", "scale"), [("upscale-x2", 2), ("upscale-x4", 4), ("deblur", 1)])
def test_the_zoo_has_a_model_for_each_task(name: str, scale: int) -> None:
    model = load_model(name)
    assert model.config.output_scale == scale and model.config.in_channels == 1
    assert model.task == name.partition("-")[0] and "commercial use allowed" in str(model.card)


def test_real_models_sharpen_and_enlarge(folder: Path) -> None:
    y, x = np.mgrid[:96, :96]
    disk = np.where((x - 48) ** 2 + (y - 48) ** 2 < 30**2, 200.0, 40.0)
    small = disk.reshape(48, 2, 48, 2).mean((1, 3)).round().astype(np.uint8)
    Image.fromarray(small).save("disk.png")
    assert run(["upscale", "disk.png", "--quiet"]) == 0
    large = picture("disk_upscaled.png")
    simple = np.asarray(Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC), float)
    assert np.square(large - disk).mean() < 0.8 * np.square(simple - disk).mean()
    soft = disk.copy()
    for axis in (0, 1):
        soft = sum(np.roll(soft, k, axis) for k in (-1, 0, 1)) / 3
    Image.fromarray(soft.round().astype(np.uint8)).save("soft.png")
    assert run(["deblur", "soft.png", "--quiet"]) == 0
    sharp = picture("soft_deblurred.png")
    assert np.square(sharp - disk).mean() < 0.8 * np.square(soft - disk).mean()


def test_larger_and_sharper_outputs_are_shown_and_not_judged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["upscale", "a.tif", "--model", "up3.safetensors", "--quiet"]) == 0
    assert "unetmm compare shows both" in error_of(["trust", "a.tif", "a_upscaled.tif"], capsys)
    assert run(["compare", "a.tif", "a_upscaled.tif", "-o", "c.html"]) == 0
    assert "the output was enlarged" in capsys.readouterr().err
    page = Path("c.html").read_text()
    assert "Histogram" in page and "Power by frequency" not in page
    assert run(["deblur", "a.tif", "sharp.tif", "--quiet"]) == 0
    assert "is meant to" in error_of(["trust", "a.tif", "sharp.tif"], capsys)
    assert run(["compare", "a.tif", "sharp.tif", "-o", "s.html", "--json"]) == 0
    assert "model deblur changes more" in json.loads(capsys.readouterr().out)["not_judged"]
