"""A chosen model is told, kept with the output, and used again where a run goes on."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import unetmm
from unetmm.errors import ImageError
from unetmm.options import Options
from unetmm.plan.share import Share
from unetmm.provenance.record import load_calibration, read_record
from unetmm.run import model as model_of_run
from unetmm.run.loaded import Loaded
from unetmm.run.of_file import find_finished, restore_file


@pytest.fixture(scope="module")
def smeared() -> NDArray[np.uint8]:
    """Colours with noise smeared over 2 px."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:150, :170]
    clean = 120 + 60 * np.sin(rows / 23)[..., None] * np.cos(columns / 31)[..., None]
    white = rng.standard_normal((151, 171, 3))
    noise = white[1:, 1:] + white[:-1, 1:] + white[1:, :-1] + white[:-1, :-1]
    return np.clip(clean + 9 * noise, 0, 255).astype(np.uint8)


@pytest.fixture
def path(smeared: NDArray[np.uint8], tmp_path: Path) -> Path:
    found = tmp_path / "smeared.tif"
    tifffile.imwrite(found, smeared, photometric="rgb")
    return found


def no_choice(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("the image was looked at once more")


def test_the_choice_is_told_and_kept(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out.tif"
    with caplog.at_level(logging.INFO, "unetmm"):
        report = restore_file(path, output, Options())
    assert report.model == "universal-tiny-rgb"
    assert any("model universal-tiny-rgb, since" in line for line in caplog.messages)
    told = json.loads(json.dumps(report.as_dict()))["model_choice"]
    assert told["model"] == "universal-tiny-rgb"
    assert set(told["estimated_errors"]) >= {"tiny-rgb", "universal-tiny-rgb"}
    record = read_record(output)
    assert record is not None
    assert record["model_choice"] == told


def test_an_output_that_is_there_is_known_without_looking(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tif"
    restore_file(path, output, Options())
    monkeypatch.setattr(model_of_run, "choose_model", no_choice)
    assert restore_file(path, output, Options()).already_done
    found = find_finished(path, output, Options(model="auto"))
    assert found is not None
    assert found.model == "universal-tiny-rgb"


def test_an_output_of_another_model_is_not_taken_for_this_one(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    restore_file(path, output, Options(model="tiny-rgb"))
    with pytest.raises(ImageError, match="made with model tiny-rgb"):
        restore_file(path, output, Options())


def test_the_choice_among_models_of_clean_data_is_another(path: Path, tmp_path: Path) -> None:
    white = np.random.default_rng(0).normal(120, 20, (90, 100, 3)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(path, white, photometric="rgb")
    output = tmp_path / "out.tif"
    restore_file(path, output, Options())
    with pytest.raises(ImageError, match="made with model tiny-rgb"):
        restore_file(path, output, Options(model="auto-clean"))
    report = restore_file(path, tmp_path / "b.tif", Options(model="auto-clean"))
    assert report.model == "tiny-rgb-clean"


def test_shares_follow_the_one_that_began(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.ome.zarr"
    restore_file(path, output, Options(), share=Share(0, 2))
    monkeypatch.setattr(model_of_run, "choose_model", no_choice)
    report = restore_file(path, output, Options(), share=Share(1, 2))
    assert report.complete
    assert report.model == "universal-tiny-rgb"


def test_statistics_bring_their_model(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    restore_file(path, output, Options(model="tiny-rgb"))
    report = restore_file(path, tmp_path / "b.tif", Options(calibration=output))
    assert report.model == load_calibration(output).model == "tiny-rgb"


def test_arrays_files_and_lazy_arrays_agree(
    path: Path, smeared: NDArray[np.uint8], tmp_path: Path
) -> None:
    restore_file(path, tmp_path / "out.tif", Options())
    of_file = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(unetmm.restore(smeared), of_file)
    lazy = unetmm.restore(da.from_array(smeared, (64, 64, 3)), axes="YXS")
    np.testing.assert_array_equal(lazy.compute(), of_file)
    np.testing.assert_array_equal(unetmm.restore(smeared, model="universal-tiny-rgb"), of_file)


def test_losers_are_let_go(path: Path, tmp_path: Path) -> None:
    loaded = Loaded()
    restore_file(path, tmp_path / "out.tif", replace(Options(), workers=1), loaded=loaded)
    assert len(loaded._nets) == 1


def test_what_is_behind_a_lazy_array_is_computed_once_for_patches(
    smeared: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice of a model and calibration look at the same places."""
    counts = []
    for model in ("universal-tiny-rgb", None):
        looked: list[int] = []

        def look(block: NDArray[np.uint8], looked: list[int] = looked) -> NDArray[np.uint8]:
            looked.append(block.size)
            return block

        blocks = da.from_array(smeared, (64, 64, 3)).map_blocks(look, meta=smeared[:0, :0])
        unetmm.restore(blocks, axes="YXS", model=model).compute(scheduler="synchronous")
        counts.append(len(looked))
    assert counts[0] == counts[1]
