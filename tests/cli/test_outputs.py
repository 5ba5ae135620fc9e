"""What a run writes, and what it refuses to overwrite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import HEIGHT, WIDTH, denoise, one_error, pixels_of, run_ok

from unetmm_cli import files
from unetmm_cli.batch.naming import default_output
from unetmm_cli.options.choices import Choices

FORMATS = [
    ("out.tif", []),
    ("out.ome.zarr", []),
    ("out.png", []),
    ("out.data", ["--format", "tiff"]),
]


@pytest.mark.parametrize(("name", "more"), FORMATS, ids=[f[0] for f in FORMATS])
def test_denoise_writes_every_format(
    name: str,
    more: list[str],
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / name
    out, err = run_ok(denoise(grey_tiff, output, mono, *more), capsys)
    assert out == f"{output}\n"
    start, *_, done = err.splitlines()
    assert start.startswith("mono: 0.01 Mpx") and done.startswith("done: 0.01 Mpx")
    pixels = pixels_of(output)
    assert pixels.dtype == np.uint16 and pixels.size == HEIGHT * WIDTH
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["grey.tif", name])


def test_denoise_keeps_colour_and_strength_zero_keeps_everything(
    colour_png: Path, colour: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ok(denoise(colour_png, tmp_path / "same.png", colour, "--strength", 0), capsys)
    run_ok(denoise(colour_png, tmp_path / "full.png", colour), capsys)
    before = pixels_of(colour_png)
    np.testing.assert_array_equal(pixels_of(tmp_path / "same.png"), before)
    full = pixels_of(tmp_path / "full.png")
    assert full.shape == before.shape and (full != before).any()


def test_existing_output_is_untouched_without_overwrite(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.tif"
    output.write_bytes(b"precious")
    assert "--overwrite" in one_error(denoise(grey_tiff, output, mono), capsys)
    assert output.read_bytes() == b"precious"
    run_ok(denoise(grey_tiff, output, mono, "--overwrite"), capsys)
    assert pixels_of(output).shape == (HEIGHT, WIDTH, 1)


@pytest.mark.parametrize("name", ["o.tif", "o.ome.zarr"])
def test_the_same_command_again_does_nothing_and_says_so(
    name: str, grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / name, tmp_path / "r.json"
    arguments = denoise(grey_tiff, output, mono, "--report", report)
    run_ok(arguments, capsys)
    before, sha256 = output.stat().st_mtime_ns, files.output_sha256(output)
    out, err = run_ok(arguments, capsys)
    assert out == f"{output}\n" and err.startswith(f"already done: {output} was made from")
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["already_done"] and content["plan"] is None and content["complete"]
    assert content["output_sha256"] == sha256
    # A task of a job array that is submitted again, with --overwrite as it was at first.
    _, err = run_ok([*arguments, "--share", "2/3", "--overwrite"], capsys)
    assert err.startswith("already done") and output.stat().st_mtime_ns == before
    _, err = run_ok([*arguments, "--log", "json"], capsys)
    assert json.loads(err)["already_done"]
    grey_tiff.touch()
    line = one_error(arguments, capsys)
    assert "exists and was made with input grey.tif" in line and "--overwrite" in line
    assert output.stat().st_mtime_ns == before
    _, err = run_ok([*arguments, "--share", "1/1", "--overwrite"], capsys)
    assert "already done" not in err and output.stat().st_mtime_ns > before


def test_output_that_is_the_input_is_refused(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = grey_tiff.read_bytes()
    (tmp_path / "link.tif").symlink_to(grey_tiff)
    for output in (grey_tiff, tmp_path / "." / "grey.tif", tmp_path / "link.tif"):
        line = one_error(denoise(grey_tiff, output, mono, "--overwrite"), capsys)
        assert "is the input" in line
    assert grey_tiff.read_bytes() == before


def test_side_file_that_would_overwrite_an_image_is_refused(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = denoise(grey_tiff, tmp_path / "o.tif", mono, "--report", grey_tiff)
    assert "--report would overwrite" in one_error(arguments, capsys)
    arguments = denoise(grey_tiff, tmp_path / "o.tif", mono, "--report", tmp_path / "no" / "r.json")
    assert "its folder must exist" in one_error(arguments, capsys)
    assert not (tmp_path / "o.tif").exists()


def test_outputs_that_nobody_names_lie_beside_their_input() -> None:
    expected = {
        "a.tif": "a_denoised.tif", "a.ome.tif": "a_denoised.ome.tif", "a.zarr": "a_denoised.zarr",
        "a.webp": "a_denoised.png", "a.BMP": "a_denoised.png", "a.jp2": "a_denoised.tif",
        "a.czi": "a_denoised.ome.zarr", "a.heic": "a_denoised.png", "a.jxl": "a_denoised.png",
        "a.exr": "a_denoised.tif",
    }  # fmt: skip
    for name, output in expected.items():
        assert default_output(Path("folder") / name, Choices()) == Path("folder") / output


def test_the_output_of_an_array_in_a_file_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "scan.h5").write_bytes(b"any")
    beside = default_output(tmp_path / "scan.h5" / "volumes" / "raw", Choices())
    assert beside == tmp_path / "scan_volumes_raw_denoised.ome.zarr"
