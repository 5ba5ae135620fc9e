"""A run says what it may have harmed: in its report, its last line and its warnings."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import lively_model
from interrupted import NET, options, stop_after

import unetmm
import unetmm.api  # now: what it imports must not be a stand-in of a test below
from unetmm.errors import BudgetError, WeightsError
from unetmm.intensities.findings import Findings, Worst
from unetmm.io.image import Encoding
from unetmm.io.output.disk import part_path
from unetmm.models.weights import load_model, save_model
from unetmm.options import Options
from unetmm.plan.share import Share
from unetmm.provenance.record import read_record
from unetmm.run.heard import hearing
from unetmm.run.of_file import restore_file
from unetmm.run.report import merged, verdict
from unetmm_cli.__main__ import run as run_cli

TINY = "tiny-mono"


def noisy_image(shape: tuple[int, int] = (320, 300), level: float = 300.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    return rng.poisson(level + level / 3 * np.sin(y / 30) * np.cos(x / 40)).astype(np.uint16)


def guard_of(image: np.ndarray, folder: Path, **asked: object) -> dict:
    tifffile.imwrite(folder / "in.tif", image, photometric="minisblack")
    options = Options(**{"model": TINY, "overwrite": True, **asked})
    return restore_file(folder / "in.tif", folder / "o.npy", options).guard


def test_an_ordinary_image_gives_no_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        guard = guard_of(noisy_image(), tmp_path)
    assert guard["blocks"] == guard["noisy"] == 25 and guard["doubtful"] == guard["noise_left"] == 0
    assert not guard["is_doubtful"] and caplog.messages == []


def test_values_beyond_the_range_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they would be without the wider ranges that hold them."""
    monkeypatch.setattr("unetmm.run.job.bracket_kernels", lambda *asked: None)
    image = noisy_image()
    for y, x in ((30, 30), (100, 200), (250, 90), (290, 250)):
        image[y : y + 9, x : x + 9] = np.random.default_rng(y).poisson(40_000, (9, 9))
    tifffile.imwrite(tmp_path / "in.tif", image)
    report = tmp_path / "r.json"
    words = ["denoise", tmp_path / "in.tif", "-o", tmp_path / "o.tif", "--model", TINY]
    words += ["--range", "150,450", "--report", report]
    assert run_cli([str(word) for word in words]) == 0
    last = capsys.readouterr().err.strip().splitlines()[-1]
    guard = json.loads(report.read_text())["guard"]
    assert guard["doubtful"] >= 4 and guard["is_doubtful"]
    worst = guard["worst"]
    assert "changed by more than noise allows" in last and f"row {worst['row']}" in last


def test_a_range_set_by_one_pixel_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As it would be without the look for outliers: all else is close to the range's low end."""
    image = noisy_image()
    image[160, 150] = 65535
    with caplog.at_level(logging.WARNING):
        guard = guard_of(image, tmp_path, outliers="none", fixed_range=(150.0, 65535.0))
    assert guard["is_changed"] and abs(guard["mean_change"]) > 0.02
    assert any("the mean of the image changed by" in m for m in caplog.messages)


