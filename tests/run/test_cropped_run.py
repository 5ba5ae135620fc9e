"""A run that writes a part of each plane writes the very pixels of the whole run."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import content
from interrupted import OUTPUTS, go_on, options, stop_after
from numpy.typing import NDArray

from unetmm.errors import ImageError, ResumeError
from unetmm.io.array import ArraySource
from unetmm.io.framed import FramedSource, framed_info
from unetmm.io.image import Box, ImageInfo
from unetmm.io.metadata import GeoFacts, Mask, Metadata, MicroscopyFacts, TiffFacts
from unetmm.io.open import open_source
from unetmm.io.output.output import Output
from unetmm.plan.search import plan_run
from unetmm.plan.share import Share
from unetmm.plan.types import Plan, Request
from unetmm.provenance.verify import finalize, verify
from unetmm.run.of_file import restore_file

CROP = Box(77, 41, 1263, 690)
"""A part of 3 x 2 chunks that begins in the middle of one of the whole output."""


def planes_of(path: Path) -> list[NDArray[Any]]:
    with closing(open_source(path)) as source:
        info = source.info
        return [source.read(p, Box(0, 0, info.height, info.width)) for p in info.planes]


def assert_cut(found: Path, whole: Path, box: Box) -> None:
    for part, plane in zip(planes_of(found), planes_of(whole), strict=True):
        expected = plane[box.y0 : box.y1, box.x0 : box.x1]
        np.testing.assert_array_equal(part, expected, strict=True)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize(
    "box", [CROP, Box(0, 0, 9, 700), Box(1299, 699, 1300, 700), Box(512, 0, 1024, 512)]
)
def test_a_crop_is_cut_out_of_the_whole(folder: Path, tmp_path: Path, name: str, box: Box) -> None:
    report = go_on(folder, tmp_path / name, crop=box)
    assert_cut(tmp_path / name, folder / name, box)
    assert report.megapixels == box.height * box.width / 1e6 and report.complete
    if not name.endswith(".png"):  # which does not say how it was made
        assert go_on(folder, tmp_path / name, crop=box).already_done
        assert not verify(tmp_path / name).damaged


def test_a_tight_plan_and_many_workers_make_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on(folder, tmp_path / "a.tif", crop=CROP)
    plans: list[Plan] = []

    def cut(request: Request) -> Plan:
        from unetmm.geometry import split_axis

        plan = plan_run(request)
        stride = request.config.stride_px
        strips, segments = (
            tuple(split_axis(n, 9, 512, plan.halo_px, stride, part))
            for n, part in zip((700, 1300), reversed(request.written), strict=True)
        )
        plans.append(replace(plan, strips=strips, segments=segments, workers=3))
        return plans[-1]

    monkeypatch.setattr("unetmm.plan.outlook.plan_run", cut)
    go_on(folder, tmp_path / "b.tif", crop=CROP)
    assert (len(plans[-1].strips), len(plans[-1].segments)) == (2, 3)
    assert content(tmp_path / "a.tif") == content(tmp_path / "b.tif")


def test_the_plan_is_that_of_the_crop(folder: Path, tmp_path: Path) -> None:
    small = go_on(folder, tmp_path / "a.tif", crop=Box(300, 300, 400, 380)).plan
    assert small is not None
    assert [(s.write_start, s.write_stop) for s in small.strips] == [(300, 380)]
    assert [(s.write_start, s.write_stop) for s in small.segments] == [(300, 400)]
    whole = go_on(folder, tmp_path / "b.tif").plan
    assert whole is not None and small.estimated_s < whole.estimated_s / 4
    assert small.projected_peak_bytes < whole.projected_peak_bytes


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_killed_run_goes_on(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "peace").mkdir()
    go_on(folder, tmp_path / "peace" / name, crop=CROP)
    stop_after(folder, tmp_path / name, 3, monkeypatch, crop=CROP)
    with pytest.raises(ResumeError, match="crop 41,77,649,1186"):
        go_on(folder, tmp_path / name, crop=Box(77, 41, 1263, 689))
    with pytest.raises(ResumeError, match="crop"):
        go_on(folder, tmp_path / name)
    report = go_on(folder, tmp_path / name, crop=CROP)
    assert 0 < report.megapixels < CROP.height * CROP.width / 1e6
    assert content(tmp_path / name) == content(tmp_path / "peace" / name)


def test_shares_make_the_crop_together_and_finalize_finishes_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on(folder, tmp_path / "one.tif", crop=CROP)
    for index in (1, 0):
        share, cropped = Share(index, 2), options(folder, crop=CROP)
        restore_file(folder / "in.tif", tmp_path / "two.tif", cropped, share=share)
    assert content(tmp_path / "two.tif") == content(tmp_path / "one.tif")
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        go_on(folder, tmp_path / "left.tif", crop=CROP)
    assert finalize(tmp_path / "left.tif")
    assert content(tmp_path / "left.tif") == content(tmp_path / "one.tif")


def test_the_guard_compares_all_blocks_of_the_crop(folder: Path, tmp_path: Path) -> None:
    guard = go_on(folder, tmp_path / "out.ome.zarr", crop=CROP).guard
    assert guard["blocks"] == -(-CROP.height // 64) * -(-CROP.width // 64)


def test_a_crop_of_everything_is_no_crop(folder: Path, tmp_path: Path) -> None:
    go_on(folder, tmp_path / "out.tif", crop=Box(0, 0, 1300, 700))
    assert content(tmp_path / "out.tif") == content(folder / "out.tif")


def test_a_crop_outside_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="700 px wide and 1300 px high"):
        go_on(folder, tmp_path / "out.tif", crop=Box(0, 0, 5, 701))
    assert not list(tmp_path.iterdir())


def test_films_channels_and_gaps_too(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    film = rng.normal(900, 60, (2, 3, 140, 170)).astype(np.float32)
    film[:, 1, 30:80, 60:90] = np.nan
    film[0, :, 100:, 100:110] *= 30
    source = tmp_path / "film.ome.tif"
    tifffile.imwrite(source, film, metadata={"axes": "TCYX"})
    box = Box(25, 50, 131, 169)
    restore_file(source, tmp_path / "whole.ome.zarr", options(folder))
    restore_file(source, tmp_path / "part.ome.zarr", options(folder, crop=box))
    assert_cut(tmp_path / "part.ome.zarr", tmp_path / "whole.ome.zarr", box)


@pytest.mark.parametrize("tie", ["point", "matrix"])
def test_the_place_on_earth_is_that_of_the_crop(folder: Path, tmp_path: Path, tie: str) -> None:
    pixels = np.random.default_rng(5).normal(3000, 300, (90, 80)).astype(np.uint16)
    matrix = (10.0, 1.0, 0, 5000.0, 2.0, -10.0, 0, 9000.0, *[0] * 7, 1.0)
    point = [(33550, 12, 3, (10.0, 10.0, 0.0)), (33922, 12, 6, (2.0, 3.0, 0, 5000.0, 9000.0, 0))]
    tags = point if tie == "point" else [(34264, 12, 16, matrix)]
    keys = (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1))
    tifffile.imwrite(tmp_path / "geo.tif", pixels, extratags=[(*t, True) for t in [*tags, keys]])
    restore_file(
        tmp_path / "geo.tif", tmp_path / "out.tif", options(folder, crop=Box(7, 20, 60, 70))
    )
    before, after = (transform_of(tmp_path / name) for name in ("geo.tif", "out.tif"))
    x0, a, b, y0, c, d = before
    assert after == pytest.approx((x0 + 20 * a + 7 * b, a, b, y0 + 20 * c + 7 * d, c, d))


def transform_of(path: Path) -> tuple[float, ...]:
    with closing(open_source(path)) as source:
        found = source.info.metadata.geo.transform
    assert len(found) == 6
    return found


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
def test_the_place_on_the_stage_is_that_of_the_crop(
    folder: Path, tmp_path: Path, name: str
) -> None:
    pixels = np.random.default_rng(5).normal(3000, 300, (90, 80)).astype(np.uint16)
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25}
    place = {"PositionX": 3.0, "PositionXUnit": "mm", "PositionY": 40.0, "PositionYUnit": "µm"}
    metadata = {"axes": "YX", **sizes, "PhysicalSizeYUnit": "µm", "Plane": place}
    tifffile.imwrite(tmp_path / "in.ome.tif", pixels, metadata=metadata)
    restore_file(tmp_path / "in.ome.tif", tmp_path / name, options(folder, crop=Box(8, 20, 60, 70)))
    with closing(open_source(tmp_path / name)) as source:
        info = source.info
    assert info.pixel_size["X"] == (0.5, "micrometer")
    found = {axis: place for axis, (place, _) in info.metadata.microscopy.origin.items()}
    x = 3.01 if info.metadata.microscopy.origin["X"][1] == "millimeter" else 3010
    assert found == pytest.approx({"X": x, "Y": 42.0})


def test_a_position_without_a_length_is_left_out_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = MicroscopyFacts(origin={"X": (3.0, "reference frame"), "Z": (1.0, "micrometer")})
    info = ImageInfo(
        "ome-tiff", "YX", (9, 9), np.dtype(np.uint8), (9, 9), metadata=Metadata(microscopy=seen)
    )
    source = ArraySource(np.zeros((9, 9), np.uint8), info)
    framed = FramedSource(source, Box(1, 1, 4, 5)).info
    assert dict(framed.metadata.microscopy.origin) == {"Z": (1.0, "micrometer")}
    assert framed.shape == (3, 4) and caplog.text.count("left out") == 1


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (Metadata(geo=GeoFacts(rpc=True)), "rational polynomials"),
        (Metadata(tiff=TiffFacts(mask=Mask())), "a mask of valid pixels"),
    ],
)
def test_what_a_crop_cannot_keep_is_refused(known: Metadata, text: str) -> None:
    info = ImageInfo("tiff", "YX", (9, 9), np.dtype(np.uint8), (9, 9), metadata=known)
    with pytest.raises(ImageError, match=text):
        framed_info(info, Box(1, 1, 4, 5))


def test_dithered_outputs_of_another_type_too(folder: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"rounding": "dither", "strength": 0.7}
    go_on(folder, tmp_path / "whole.tif", **changes)
    go_on(folder, tmp_path / "part.tif", crop=CROP, **changes)
    assert_cut(tmp_path / "part.tif", tmp_path / "whole.tif", CROP)


@pytest.mark.parametrize(
    "seen",
    [MicroscopyFacts(imagej={"ROI": b"1"}), MicroscopyFacts(ome_xml="<OME><ROI ID='R'/></OME>")],
)
def test_regions_of_interest_that_are_left_out_are_said(
    seen: MicroscopyFacts, caplog: pytest.LogCaptureFixture
) -> None:
    info = ImageInfo(
        "tiff", "YX", (9, 9), np.dtype(np.uint8), (9, 9), metadata=Metadata(microscopy=seen)
    )
    FramedSource(ArraySource(np.zeros((9, 9), np.uint8), info), Box(1, 1, 4, 5))
    assert "regions of interest" in caplog.text
