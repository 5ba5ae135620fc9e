"""Outputs of another pixel type: every format, any cut, resumed; what cannot be kept is refused."""

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
from helpers import content, lively_model
from interrupted import NET, options, stop_after

import unetmm
from unetmm.errors import BudgetError, ImageError, ResumeError, ShapeError
from unetmm.intensities.validity import NoData
from unetmm.io.array import array_info
from unetmm.io.image import Box, ImageInfo
from unetmm.io.metadata import DisplayFacts, Metadata
from unetmm.io.open import open_source
from unetmm.io.retyped import retype
from unetmm.options import Options
from unetmm.provenance.verify import verify
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run as run_cli

MODEL = lively_model(NET)


def read(path: Path) -> np.ndarray:
    source = open_source(path)
    try:
        return np.asarray(source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width)))
    finally:
        source.close()


def photons(shape: tuple[int, int] = (200, 220), mean: float = 3.0) -> np.ndarray:
    return np.random.default_rng(3).poisson(mean, shape).astype(np.uint16)


def test_float_output_is_what_integers_are_rounded_from() -> None:
    image = photons(mean=900)
    floats = unetmm.restore(image, model=MODEL, dtype=np.float32)
    assert floats.dtype == np.float32
    assert np.array_equal(np.rint(floats).clip(0, 65535), unetmm.restore(image, model=MODEL))
    wide = unetmm.restore(image, model=MODEL, dtype="float64")
    assert np.array_equal(wide, floats)
    assert np.array_equal(unetmm.restore(image, model=MODEL, dtype="uint16"), np.rint(floats))


def test_dithered_means_are_those_of_floats() -> None:
    image = photons(mean=4)
    floats = unetmm.restore(image, model=MODEL, dtype="float32")
    dithered = unetmm.restore(image, model=MODEL, rounding="dither")
    assert dithered.dtype == np.uint16
    assert np.abs(dithered - floats.clip(0)).max() < 1
    assert dithered.mean() == pytest.approx(floats.clip(0).mean(), rel=0.01)


def test_dither_does_not_depend_on_cut_or_container() -> None:
    image = photons((1100, 1300))
    with pytest.raises(BudgetError) as caught:
        unetmm.make_plan(image.shape, image.dtype, MODEL, 1)
    tight, wide = caught.value.needed_bytes + 10**6, 2 * 10**9
    asked = Options(MODEL, wide, rounding="dither")
    found = restore_array(image, asked)
    for other in (
        replace(asked, budget_bytes=tight),
        replace(asked, workers=1),
        replace(asked, workers=3),
    ):
        assert np.array_equal(restore_array(image, other), found)
    lazy = unetmm.restore(
        da.from_array(image, (300, 400)), model=MODEL, mem_budget=wide, rounding="dither"
    )
    assert np.array_equal(lazy.compute(scheduler="synchronous"), found)


def test_lazy_arrays_have_the_type() -> None:
    image = photons()
    lazy = unetmm.restore(da.from_array(image, (64, 220)), model=MODEL, dtype="float32")
    assert lazy.dtype == np.float32
    expected = unetmm.restore(image, model=MODEL, dtype="float32")
    assert np.array_equal(lazy.compute(scheduler="synchronous"), expected)


