"""`unetmm preview`: a page or a picture of some crops, before and after, and what a run takes."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import BUDGET, HEIGHT, WIDTH, denoise, one_error, pixels_of, run_ok
from PIL import Image

from unetmm.io.image import Box
from unetmm.options import Options
from unetmm.run.preview import Wishes, preview_file
from unetmm_cli.display.preview.inline import show_inline, way_of
from unetmm_cli.display.preview.pictures import (
    difference_range,
    stretch_of,
    to_difference,
    to_picture,
)


def preview(source: Path, model: Path, *more: object) -> list[object]:
    return ["preview", source, "--model", model, "--mem-budget", BUDGET, *more]


def embedded(page: str) -> list[np.ndarray]:
    """Every picture of a page."""
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_a_page_shows_models_and_strengths_side_by_side(
    grey_tiff: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = preview(grey_tiff, mono, "--strength", 1, "--strength", "0.5", "--crop", "7,5,60,40")
    out, err = run_ok([*words, "--crop", "0,0,20,20"], capsys)
    page = grey_tiff.with_name("grey_preview.html")
    assert out == f"{page}\n" and "a full run takes about" in err
    text = page.read_text("utf-8")
    assert "http:" not in text and "https:" not in text and "src=" in text
    for words in ("mono, strength 1", "mono, strength 0.5", "Left 7, top 5, 60 x 40 px", "uint16"):
        assert words in text
    assert f"unetmm denoise {grey_tiff}" in text and "--mem-budget=2000000000" in text
    pictures = embedded(text)
    assert [p.shape for p in pictures] == [(40, 60)] * 5 + [(20, 20)] * 5
    options = Options(str(mono), budget_bytes=2 * 10**9)
    found = preview_file(grey_tiff, Wishes([Box(5, 7, 45, 67)]), options)
    stretch = stretch_of(found.before[0], None)
    np.testing.assert_array_equal(pictures[0], to_picture(found.before[0], stretch, None))
    shown = to_picture(found.takes[0].pixels[0], stretch, None)
    np.testing.assert_array_equal(pictures[1], shown)


def test_a_sheet_is_one_picture_and_an_older_preview_is_replaced(
    colour_png: Path, colour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "look.png"
    words = preview(colour_png, colour, "-o", target)
    assert run_ok(words, capsys)[0] == f"{target}\n"
    with Image.open(target) as first:
        assert first.mode == "RGB" and first.width > 3 * WIDTH and first.height > HEIGHT
        assert first.info["Software"].startswith("unetmm preview")
    run_ok([*words, "--crop", "1,2,3,4"], capsys)
    with Image.open(target) as second:
        assert second.size != first.size
    page = preview(colour_png, colour)
    run_ok(page, capsys)
    run_ok(page, capsys)


def test_what_is_no_preview_is_kept_unless_told_otherwise(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "notes.html"
    target.write_text("mine")
    words = preview(grey_tiff, mono, "-o", target)
    assert "is no preview; give --overwrite" in one_error(words, capsys)
    assert target.read_text() == "mine"
    run_ok([*words, "--overwrite"], capsys)
    assert "unetmm preview" in target.read_text("utf-8")
    for bad, text in (("look.tif", ".html or .png"), ("none/look.html", "folder must exist")):
        line = one_error(preview(grey_tiff, mono, "-o", tmp_path / bad), capsys)
        assert text in line
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "in.png")
    same = preview(tmp_path / "in.png", mono, "-o", tmp_path / "in.png", "--overwrite")
    assert "would overwrite the image" in one_error(same, capsys)


def test_json_tells_all_but_the_pixels(
    grey_tiff: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run_ok(preview(grey_tiff, mono, "--json", "--crop", "1,2,30,20"), capsys)
    content = json.loads(out)
    (crop,), (take,), (full,) = content["crops"], content["takes"], content["full_runs"]
    assert (crop["left"], crop["top"], crop["width"], crop["height"]) == (1, 2, 30, 20)
    assert take["model"] == full["model"] == "mono" and take["strength"] == 1
    assert full["projected_peak_bytes"] < 2 * 10**9 and full["estimated_s"] > 0
    assert Path(content["output"]).is_file()


def test_a_crop_that_cannot_be_is_one_line(
    grey_tiff: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = one_error(preview(grey_tiff, mono, "--crop", f"{WIDTH - 5},0,6,6"), capsys)
    assert f"{WIDTH} px wide and {HEIGHT} px high" in line
    for bad in ("1,2,3", "1,2,0,4", "a,b,c,d", "1.5,2,3,4"):
        assert "2000,1500,300,200" in one_error(
            preview(grey_tiff, mono, "--crop", bad), capsys, code=2
        )
    assert "from 0 to 1" in one_error(preview(grey_tiff, mono, "--strength", 2), capsys, code=2)
    assert not list(grey_tiff.parent.glob("*.html"))


def test_names_cannot_break_the_page(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a<b>&'\".tif"
    tifffile.imwrite(source, np.random.default_rng(0).integers(0, 99, (40, 50), dtype=np.uint16))
    run_ok(preview(source, mono, "-o", tmp_path / "p.html"), capsys)
    text = (tmp_path / "p.html").read_text("utf-8")
    assert "a<b>" not in text and "a&lt;b&gt;&amp;" in text


def test_pictures_before_and_after_have_the_same_stretch() -> None:
    before = np.arange(1000, dtype=np.uint16).reshape(20, 50, 1)
    stretch = stretch_of(before, None)
    assert 0 < stretch.low < 2 and 997 < stretch.high < 999 and "0.1 %" in stretch.in_words
    assert to_picture(before + 500, stretch, None).max() == 255
    byte = stretch_of(np.full((9, 9, 3), 200, np.uint8), None)
    assert (byte.low, byte.high) == (0, 255) and byte.in_words == "Values are shown as they are."
    dark = stretch_of(np.full((9, 9, 3), 20, np.uint8), None)
    assert (dark.low, dark.high) == (0, 20) and "Brightened" in dark.in_words


def test_gaps_are_black_and_influence_no_stretch() -> None:
    pixels = np.linspace(10, 20, 400, dtype=np.float32).reshape(20, 20, 1)
    pixels[:5] = np.nan
    pixels[5] = 1e36
    measured = np.ones((20, 20), bool)
    measured[:6] = False
    stretch = stretch_of(pixels, measured)
    assert 10 < stretch.low < stretch.high <= 20
    assert not to_picture(pixels, stretch, measured)[:6].any()
    after = pixels + np.float32(1)
    limit = difference_range(pixels, [pixels, after], measured)
    assert limit == pytest.approx(1, rel=1e-4)
    shown = to_difference(pixels, after, limit, measured)
    assert set(shown[:6].ravel()) == {128} and shown[6:].min() >= 254
    assert stretch_of(pixels, np.zeros((20, 20), bool)).high > 0


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "iTerm.app", "TMUX": "/tmp/x"}, None),
        ({"TERM": "screen", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_pictures_are_shown_only_where_a_terminal_can(
    environment: dict[str, str], way: str | None
) -> None:
    assert way_of(environment) == way


def test_a_terminal_gets_the_picture_and_a_pipe_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.setenv("KITTY_WINDOW_ID", "1")
    monkeypatch.delenv("TMUX", raising=False)
    show_inline(lambda: b"x" * 9000)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_inline(lambda: b"x" * 9000)
    sent = capsys.readouterr().out
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
    assert [keys for keys, _ in parts] == ["f=100,a=T,m=1", "m=1", "m=0"][: len(parts)]
    assert base64.b64decode("".join(text for _, text in parts)) == b"x" * 9000


def test_denoise_writes_a_crop_of_the_whole_run(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ok(denoise(grey_tiff, tmp_path / "whole.tif", mono), capsys)
    run_ok(denoise(grey_tiff, tmp_path / "part.tif", mono, "--crop", "13,9,60,50"), capsys)
    expected = pixels_of(tmp_path / "whole.tif")[9:59, 13:73]
    np.testing.assert_array_equal(pixels_of(tmp_path / "part.tif"), expected)
    line = one_error(denoise(grey_tiff, tmp_path / "no.tif", mono, "--crop", "90,0,9,9"), capsys)
    assert "does not lie inside" in line
    bad = denoise(grey_tiff, tmp_path / "no.tif", mono, "--crop", "1,2,3")
    assert "left,top,width,height" in one_error(bad, capsys, code=2)


def test_plan_and_slurm_take_a_crop(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET, "--json"]
    whole = json.loads(run_ok(words, capsys)[0])
    part = json.loads(run_ok([*words, "--crop", "0,0,20,16"], capsys)[0])
    assert part["estimated_s"] <= whole["estimated_s"]
    assert part["plan"]["strip_width_px"] < whole["plan"]["strip_width_px"]
    script = ["slurm", *denoise(grey_tiff, tmp_path / "o.ome.zarr", mono)[1:]]
    assert "--crop=13,9,60,50" in run_ok([*script, "--crop", "13,9,60,50"], capsys)[0]
