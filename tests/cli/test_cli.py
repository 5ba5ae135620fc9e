"""Each command's exit code, what it prints where, and what it leaves on the disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import ROOT
from PIL import Image

from unetmm.errors import UnetmmError
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.models.weights import save_model
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.nets.shapes import tensor_shapes
from unetmm.run import of_file as file_run
from unetmm.version import __version__
from unetmm_cli import display, files
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.display.text import plain
from unetmm_cli.signals import stop_on_signal

MONO = NetConfig(1, 1, 16, (1,), 1, (1,), AggregateConfig(8, 2, (1,)))
COLOUR = NetConfig(3, 3, 16, (1,), 1, (1,), AggregateConfig(8, 2, (1,)))
BUDGET = "2GB"
HEIGHT, WIDTH = 70, 93


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Commands set up logging for their process; the tests' own comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def save_random(path: Path, config: NetConfig, **card: Any) -> Path:
    """An untrained model: small seeded weights."""
    rng = np.random.default_rng(5)
    tensors = {
        name: rng.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in tensor_shapes(config).items()
    }
    save_model(path, config, tensors, {"task": "denoise", **card})
    return path


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random(tmp_path_factory.mktemp("zoo") / "mono.safetensors", MONO, licence="test")


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random(tmp_path_factory.mktemp("zoo") / "colour.safetensors", COLOUR)


@pytest.fixture
def grey_tiff(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(100, 4000, (HEIGHT, WIDTH), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "grey.tif", pixels)
    return tmp_path / "grey.tif"


@pytest.fixture
def colour_png(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    return tmp_path / "colour.png"


def one_error(arguments: list[Any], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """The single line on stderr of a command that fails with `code`."""
    assert run_cli([str(a) for a in arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, (out, err)
    return err


def denoise(source: Path, output: Path, model: Path, *more: Any) -> list[Any]:
    return ["denoise", source, "-o", output, "--model", model, "--mem-budget", BUDGET, *more]


def run_ok(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """stdout and stderr of a command that succeeds."""
    code = run_cli([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def pixels_of(path: Path) -> np.ndarray:
    source = open_source(path)
    try:
        return source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width))
    finally:
        source.close()


BAD_INPUTS = [
    ("missing", lambda p: None, "no such file"),
    ("directory", lambda p: p.mkdir(), "is a folder"),
    ("text", lambda p: p.write_text("hello, I am no image"), "holds text"),
    ("zero size", lambda p: p.write_bytes(b""), "empty"),
]


@pytest.mark.parametrize(("note", "make", "text"), BAD_INPUTS, ids=[b[0] for b in BAD_INPUTS])
@pytest.mark.parametrize("command", ["denoise", "plan", "info"])
def test_bad_input_is_one_line_and_leaves_nothing(
    command: str,
    note: str,
    make: Any,
    text: str,
    mono: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, output = tmp_path / "in.tif", tmp_path / "out.tif"
    make(path)
    before = sorted(tmp_path.iterdir())
    arguments = {"denoise": denoise(path, output, mono), "info": ["info", path]}
    line = one_error(arguments.get(command, ["plan", path, "--model", mono]), capsys)
    assert text in line and str(path) in line
    assert sorted(tmp_path.iterdir()) == before


def test_truncated_tiff_is_one_line_and_leaves_nothing(
    mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.tif"
    pixels = np.random.default_rng(3).integers(0, 9, (256, 256), dtype=np.uint16)
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=64)
    path.write_bytes(path.read_bytes()[:-200])
    arguments = denoise(path, tmp_path / "out.tif", mono, "--quiet")
    assert str(path) in one_error(arguments, capsys)
    assert list(tmp_path.iterdir()) == [path]


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


def test_output_below_a_file_is_one_line(
    grey_tiff: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "grey.tif" in one_error(denoise(grey_tiff, grey_tiff / "out.tif", mono), capsys)


def test_unknown_model_names_what_would_work(
    grey_tiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = one_error(denoise(grey_tiff, tmp_path / "o.tif", Path("no-such-net")), capsys)
    assert "no-such-net" in line and ".safetensors" in line


def test_denoise_refuses_a_model_for_another_task_and_restore_takes_it(
    grey_tiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_random(tmp_path / "deblur.safetensors", MONO, task="deblur")
    arguments = denoise(grey_tiff, tmp_path / "o.tif", model)
    assert "is for deblur; run it with unetmm restore" in one_error(arguments, capsys)
    run_ok(["restore", *arguments[1:]], capsys)


BAD_USAGE = [
    ("unit", ["--mem-budget", "4XB"], "4XB"),
    ("no size", ["--mem-budget", "lots"], "512MB, 4GB"),
    ("zero", ["--mem-budget", "0"], "is not a memory size"),
    ("range", ["--range", "5"], "lo,hi"),
    ("empty range", ["--range", "5,5"], "lo < hi"),
    ("endless range", ["--range", "0,inf"], "lo,hi"),
    ("strength", ["--strength", "1.5"], "from 0 to 1"),
    ("strength NaN", ["--strength", "nan"], "from 0 to 1"),
    ("format", ["--format", "gif"], "gif"),
    ("suffix", ["--suffix", "/../x"], "names a folder"),
    ("both", ["--range", "0,9", "--calibration", "c.json"], "one of --calibration and --range"),
    ("cores", ["--cores", "-1"], "--cores"),
    ("unknown option", ["--tile", "7"], "--tile"),
]


@pytest.mark.parametrize(("note", "more", "text"), BAD_USAGE, ids=[b[0] for b in BAD_USAGE])
def test_bad_usage_is_one_line_and_exits_with_2(
    note: str, more: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = one_error(["denoise", "a.tif", "-o", tmp_path / "b.tif", *more], capsys, code=2)
    assert text in line and "unetmm denoise --help" in line


def test_plan_has_no_options_for_files_that_it_does_not_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--report", "--save-calibration"):
        line = one_error(["plan", "a.tif", option, tmp_path / "f.json"], capsys, code=2)
        assert f"No such option: {option}" in line


def test_plan_takes_a_folder_that_the_run_makes(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET, "--json", "-o"]
    out, _ = run_ok([*words, f"{tmp_path}/new/"], capsys)
    assert json.loads(out)["output"] == str(tmp_path / "new" / "grey.tif")
    assert "does not exist" in one_error([*words, tmp_path / "new" / "grey.tif"], capsys)
    assert "input itself" in one_error([*words, tmp_path], capsys)


def test_unknown_command_and_missing_output_exit_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "shrink" in one_error(["shrink"], capsys, code=2)
    assert "--output" in one_error(["denoise", "a.tif"], capsys, code=2)


@pytest.mark.parametrize("command", ["denoise", "restore", "plan"])
def test_impossible_budget_names_the_smallest_that_would_do(
    command: str,
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "o.tif"
    arguments = [command, grey_tiff, "-o", output, "--model", mono, "--mem-budget"]
    line = one_error([*arguments, "20MB"], capsys)
    smallest = line.rstrip(")\n").rsplit(" ", 1)[1]
    assert "budget 20 MB is too small" in line and smallest.endswith("MB")
    assert not output.exists()
    run_ok(["plan", *arguments[1:], smallest], capsys)


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


def test_quiet_leaves_stderr_empty(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.tif"
    out, err = run_ok(denoise(grey_tiff, output, mono, "--quiet"), capsys)
    assert (out, err) == (f"{output}\n", "")


def test_json_log_is_one_object_a_line(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = run_ok(denoise(grey_tiff, tmp_path / "o.tif", mono, "--log", "json"), capsys)
    events = [json.loads(line) for line in err.splitlines()]
    kinds = [e["event"] for e in events if e["event"] != "log"]
    assert kinds[0] == "start" and kinds[-1] == "done"
    assert events[-1]["measured_peak_bytes"] > 0


def test_adapt_without_time_is_one_line(
    grey_tiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["adapt", grey_tiff, "-o", tmp_path / "a.safetensors", "--minutes", "0"]
    expected = "error: asked for 0 minutes of training; give more than 0\n"
    assert one_error(words, capsys) == expected


def test_errors_are_json_where_the_log_is(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        (denoise(grey_tiff, grey_tiff, mono, "--log", "json"), 1, "is the input"),
        (denoise(tmp_path / "no.tif", tmp_path / "o.tif", mono, "--log=json"), 1, "no such file"),
        (denoise(grey_tiff, tmp_path / "o.tif", mono, "--log=json", "--tile"), 2, "--tile"),
        (denoise(grey_tiff, tmp_path / "o.tif", mono, "--log=json", "--mem-budget=1MB"), 1, "MB)"),
    ]
    for words, code, text in cases:
        assert run_cli([str(w) for w in words]) == code
        found = json.loads(capsys.readouterr().err)
        assert found.keys() == {"event", "message"} and found["event"] == "error"
        assert text in found["message"] and not found["message"].startswith("error")


@pytest.mark.parametrize("name", ["o.tif", "o.ome.zarr"])
def test_report_has_plan_peak_times_and_the_outputs_checksum(
    name: str, grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / name, tmp_path / "r.json"
    run_ok(denoise(grey_tiff, output, mono, "--report", report), capsys)
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["version"] == __version__
    assert content["input"] == str(grey_tiff) and content["output"] == str(output)
    assert content["model"] == "mono" and content["megapixels"] == HEIGHT * WIDTH / 1e6
    assert content["plan"]["budget_bytes"] == 2 * 10**9
    assert sum(content["plan"]["terms"].values()) == content["plan"]["projected_peak_bytes"]
    assert content["measured_peak_bytes"] > 0 and content["resumed_rows"] == 0
    assert {"calibrate", "compute", "total"} <= content["seconds"].keys()
    assert content["output_sha256"] == files.output_sha256(output)


def test_checksum_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    (folder / "0" / "c").mkdir(parents=True)
    (folder / "zarr.json").write_bytes(b"{}")
    (folder / "0" / "c" / "1").write_bytes(b"pixels")
    expected = hashlib.sha256(b"0/c/1" + b"pixels" + b"zarr.json" + b"{}").hexdigest()
    assert files.output_sha256(folder) == expected
    (folder / "zarr.json").rename(folder / "zarr.jso")
    assert files.output_sha256(folder) != expected


def test_saved_calibration_gives_the_same_pixels(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "c.json"
    run_ok(denoise(grey_tiff, tmp_path / "a.tif", mono, "--save-calibration", saved), capsys)
    run_ok(denoise(grey_tiff, tmp_path / "b.tif", mono, "--calibration", saved), capsys)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif"), pixels_of(tmp_path / "b.tif"))
    saved.write_text("{}", encoding="utf-8")
    one_error(denoise(grey_tiff, tmp_path / "d.tif", mono, "--calibration", saved), capsys)


def test_plan_reads_no_pixel_and_writes_nothing(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    out, _ = run_ok(["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET, "--json"], capsys)
    content = json.loads(out)
    plan = content["plan"]
    assert content["output"] == str(tmp_path / "grey_restored.ome.zarr")
    assert plan["budget_bytes"] == 2 * 10**9 >= plan["projected_peak_bytes"]
    assert sum(plan["terms"].values()) == plan["projected_peak_bytes"]
    nafnet, unetmm = content["comparison"]["nafnet"], content["comparison"]["unet--"]
    assert unetmm["skip_floats_per_px"] < nafnet["skip_floats_per_px"]
    assert sorted(tmp_path.iterdir()) == before
    text, _ = run_ok(["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET], capsys)
    for word in (*plan["terms"], "projected peak", "budget", "halo", "UNet--", f"{10**9 * 2:,}"):
        assert word in text


def test_info_shows_metadata(grey_tiff: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run_ok(["info", grey_tiff, "--json"], capsys)
    content = json.loads(out)
    assert content["axes"] == "YX" and content["shape"] == [HEIGHT, WIDTH]
    assert content["dtype"] == "uint16" and content["nodata"] is None
    text, _ = run_ok(["info", grey_tiff], capsys)
    assert "uint16" in text and f"{HEIGHT}, {WIDTH}" in text


def test_models_shows_the_zoo_and_a_card(
    mono: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unetmm.models.weights.zoo_folder", lambda: mono.parent)
    (row,) = json.loads(run_ok(["models", "--json"], capsys)[0])
    assert row["name"] == "mono" and row["channels"] == 1 and row["parameters"] > 0
    assert row["data_licences"] == ""  # no card of others need have it
    assert "mono" in run_ok(["models"], capsys)[0]
    card = json.loads(run_ok(["models", "mono", "--json"], capsys)[0])["card"]
    assert card["licence"] == "test" and len(card["tensors_sha256"]) == 64
    assert card["tensors_sha256"] in run_ok(["models", "mono"], capsys)[0]


def test_json_never_holds_nan() -> None:
    content = {"a": [float("nan"), np.float32(1.5)], "b": float("inf"), "c": Path("x")}
    assert plain(content) == {"a": ["nan", 1.5], "b": "inf", "c": "x"}


def test_full_disk_is_one_line(
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "o.tif"))

    monkeypatch.setattr("unetmm_cli.batch.one.restore_file", fail)
    line = one_error(denoise(grey_tiff, tmp_path / "o.tif", mono), capsys)
    assert line == f"error: {tmp_path / 'o.tif'}: No space left on device\n"


def test_surprises_keep_their_traceback(
    grey_tiff: Path, mono: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **more: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("unetmm_cli.batch.one.restore_file", fail)
    with pytest.raises(ZeroDivisionError):
        run_cli([str(a) for a in denoise(grey_tiff, tmp_path / "o.tif", mono)])


def test_ctrl_c_removes_the_output_and_exits_with_130(
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = file_run.make_job

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return made(*arguments)

    monkeypatch.setattr(file_run, "make_job", interrupted)
    output = tmp_path / "o.ome.zarr"
    assert run_cli([str(a) for a in denoise(grey_tiff, output, mono, "--quiet")]) == 130
    out, err = capsys.readouterr()
    assert out == "" and err == f"interrupted: nothing was done of {output} yet\n"
    assert [p.name for p in tmp_path.iterdir()] == ["grey.tif"]


def test_second_signal_stops_at_once_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as stop:
        assert isinstance(stop, threading.Event) and not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_default_output_drops_double_extensions() -> None:
    for name in ("a.tif", "a.ome.tif", "a.ome.zarr", "a.zarr", "a"):
        assert files.default_output(Path("folder") / name) == Path("folder/a_restored.ome.zarr")


def test_version_and_help_are_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ok(["--version"], capsys) == (f"unetmm {__version__}\n", "")
    out, err = run_ok(["--help"], capsys)
    assert "H200" in run_ok(["denoise", "--help"], capsys)[0], "what --device was tried on"
    assert err == "" and all(c in out for c in ("denoise", "restore", "plan", "info", "models"))
    for command in ("denoise", "restore", "plan", "info", "models"):
        assert f"Example: unetmm {command}" in run_ok([command, "--help"], capsys)[0]


def imported(arguments: list[Any], modules: tuple[str, ...]) -> list[str]:
    """Which of `modules` a command imports, in a process of its own."""
    code = (
        "import sys; from unetmm_cli.__main__ import run; code = run(sys.argv[2:]); "
        "print('LOADED', *[m for m in sys.argv[1].split(',') if m in sys.modules]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, ",".join(modules), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


def test_help_imports_no_library_module() -> None:
    heavy = ("torch", "numpy", "numba", "dask", "zarr", "tifffile", "imagecodecs")
    assert imported(["--help"], heavy) == []
    assert imported(["denoise", "--help"], heavy) == []


def test_plan_imports_neither_torch_nor_numba(grey_tiff: Path, mono: Path) -> None:
    arguments = ["plan", grey_tiff, "--model", mono, "--mem-budget", BUDGET]
    assert imported(arguments, ("torch", "numba", "dask")) == []


def test_errors_carry_no_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    display.error(UnetmmError("two\nlines  and\tmore"))
    assert capsys.readouterr().err == "error: two lines and more\n"


def test_evaluate_measures_a_folder(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((40, 44), 90, np.uint8)).save(tmp_path / "flat.png")
    command = ["evaluate", str(mono), str(tmp_path), "--sigma", "25", "--sigma", "50"]
    assert run_cli([*command, "--json"]) == 0
    means = json.loads(capsys.readouterr().out)["means"]
    assert [m["sigma"] for m in means] == [25, 50]
    assert means[0]["psnr_before_db"] == pytest.approx(20.17, abs=0.3)
    assert run_cli(command) == 0
    assert "white Gaussian noise, seed 0" in capsys.readouterr().out
    assert run_cli(["evaluate", str(mono), str(tmp_path / "missing")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
