"""An image comes through stdin, another goes through stdout; .npy outputs hold what TIFF holds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import lively_model

from unetmm.errors import ImageError
from unetmm.io.array import array_info
from unetmm.io.image import Box, Encoding, SinkOptions
from unetmm.io.open import open_sink
from unetmm.io.sniff import looks_like_image
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run as run_cli

NET = NetConfig(1, 1, 8, (1,), 0, (1,))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image, what a run makes of it, and a $TMPDIR that must be empty again in the end."""
    pixels = np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    save_model(tmp_path / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    restore_file(tmp_path / "a.tif", tmp_path / "peace.tif", Options(tmp_path / "m.safetensors"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def denoise(folder: Path, *arguments: Any) -> int:
    words = ["denoise", *map(str, arguments), "--model", str(folder / "m.safetensors")]
    code = run_cli([*words, "--mem-budget", "4GB"])
    assert list((folder / "tmp").iterdir()) == []
    return code


def pipe_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_closed_streams_do_not_open_others() -> None:
    """Messages of a process without stderr must not go into the image."""
    command = f"{sys.executable} -m unetmm_cli denoise no.tif -o - --quiet 2>&-"
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    command = f"{sys.executable} -m unetmm_cli models >&- <&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_image_goes_through_stdout_and_nothing_else(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert denoise(folder, folder / "a.tif", "-o", "-") == 0
    out, err = capfdbinary.readouterr()
    expected = tifffile.imread(folder / "peace.tif")
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(out)), expected)
    assert err.splitlines()[-1].startswith(b"done: ")
    report = folder / "r.json"
    more = ["--format", "npy", "--quiet", "--report", report]
    assert denoise(folder, folder / "a.tif", "-o", "-", *more) == 0
    out, err = capfdbinary.readouterr()
    np.testing.assert_array_equal(np.load(io.BytesIO(out)), expected)
    assert err == b"" and json.loads(report.read_text())["output"] == "-"


def test_an_image_comes_through_stdin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = (folder / "a.tif").read_bytes()
    pipe_in(monkeypatch, data)
    assert denoise(folder, "-", "-o", folder / "out.tif") == 0
    expected = tifffile.imread(folder / "peace.tif")
    np.testing.assert_array_equal(tifffile.imread(folder / "out.tif"), expected)
    capfd.readouterr()
    pipe_in(monkeypatch, data)  # the same image again is the same input
    assert denoise(folder, "-", "-o", folder / "out.tif") == 0
    assert "already done" in capfd.readouterr().err
    other = folder / "b.tif"
    tifffile.imwrite(other, np.zeros((40, 50), np.uint16))
    pipe_in(monkeypatch, other.read_bytes())
    assert denoise(folder, "-", "-o", folder / "out.tif") == 1
    assert "exists and was made with input stdin-" in capfd.readouterr().err
    (folder / "many").mkdir()
    pipe_in(monkeypatch, data)
    assert denoise(folder, "-", "-o", folder / "many", "--format", "tiff") == 0
    assert [p.name for p in (folder / "many").iterdir()] == ["stdin.tif"]
    capfd.readouterr()
    for output in ("torn.tif", "torn/"):
        pipe_in(monkeypatch, data[:200])
        code = denoise(folder, "-", "-o", f"{folder}/{output}", "--report", folder / "r.json")
        out, err = capfd.readouterr()
        assert code == 1
        assert err.split(": ")[1] == "standard input" and "truncated" in err
        assert str(folder / "tmp") not in out + err
    (entry,) = json.loads((folder / "r.json").read_text())
    assert entry["input"] == "standard input" and "stdin-" not in entry["error"]
    assert not (folder / "torn.tif").exists()


def test_a_pipe_end_to_end_in_a_process(folder: Path) -> None:
    command = [sys.executable, "-m", "unetmm_cli", "denoise", "-", "-o", "-", "--mem-budget", "4GB"]
    command += ["--model", str(folder / "m.safetensors"), "--format", "npy"]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    data = (folder / "a.tif").read_bytes()
    done = subprocess.run(command, input=data, capture_output=True, env=environment, check=True)
    expected = tifffile.imread(folder / "peace.tif")
    np.testing.assert_array_equal(np.load(io.BytesIO(done.stdout)), expected)
    assert list((folder / "tmp").iterdir()) == []


BAD_PIPES = [
    ("a Zarr", ["a.tif", "--format", "ome-zarr"], 2, "takes one file"),
    ("several", ["a.tif", "peace.tif"], 2, "one image, not several"),
    ("a share", ["a.tif", "--share", "1/2"], 2, "leave out --share"),
    ("a cluster", ["a.tif", "--scheduler", "local"], 2, "leave out --share and clusters"),
    ("missing", ["no.tif"], 1, "no such file"),
]


@pytest.mark.parametrize(("note", "words", "code", "text"), BAD_PIPES, ids=lambda v: str(v)[:9])
def test_what_cannot_go_through_stdout_is_refused(
    folder: Path,
    note: str,
    words: list[str],
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert denoise(folder, *words, "-o", "-") == code
    out, err = capfd.readouterr()
    assert out == "" and text in err and err.count("\n") == 1


def test_a_terminal_is_no_place_for_an_image(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unetmm_cli.batch.pipes.stdout_is_terminal", lambda: True)
    assert denoise(folder, folder / "a.tif", "-o", "-") == 2
    assert "is a terminal" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("head", "is_image"),
    [
        (b"II*\0\x08\0\0\0", True),
        (b"P5\n64 64\n255\n", True),
        (b"P6 # made by\n", True),
        (b"GIF89a\x01\0\x01\0\xf0", True),
        (b"\x93NUMPY\x01\0", True),
        (b"BM_scan.tif\nb.ti", False),
        (b"P5_scan.tif\n", False),
        (b"P5\nP6\n", False),
        (b"PK.png\n", False),
        (b"a.tif\0b.tif\0", False),
        ("übung.tif\n".encode(), False),
        (b"", False),
    ],
)
def test_names_are_told_from_images(head: bytes, is_image: bool) -> None:
    assert looks_like_image(head[:16]) == is_image


SHAPES = [
    ("YX", (70, 41)),
    ("YXS", (30, 700, 3)),
    ("TCZYX", (2, 3, 2, 20, 33)),
    ("ZYXS", (2, 9, 8, 4)),
]


@pytest.mark.parametrize(("axes", "shape"), SHAPES, ids=[a for a, _ in SHAPES])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float64"])
def test_npy_holds_every_plane_in_its_place(
    axes: str, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(3).integers(0, 100, shape).astype(dtype)
    info = array_info(shape, image.dtype, axes)
    sink = open_sink(SinkOptions(tmp_path / "o.npy", chunk_px=16), info)
    view = image.reshape(*(info.length(a) for a in "TCZYXS"))
    for plane in reversed(info.planes):
        sink.write(plane, Box(0, 0, info.height, info.width), view[plane])
    assert np.array_equal(
        sink.store.read(0, info.planes[-1], Box(0, 0, info.height, info.width)),
        view[info.planes[-1]],
    )
    sink.close()
    found = np.load(tmp_path / "o.npy")
    assert found.dtype == image.dtype and np.array_equal(found, image)
    assert [p.name for p in tmp_path.iterdir()] == ["o.npy"]


def test_npy_knows_no_compression(tmp_path: Path) -> None:
    info = array_info((8, 8), np.dtype(np.uint8), None)
    for name, fine in (("none", True), ("zstd", False)):
        options = SinkOptions(tmp_path / "o.npy", encoding=Encoding(compression=name))
        if fine:
            open_sink(options, info)
        else:
            with pytest.raises(ImageError, match=r"'zstd' is not written into \.npy"):
                open_sink(options, info)


def test_an_npy_output_resumes_to_the_same_bytes(folder: Path, monkeypatch: Any) -> None:
    from unetmm.io.output.output import Output

    pixels = np.random.default_rng(1).normal(500, 90, (1100, 600)).astype(np.float32)
    np.save(folder / "big.npy", pixels)
    options = Options(folder / "m.safetensors", 10**9, workers=1)
    restore_file(folder / "big.npy", folder / "one.npy", options)
    put, seen = Output._put, [0]

    def failing(self: Output, key: Any, chunk: Any) -> None:
        put(self, key, chunk)
        seen[0] += 1
        if seen[0] == 3:
            raise ImageError("the cable was pulled")

    with monkeypatch.context() as patch, pytest.raises(ImageError, match="cable"):
        patch.setattr(Output, "_put", failing)
        restore_file(folder / "big.npy", folder / "two.npy", options)
    report = restore_file(folder / "big.npy", folder / "two.npy", options)
    assert report.resumed_rows > 0
    assert (folder / "two.npy").read_bytes() == (folder / "one.npy").read_bytes()