@pytest.mark.parametrize("name", ["o.tif", "o.ome.tif", "o.ome.zarr", "o.npy", "o.png"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
def test_every_format_that_holds_the_type(
    folder: Path, tmp_path: Path, name: str, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    output, asked = tmp_path / name, options(folder, dtype=dtype)
    if name == "o.png" and dtype != "uint8":
        with pytest.raises(ImageError, match=f"PNG holds uint8 or uint16, the image is {dtype}"):
            restore_file(folder / "in.tif", output, asked)
        return
    with caplog.at_level(logging.WARNING):
        report = restore_file(folder / "in.tif", output, asked)
    expected = restore_array(read(folder / "in.tif")[..., 0], replace(asked, model=MODEL))
    found = read(output)[..., 0]
    assert found.dtype == np.dtype(dtype) and np.array_equal(found, expected)
    stored = report.as_dict()["stored"]
    assert stored["dtype"] == dtype
    clipped = np.count_nonzero(found == 255) if dtype == "uint8" else 0
    assert stored["clipped"] == clipped
    assert bool(clipped) == any("do not fit into uint8" in m for m in caplog.messages)
    if name.endswith((".tif", ".zarr")):
        assert not verify(output).damaged


def test_pyramids_have_the_type(tmp_path: Path) -> None:
    import zarr

    image = photons((1100, 600), 30)
    tifffile.imwrite(tmp_path / "in.tif", image)
    restore_file(tmp_path / "in.tif", tmp_path / "o.ome.zarr", Options(MODEL, dtype="float32"))
    group: Any = zarr.open_group(tmp_path / "o.ome.zarr", mode="r")
    fine, coarse = (np.asarray(group[n]) for n in "01")
    assert fine.dtype == coarse.dtype == np.float32
    assert np.allclose(coarse, fine.reshape(550, 2, 300, 2).mean((1, 3)), rtol=1e-6)


def test_a_run_goes_on_with_its_type_and_no_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"dtype": "uint8", "rounding": "dither"}
    restore_file(folder / "in.tif", tmp_path / "whole.tif", options(folder, **asked))
    output = tmp_path / "o.tif"
    stop_after(folder, output, 3, monkeypatch, **asked)
    with pytest.raises(ResumeError, match="dtype uint8, now it is of the input"):
        restore_file(folder / "in.tif", output, options(folder))
    with pytest.raises(ResumeError, match="rounding dither, now it is nearest"):
        restore_file(folder / "in.tif", output, options(folder, dtype="uint8"))
    report = restore_file(folder / "in.tif", output, options(folder, **asked))
    assert report.resumed_rows > 0
    assert np.array_equal(read(output), read(tmp_path / "whole.tif"))
    assert restore_file(folder / "in.tif", output, options(folder, **asked)).already_done
    with pytest.raises(ImageError, match="was made with dtype uint8, now it is of the input"):
        restore_file(folder / "in.tif", output, options(folder))


def test_the_type_of_the_input_is_no_other_fact(folder: Path, tmp_path: Path) -> None:
    for n, asked in enumerate(({}, {"dtype": "input"}, {"dtype": "uint16"})):
        restore_file(folder / "in.tif", tmp_path / f"{n}.tif", options(folder, **asked))
    same = [content(tmp_path / f"{n}.tif") for n in range(3)]
    assert same[0] == same[1] == same[2]


def test_finalize_knows_the_type(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unetmm.io.output.output import Output
    from unetmm.provenance.verify import finalize

    output = tmp_path / "o.ome.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        restore_file(folder / "in.tif", output, options(folder, dtype="float32"))
    assert not output.exists()
    assert finalize(output)
    assert read(output).dtype == np.float32


def test_plans_count_the_written_type() -> None:
    plans = [
        unetmm.make_plan((3000, 3000), "uint8", MODEL, 2 * 10**9, output_dtype=d)
        for d in (None, "uint8", "float64")
    ]
    same, stated, wide = (p.terms for p in plans)
    assert same == stated
    assert wide.sink > 4 * same.sink and wide.arena > same.arena


def info(dtype: str, alpha: bool = False, **facts: Any) -> ImageInfo:
    shape = (8, 9, 4) if alpha else (8, 9)
    return replace(array_info(shape, np.dtype(dtype), None), alpha=alpha, **facts)


@pytest.mark.parametrize(
    ("source", "nodata", "target", "fits"),
    [
        ("float32", -9999.0, "int16", True), ("float32", -9999.0, "uint16", False),
        ("uint16", 65535.0, "uint8", False), ("uint16", 65535.0, "float32", True),
        ("float32", float("nan"), "float64", True), ("float32", float("nan"), "uint16", False),
        ("float32", -3.4028234663852886e38, "float16", False), ("float64", 0.1, "float32", False),
        ("uint16", 65535.0, "float16", False),
    ],
)  # fmt: skip
def test_nodata_is_kept_or_the_type_refused(
    source: str, nodata: float, target: str, fits: bool
) -> None:
    image = info(source, nodata=NoData.of(nodata))
    if fits:
        assert retype(image, target).dtype == np.dtype(target)
    else:
        with pytest.raises(ImageError, match=r'"no data".*does not fit into.*give --dtype'):
            retype(image, target)


def test_opacity_goes_only_where_its_scale_is_known() -> None:
    rgba = np.random.default_rng(0).integers(0, 255, (40, 50, 4), endpoint=True).astype(np.uint8)
    found = unetmm.restore(rgba, model=MODEL, dtype="uint16")
    assert np.array_equal(found[..., 3], rgba[..., 3].astype(np.uint16) * 257)
    plain = unetmm.restore(rgba, model=MODEL)
    assert np.array_equal(found[..., :3].clip(0, 255), plain[..., :3])
    for target in ("float32", "int16"):
        with pytest.raises(ImageError, match="what is opaque"):
            unetmm.restore(rgba, model=MODEL, dtype=target)
    assert retype(info("float32", alpha=True), "float64").alpha


def test_significant_bits_follow_the_type() -> None:
    none, twelve = Metadata(), Metadata(display=DisplayFacts(bits=12))

    def bits(source: str, target: str, metadata: Metadata = none) -> int:
        return retype(info(source, metadata=metadata), target).metadata.display.bits

    assert bits("uint8", "uint16") == 8 and bits("uint16", "uint8") == 0
    assert bits("uint16", "uint32", twelve) == 12 and bits("uint16", "float32", twelve) == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"dtype": "int64"}, "asked for dtype"), ({"dtype": "colour"}, "asked for dtype"),
     ({"rounding": "up"}, "asked for rounding")],
)  # fmt: skip
def test_unknown_types_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        unetmm.restore(photons(), model=MODEL, **asked)


def test_nan_in_integers_is_said(caplog: pytest.LogCaptureFixture) -> None:
    image = photons().astype(np.float32)
    image[5:7, 9] = np.nan
    with caplog.at_level(logging.WARNING):
        found = unetmm.restore(image, model=MODEL, dtype="uint16")
    assert (found[5:7, 9] == 0).all()
    assert any("2 values are NaN or infinite" in m for m in caplog.messages)


def test_the_command_line_takes_both(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    output = tmp_path / "o.tif"
    words = ["denoise", folder / "in.tif", "-o", output, "--model", folder / "m.safetensors"]
    words += ["--dtype", "uint32", "--rounding", "dither", "--report", report]
    assert run_cli([str(word) for word in words]) == 0
    assert read(output).dtype == np.uint32
    stored = json.loads(report.read_text())["stored"]
    assert stored == {"dtype": "uint32", "rounding": "dither", "clipped": 0, "unmeasured": 0}


def test_the_command_line_knows_all_types() -> None:
    from typing import get_args

    from unetmm.intensities.rounding import ROUNDINGS
    from unetmm.io.image import DTYPES
    from unetmm_cli.options.output import Dtype, Rounding

    assert get_args(Dtype) == ("auto", "input", *DTYPES) and get_args(Rounding) == ROUNDINGS
