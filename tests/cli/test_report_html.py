"""`--report-html`: the page of input and output when a run has ended, and what forbids it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import denoise, one_error, run_ok
from helpers import lively_model

from unetmm.errors import BudgetError
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.display.compare import making

MAKING = making.__name__


def test_it_is_the_page_that_compare_makes(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, page, other = tmp_path / "o.tif", tmp_path / "p.html", tmp_path / "other.html"
    words = denoise(grey_tiff, output, mono, "--report-html", page)
    out, err = run_ok(words, capsys)
    assert out == f"{output}\n" and f"\n{page}: " in err
    run_ok(["compare", grey_tiff, output, "-o", other], capsys)
    assert page.read_text("utf-8") == other.read_text("utf-8")
    page.unlink()
    out, _ = run_ok(words, capsys)  # the output is whole already
    assert page.exists() and out == f"{output}\n"
    _, err = run_ok([*words, "--quiet", "--overwrite"], capsys)
    assert err == ""
    _, err = run_ok([*words, "--log", "json", "--overwrite", "--crop", "9,5,40,30"], capsys)
    last = json.loads(err.splitlines()[-1])
    assert last["event"] == "page" and last["page"] == str(page) and last["verdict"]
    assert "40 x 30 px" in page.read_text("utf-8")


def test_other_tasks_have_it_too(
    grey_tiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task, scale in (("upscale", 3), ("deblur", 1)):
        config = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=scale)
        zeros = {k: 0 * v for k, v in lively_model(config).tensors.items()}
        model = tmp_path / f"{task}.safetensors"
        save_model(model, config, zeros, {"task": task})
        page = tmp_path / f"{task}.html"
        words = [task, grey_tiff, "-o", tmp_path / f"{task}.tif", "--model", model]
        _, err = run_ok([*words, "--report-html", page], capsys)
        assert "Not judged" in err or task == "deblur"
        assert "OpenSeadragon" in page.read_text("utf-8")


def test_it_costs_nothing_where_it_is_not_asked_for(
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, MAKING, None)  # importing it fails
    run_ok(denoise(grey_tiff, tmp_path / "o.tif", mono), capsys)
    with pytest.raises(ImportError):
        run_cli(
            [
                str(a)
                for a in denoise(grey_tiff, tmp_path / "p.tif", mono, "--report-html", "x.html")
            ]
        )


def test_each_of_several_images_has_its_page(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, pages = tmp_path / "in", tmp_path / "new" / "pages"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.tif", "a.png", "deep/b.tif"):
        tifffile.imwrite(folder / name, tifffile.imread(grey_tiff))
    (folder / "a.png").write_bytes(b"no image")
    words = denoise(folder, f"{tmp_path}/out/", mono, "--report-html", f"{pages}/")
    assert run_cli([str(a) for a in words]) == 3
    there = pages / "a.tif.html", pages / "deep" / "b.tif.html"
    assert sorted(pages.rglob("*.html")) == sorted(there)
    assert f"{there[0]}: " in capsys.readouterr().err
    there[0].unlink()
    before = there[1].stat().st_mtime_ns
    assert run_cli([str(a) for a in words]) == 3  # outputs are there, and a page is not
    assert there[0].exists() and there[1].stat().st_mtime_ns == before
    capsys.readouterr()
    (folder / "a.png").unlink()
    one_page = denoise(folder, f"{tmp_path}/out2/", mono, "--report-html", tmp_path / "p.html")
    found = one_error(one_page, capsys, code=2)
    assert "one page cannot show 2 images" in found and f"--report-html {tmp_path}/p/" in found
    found = one_error([*one_page, "--watch-for", 1], capsys, code=2)
    assert "several images" in found and not (tmp_path / "out2").exists()
    alone = denoise(
        folder / "a.tif", f"{tmp_path}/out2/", mono, "--report-html", tmp_path / "p.html"
    )
    run_ok(alone, capsys)
    assert (tmp_path / "p.html").exists()


def test_a_page_that_cannot_be_is_refused_before_the_run(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    (tmp_path / "file").write_text("")

    def refusal(page: Path, output: str = "o.tif", *more: str) -> str:
        words = denoise(grey_tiff, tmp_path / output, mono, "--report-html", page, *more)
        return one_error([*words, "--quiet"], capsys)

    found = refusal(mine, "o.tif", "--overwrite")
    assert "is no comparison; give another name with --report-html" in found
    assert "its folder must exist" in refusal(tmp_path / "no" / "p.html")
    assert "is a file, not a folder for pages" in refusal(tmp_path / "file" / "pages")
    page = tmp_path / "p.html"
    assert "does not say which part" in refusal(page, "o.npy", "--crop", "0,0,40,40")
    words = denoise(grey_tiff, "-", mono, "--report-html", page)
    assert "an output that stays" in one_error(words, capsys, code=2)
    assert mine.read_text() == "mine" and not list(tmp_path.glob("o.*"))


def test_an_output_outlives_a_page_that_fails(
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(subject: object) -> None:
        raise BudgetError("too small", budget_bytes=1, needed_bytes=2)

    monkeypatch.setattr(making, "write_comparison", fail)
    output, page = tmp_path / "o.tif", tmp_path / "p.html"
    words = denoise(grey_tiff, output, mono, "--report-html", page, "--quiet")
    assert run_cli([str(a) for a in words]) == 1
    out, err = capsys.readouterr()
    assert (
        out == f"{output}\n"
        and err == f"error: {page}: no page was made (too small); {output} is whole\n"
    )
    assert np.ptp(tifffile.imread(output)) > 0
