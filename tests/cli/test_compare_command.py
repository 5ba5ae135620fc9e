"""`unetmm compare`: a page with both images at every zoom, and what to make of them."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from browser import CHROMIUM, Browser
from command_line import denoise, one_error, run_ok
from PIL import Image

from unetmm.io.array import ArraySource, array_info
from unetmm.quality.trust.pair import Pair
from unetmm_cli.display.compare import making as command
from unetmm_cli.display.compare.build import Chosen, build
from unetmm_cli.display.compare.charts import Axes, Curve, chart
from unetmm_cli.display.compare.pyramid import TILE_PX, EmbeddedTiles, Pyramid, tile_names
from unetmm_cli.display.compare.values import Shades
from unetmm_cli.display.preview.pictures import (
    Stretch,
    difference_range,
    stretch_of,
    to_difference,
    to_picture,
)

HEIGHT, WIDTH = 150, 203


AXE = os.environ.get("UNETMM_AXE", "")
"""Path of axe.min.js of the npm package axe-core, if accessibility is to be checked too."""


def make_pair(folder: Path, name: str = "scan") -> tuple[Path, Path]:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    clean = 1000 + 300 * np.sin(y / 9) * np.sin(x / 14)
    for ending, noise in (("", 40), ("_dn", 4)):
        pixels = np.rint(clean + rng.normal(0, noise, clean.shape)).astype(np.uint16)
        tifffile.imwrite(folder / f"{name}{ending}.tif", pixels)
    return folder / f"{name}.tif", folder / f"{name}_dn.tif"


def tiles_of(page: str) -> dict[str, Any]:
    """What the script of a page knows of its tiles."""
    found = re.search(r"^const tiles = (.*);$", page, re.MULTILINE)
    assert found is not None
    return json.loads(found[1])


def test_a_small_pair_is_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = make_pair(tmp_path)
    out, err = run_ok(["compare", before, after], capsys)
    page = tmp_path / "scan_dn_compare.html"
    assert out == f"{page}\n" and "GOOD" in err and not page.with_name("x_files").exists()
    text = page.read_text("utf-8")
    body = re.sub(r"<script>.*?</script>|<pre.*?</pre>", "", text, flags=re.S)
    assert "http" not in body.replace("http-equiv", "") and "src=" not in body
    for words in ("Histogram", "Values along row 75", "Power by frequency", "does not say how"):
        assert words in text
    tiles = tiles_of(text)
    names = [n for name in tiles["names"] for n in tile_names(name, HEIGHT, WIDTH)]
    assert sorted(tiles["embedded"]) == sorted(names)
    content = tiles["embedded"][f"before/{tiles['last']}/0_0"].partition(",")[2]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    pixels = [tifffile.imread(path) for path in (before, after)]
    sources = [ArraySource(v, array_info(v.shape, v.dtype, "YX")) for v in pixels]
    built = build(Pair.of(*sources), Chosen((0, 0, 0), (0, 0, 0)), 3, EmbeddedTiles(), None)
    expected = to_picture(pixels[0][..., None], built.shades.stretch, None)
    assert np.abs(shown.astype(int) - expected).max() <= 1
    assert built.histograms.sum() == 2 * HEIGHT * WIDTH and built.profile.row == 3
    np.testing.assert_array_equal(built.profile.before, pixels[0][3])


def test_tiles_of_a_large_pair_lie_beside_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "EMBEDDED_PX", 1000)
    before, after = make_pair(tmp_path)
    page = tmp_path / "report.html"
    words = ["compare", before, after, "-o", page, "--row", 7, "--mem-budget", "2GB", "--json"]
    facts = json.loads(run_ok(words, capsys)[0])
    assert facts["page"] == str(page) and facts["verdict"] == "good"
    tiles = tiles_of(page.read_text("utf-8"))
    assert tiles["embedded"] is None and tiles["folder"] == "report_files"
    for name in (n for one in tiles["names"] for n in tile_names(one, HEIGHT, WIDTH)):
        with Image.open(tmp_path / "report_files" / f"{name}.jpg") as tile:
            assert tile.width <= TILE_PX
    run_ok(words, capsys)  # an older page and its tiles are replaced
    monkeypatch.undo()
    run_ok(words, capsys)
    assert not (tmp_path / "report_files").exists()


def test_what_is_no_comparison_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = make_pair(tmp_path)
    page, folder = tmp_path / "mine.html", tmp_path / "mine_files"
    words = ["compare", before, after, "-o", page]
    page.write_text("mine")
    assert "is no comparison; give --overwrite" in one_error(words, capsys)
    folder.mkdir()
    assert "holds no tiles of a comparison" in one_error([*words, "--overwrite"], capsys)
    folder.rmdir()
    run_ok([*words, "--overwrite"], capsys)
    assert "name it .html" in one_error([*words[:-1], tmp_path / "a.png"], capsys)
    assert "there are 1" in one_error([*words, "--channel", 1], capsys)
    assert "has 150 rows" in one_error([*words, "--row", HEIGHT], capsys)


def test_colours_gaps_and_records_are_shown(
    colour_png: Path, colour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tif"
    run_ok(denoise(colour_png, out, colour), capsys)
    run_ok(["compare", colour_png, out], capsys)
    text = (tmp_path / "out_compare.html").read_text("utf-8")
    assert ">red<" in text and "<dt>strength</dt>" in text
    values = np.random.default_rng(0).normal(size=(2, 60, 70)).astype(np.float32)
    values[:, 10:20] = np.nan
    for name, film in (("a<b>&", values), ("c", values)):
        tifffile.imwrite(tmp_path / f"{name}.tif", film, metadata={"axes": "CYX"}, ome=True)
    words = ["compare", tmp_path / "a<b>&.tif", tmp_path / "c.tif", "--channel", 1]
    run_ok([*words, "-o", tmp_path / "p.html"], capsys)
    text = (tmp_path / "p.html").read_text("utf-8")
    assert "a<b>" not in text and "a&lt;b&gt;&amp;" in text
    assert "Pixels without a measurement are black." in text and "channel 1" in text


@pytest.mark.parametrize("rows", [2, 64, 1000])
@pytest.mark.parametrize("shape", [(1, 1), (513, 1300, 3), (1023, 7)])
def test_tiles_do_not_depend_on_how_rows_come(shape: tuple[int, ...], rows: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    found: dict[str, np.ndarray] = {}
    pyramid = Pyramid("p", shape[0], shape[1], found.__setitem__)
    for y in range(0, shape[0], rows):
        pyramid.add(picture[y : y + rows])
    pyramid.close()
    assert sorted(found) == sorted(tile_names("p", *shape[:2]))
    last = max(int(name.split("/")[1]) for name in found)
    top = np.concatenate([found[f"p/{last}/0_{i}"] for i in range(-(-shape[0] // TILE_PX))])
    np.testing.assert_array_equal(top, picture[:, :TILE_PX])
    first = found[min(found, key=lambda name: int(name.split("/")[1]))]
    assert first.mean() == pytest.approx(picture.mean(), abs=0.6)


def test_charts_leave_out_what_is_no_number() -> None:
    places = np.arange(4, dtype=np.float64)
    values = np.array([1, np.nan, 0, 100.0])
    for is_log in (False, True):
        text = chart("T<", places, [Curve("before", values)], Axes("x", "y", is_log))
        assert "nan" not in text and "T&lt;" in text and 'role="img"' in text
    assert "<polyline" in chart("T", places, [Curve("after", np.zeros(4))], Axes("x", "y"))


def barriers_of(browser: Browser) -> list[str]:
    """What axe-core finds that keeps people from using the page at hand."""
    browser.send("Runtime.evaluate", expression=Path(AXE).read_text(encoding="utf-8"))
    keep = "axe.run().then(found => window.barriers = found.violations.map(v => v.id)); 1"
    browser.send("Runtime.evaluate", expression=keep)
    found: list[str] = json.loads(browser.value("window.barriers && JSON.stringify(barriers)"))
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("beside", [False, True])
def test_the_page_works_in_a_browser(
    beside: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if beside:
        monkeypatch.setattr(command, "EMBEDDED_PX", 1000)
    before, after = make_pair(tmp_path)
    page = tmp_path / "page.html"
    run_ok(["compare", before, after, "-o", page], capsys)
    with Browser(tmp_path / "profile", is_dark=beside) as browser:
        browser.send("Page.navigate", url=f"{page.as_uri()}#check")
        told = json.loads(browser.value("document.body?.dataset.check"))
        barriers = barriers_of(browser) if AXE else []
    assert barriers == []
    assert told.pop("errors") == []
    assert told.pop("paper") == ("rgb(20, 20, 20)" if beside else "rgb(255, 255, 255)")
    assert len(told) == 7 and all(told.values()), told


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "float16", "float64"])
def test_both_pages_show_values_alike(dtype: str) -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(60, 20, (40, 2500, 1)).clip(0, 127).astype(dtype)
    after = rng.normal(62, 20, before.shape).clip(0, 127).astype(dtype)
    measured = rng.random(before.shape[:2]) > 0.1
    stretch = stretch_of(before, measured)
    limit = difference_range(before, [after], measured)
    shades = Shades(stretch, limit)
    np.testing.assert_array_equal(
        shades.picture(after, measured), to_picture(after, stretch, measured)
    )
    np.testing.assert_array_equal(
        shades.difference(before, after, measured), to_difference(before, after, limit, measured)
    )


def test_small_steps_on_a_large_offset_are_shown() -> None:
    ramp = 1e9 + np.linspace(0, 1, 256).reshape(1, 256, 1)
    shades = Shades(Stretch(1e9, 1e9 + 1), 0.5)
    np.testing.assert_allclose(shades.picture(ramp, None)[0], np.arange(256), atol=1)
    shown = shades.difference(ramp, ramp + 0.25, None)
    assert set(shown.ravel().tolist()) == {191}