def test_planes_whose_mean_changes_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A film that fades to hardly any photons is measured as a whole, which no plane has to be."""
    y, x = np.mgrid[:320, :300]
    cells = 0.1 + (np.hypot(y % 80 - 40, x % 75 - 37) < 12)
    photons = np.array([1, 0.1, 0.01])[:, None, None]
    film = np.random.default_rng(1).poisson(cells * photons).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        guard = guard_of(film, tmp_path, model="micrograph-tiny")
    count, changed = guard["changed_planes_count"], guard["changed_planes"]
    assert guard["planes"] == 3 and 0 < count == len(changed) < 3
    assert abs(changed[0]["mean_change"]) > 0.02
    told = f"the mean of {count} of 3 planes changed by more than their noise explains, most that"
    assert any(told in line for line in caplog.messages)
    even = np.stack([noisy_image()] * 3)
    assert guard_of(even, tmp_path)["changed_planes"] == []


def test_counts_that_rounding_loses_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = np.random.default_rng(1).poisson(0.4, (320, 300)).astype(np.uint16)
    with caplog.at_level(logging.WARNING):
        lost = guard_of(few, tmp_path)["rounding"]
    assert lost["dim_share"] == 1 and lost["bias_share"] > 0.3
    assert lost["is_lossy"] and abs(lost["mean_change"]) > 0.3
    # One warning with the reason, and none of what follows from it.
    (line,) = caplog.messages
    assert "use --dtype float32 or --rounding dither" in line
    caplog.clear()
    with caplog.at_level(logging.INFO):
        guard_of(few, tmp_path)
    assert any(
        m.startswith("a signal of about 0.4 counts a pixel: uint16 will not")
        for m in caplog.messages
    )
    caplog.clear()
    for asked in ({"dtype": "float32"}, {"rounding": "dither"}):
        with caplog.at_level(logging.WARNING):
            guard_of(few, tmp_path, **asked)
        assert not any("--dtype float32" in m for m in caplog.messages)


def test_the_cut_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetmm.run.job.bracket_kernels", lambda *asked: None)
    image = noisy_image((1100, 1300), 5.0)
    image[500:530, 500:1100] = 3000
    with pytest.raises(BudgetError) as caught:
        unetmm.make_plan(image.shape, image.dtype, TINY, 1)
    least = caught.value.needed_bytes + 8 * 10**6
    budgets = [{"budget_bytes": n} for n in (2 * 10**9, least)]
    first, *others = (
        guard_of(image, tmp_path, **asked) for asked in (*budgets, {"workers": 1}, {"workers": 3})
    )
    assert first["doubtful"] > 0
    for other in others:
        rounding = other.pop("rounding")
        assert rounding == pytest.approx(first["rounding"])
        assert other == {k: v for k, v in first.items() if k != "rounding"}


@pytest.mark.parametrize("name", ["o.tif", "o.ome.zarr", "plain.tif"])
def test_the_record_tells_of_all_parts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain = {"encoding": Encoding(compression="none")} if name == "plain.tif" else {}
    whole, output = tmp_path / f"whole-{name}", tmp_path / name
    guard = restore_file(folder / "in.tif", whole, options(folder, **plain)).guard
    recorded = guard_of_record(whole)
    assert recorded["blocks"] == guard["blocks"] == 21 * 11 and recorded["worst"] == guard["worst"]
    stop_after(folder, output, 2, monkeypatch, **plain)
    resumed = restore_file(folder / "in.tif", output, options(folder, **plain)).guard
    assert guard_of_record(output) == recorded == {k: resumed[k] for k in recorded}
    shared = tmp_path / f"shared-{name}"
    parts = [
        restore_file(folder / "in.tif", shared, options(folder, **plain), share=Share(i, 2))
        for i in range(2)
    ]
    assert 0 < parts[0].guard["blocks"] < guard["blocks"]
    assert guard_of_record(shared) == recorded == {k: parts[1].guard[k] for k in recorded}
    if name.endswith("tif"):
        assert output.read_bytes() == whole.read_bytes() == shared.read_bytes()


def test_parts_of_a_run_make_one_report(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.npy"
    parts = [
        restore_file(folder / "in.tif", output, options(folder), share=Share(i, 2))
        for i in range(2)
    ]
    parts = [
        replace(part, ranges={"2": share}, megapixels=size, stored={**part.stored, "clipped": 3})
        for part, share, size in zip(parts, (0.5, 0.0), (1.0, 3.0), strict=True)
    ]
    found = merged(parts)
    assert found["guard"]["blocks"] == 21 * 11 and found["ranges"] == {"2": 0.125}
    assert found["stored"]["clipped"] == 6 and found["stored"]["dtype"] == "uint16"


def test_a_verdict_is_in_plain_words() -> None:
    fine = Findings(blocks=100, noisy=90)
    assert verdict(fine.as_dict()).startswith("means and details of all 100 blocks are as in the")
    worst = Worst(2.0, (0, 0, 0), 64, 128, 0, 9.0, 5.0)
    harmed = Findings(100, 7, 0, 80, 100, worst=worst)
    told = verdict(harmed.as_dict())
    assert "7 of 100 blocks" in told and "row 64, column 128" in told
    assert "80 of 100 noisy blocks still have their noise" in told


def test_the_report_has_every_warning_of_its_run(folder: Path, tmp_path: Path) -> None:
    logging.getLogger("unetmm.io").warning("said before")
    few = np.random.default_rng(1).poisson(0.4, (320, 300)).astype(np.uint16)
    options = {"photometric": "minisblack", "extratags": [(42113, 2, 0, "7", True)]}
    tifffile.imwrite(tmp_path / "in.tif", few, **options)
    report = restore_file(tmp_path / "in.tif", tmp_path / "o.npy", Options(TINY))
    first, second, *_ = report.as_dict()["warnings"]
    assert 'has no place to say that 7 is "no data"' in first
    assert "use --dtype float32" in second


def test_warnings_are_still_said_where_nobody_listens(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with hearing() as outer, hearing() as inner:
        logging.getLogger("unetmm.io").warning("once")
    assert list(outer) == list(inner) == ["once"]
    assert capsys.readouterr().err == "once\n"


def guard_of_record(path: Path) -> dict:
    record = read_record(path)
    assert record is not None and "room" not in record
    guard: dict = record["guard"]
    return guard


def test_findings_survive_a_journal() -> None:
    worst = Worst(1.53, (0, 1, 2), 64, 128, 2, 100.25, 99.5)
    counts = (5, 1, 0, 2, 3, 9, 10**7, 0.75)
    several = [Findings(*counts, None, 10**9, -(10**7)), Findings(*counts, worst, 12, 0)]
    for found in (Findings(*counts, worst), Findings(), Findings(9), *several):
        kept = Findings.of_note(found.as_note((0, 1, 2)), (0, 1, 2))
        assert kept == found.in_plane((0, 1, 2))
    with pytest.raises(ValueError):
        Findings.of_note("1 2 three", (0, 0, 0))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = lively_model(NET)
    tensors = {k: v.copy() for k, v in model.tensors.items()}
    name = next(iter(tensors))
    tensors[name].flat[1] = np.nan
    save_model(tmp_path / "m.safetensors", NET, tensors, {"task": "denoise"})
    with pytest.raises(WeightsError, match=rf"1 of \d+ weights of {name} are NaN or infinite"):
        _ = load_model(tmp_path / "m.safetensors").tensors
    tifffile.imwrite(tmp_path / "in.tif", noisy_image())
    output = tmp_path / "o.tif"
    with pytest.raises(WeightsError, match="NaN or infinite"):
        restore_file(tmp_path / "in.tif", output, Options(tmp_path / "m.safetensors"))
    assert not output.exists() and not part_path(output).exists()


def test_an_answer_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    model = lively_model(NET)
    last = "ending.weight"
    huge = {**model.tensors, last: np.full_like(model.tensors[last], 3e38)}
    tifffile.imwrite(tmp_path / "in.tif", noisy_image())
    output = tmp_path / "o.tif"
    asked = Options(replace(model, _tensors=huge, name="huge"))
    with pytest.raises(WeightsError, match=r"model huge: .* at row \d+, column \d+ is not"):
        restore_file(tmp_path / "in.tif", output, asked)
    assert not output.exists() and not part_path(output).exists()
    with pytest.raises(WeightsError, match="not a finite number"):
        unetmm.restore(noisy_image(), model=asked.model)


def test_an_image_that_was_restored_before_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((64, 64), 9, np.uint8))
    reports = [
        restore_file(tmp_path / f"{a}.tif", tmp_path / f"{b}.tif", Options(model="tiny-mono"))
        for a, b in ("ab", "bc")
    ]
    told = ["made it already, by model tiny-mono" in " ".join(r.warnings) for r in reports]
    assert told == [False, True]
