"""Frozen statistics depend on the image alone, and freezing costs nothing in the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import SMALL_UNETMM, assert_close, compiled, lively_model, lively_net, reference

import unetmm
from unetmm.calibrate.calibration import Calibration
from unetmm.calibrate.measure import calibrate, calibration_bytes
from unetmm.calibrate.patches import observed_patches, patch_boxes
from unetmm.calibrate.through import STREAMS_BYTES, PatchStreams, patch_streams
from unetmm.engine.cpu.stream import ObservingStream
from unetmm.errors import ShapeError
from unetmm.io.array import ArraySource, array_info
from unetmm.models.groups import sample_groups
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.provenance.record import load_calibration

MONO = NetConfig(1, 1, 8, (1, 1), 1, (1, 1))


def source_of(image: np.ndarray, axes: str | None = None) -> ArraySource:
    return ArraySource(image, array_info(image.shape, image.dtype, axes))


def measured(image: np.ndarray, config: NetConfig, axes: str | None = None) -> Calibration:
    source = source_of(image, axes)
    return calibrate(source, compiled(config), "lively", sample_groups(config, source.info))


def test_a_small_image_is_calibrated_as_a_whole() -> None:
    """So the frozen net gives exactly what the public net with global pooling gives."""
    image = np.random.default_rng(0).random((61, 90, 3), np.float32)
    source = source_of(image)
    found = calibrate(source, compiled(SMALL_UNETMM), "lively", [(0, 1, 2)], (0.0, 1.0))
    frozen = reference(lively_net(SMALL_UNETMM), image, dict(found.entry(0, 0).attention))
    assert_close(frozen, reference(lively_net(SMALL_UNETMM), image, None), 2e-6)


def test_patches_cover_a_large_plane_and_never_leave_it() -> None:
    info = array_info((3, 5000, 700), np.dtype("u2"), "TYX")
    boxes = patch_boxes(info)
    assert len(boxes) == 16 and {t for t, _, _ in boxes} == {0, 1, 2}
    for _, _, box in boxes:
        assert (box.height, box.width) == (128, 128)
        assert 0 <= box.y0 and box.y1 <= 5000 and 0 <= box.x0 and box.x1 <= 700
    assert {box.y0 * 4 // 5000 for _, _, box in boxes} == {0, 1, 2, 3}
    assert boxes == patch_boxes(info)


@pytest.mark.parametrize(
    ("shape", "axes", "expected", "note"),
    [
        ((4096, 2048, 3), None, range(16), "all of them are a 32nd of the image"),
        ((4095, 2048, 3), None, (0, 2, 5, 7, 8, 10, 13, 15), "they would be more"),
        ((40, 512, 512), "ZYX", range(16), "a stack counts as a whole"),
        ((20, 512, 512), "TYX", (0, 2, 5, 7, 8, 10, 13, 15), "here as well"),
        ((5, 200, 256), "ZYX", range(5), "whole planes"),
    ],
)
def test_small_images_are_observed_in_half_their_patches(
    shape: tuple[int, ...], axes: str | None, expected: Sequence[int], note: str
) -> None:
    assert observed_patches(array_info(shape, np.dtype("u1"), axes)) == list(expected), note


def test_the_patches_that_are_not_observed_still_fix_the_range() -> None:
    """Half of them see no bright pixel; the attention is that of the other half's pixels."""
    image = np.random.default_rng(5).random((512, 512)).astype(np.float32)
    info = array_info(image.shape, image.dtype, None)
    boxes = [box for _, _, box in patch_boxes(info)]
    observed = [boxes[i] for i in observed_patches(info)]
    before = measured(image, MONO).entry(0, 0)
    for box in boxes:
        image[box.y0 : box.y1, box.x0 : box.x1] += 3
    for box in observed:
        image[box.y0 : box.y1, box.x0 : box.x1] = 0.5
    after = measured(image, MONO).entry(0, 0)
    assert before.high < 1 < 3 < after.high


def test_every_channel_has_statistics_of_its_own() -> None:
    rng = np.random.default_rng(1)
    image = np.stack([rng.normal(m, 10, (64, 64)) for m in (100, 900)]).astype(np.uint16)
    found = measured(image, MONO, "CYX")
    assert found.entry(0, 0).high < found.entry(1, 0).low
    assert set(found.entries) == {"0.0", "1.0"}
    with pytest.raises(ShapeError, match="asked for channel 2"):
        found.entry(2, 0)


def test_statistics_do_not_depend_on_the_number_of_cores() -> None:
    image = np.random.default_rng(4).integers(0, 256, (300, 400, 3), np.uint8)
    net, groups = compiled(SMALL_UNETMM), [(0, 1, 2)]
    alone, two, three = (
        calibrate(source_of(image), net, "lively", groups, cores=cores).to_json()
        for cores in (1, 2, 3)
    )
    assert alone == two == three


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_share_a_patch_do_not_disturb_one_another(threads: int) -> None:
    """Many times, for it is a matter of who is faster."""
    net = compiled(MONO)
    patch = np.random.default_rng(0).random((200, 232, 1), np.float32)
    alone = ObservingStream(net, net.unattended(), 232, 200).observe(patch)
    stream = ObservingStream(net, net.unattended(), 232, 200, threads)
    for _ in range(40):
        together = stream.observe(patch)
        assert all(np.array_equal(together[name], alone[name]) for name in alone)


@pytest.mark.parametrize(("cores", "streams", "threads"), [(1, 1, 1), (4, 4, 1), (30, 8, 3)])
def test_calibration_bytes_are_what_the_streams_take(
    cores: int, streams: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetmm.calibrate.through.STREAMS_BYTES", 10**9)
    info = array_info((331, 287, 3), np.dtype("u1"), None)
    stream = ObservingStream(
        compiled(SMALL_UNETMM), compiled(SMALL_UNETMM).unattended(), 128, 128, threads
    )
    arrays = stream.sums, stream.seen, stream.factors
    held = stream.nbytes + sum(a.nbytes for a in arrays) + 2 * 64 + 128 * 128 * 3 * 4
    patches = 4 * 16 * 128 * 128 * 3
    answers = streams * 128 * 128 * 3 * 4
    expected = patches + streams * held + answers + stream.frozen.nbytes + 64
    assert patch_streams(SMALL_UNETMM, info, cores) == PatchStreams(streams, threads, held)
    assert calibration_bytes(SMALL_UNETMM, info, cores) == expected


def test_patches_side_by_side_raise_no_budget() -> None:
    info = array_info((331, 287, 3), np.dtype("u2"), None)
    few, many = (patch_streams(SMALL_UNETMM, info, cores) for cores in (1, 64))
    assert few.count == 1 < many.count
    assert many.count * few.each_bytes < STREAMS_BYTES


def test_unmeasured_pixels_do_not_poison_the_statistics() -> None:
    image = np.random.default_rng(2).normal(5, 1, (64, 64)).astype(np.float32)
    image[10:20] = np.nan
    entry = measured(image, MONO).entry(0, 0)
    assert entry.fill == pytest.approx(5, abs=0.1)
    assert all(np.isfinite(a).all() for a in entry.attention.values())


def test_far_away_pixels_do_not_fill_the_holes() -> None:
    image = np.random.default_rng(2).random((64, 64), np.float32)
    image[10:20], image[40, 3:6] = np.nan, 1e5
    entry = measured(image, MONO).entry(0, 0)
    assert image[40, 3:6].mean() > 1e4 and 0 <= entry.low <= entry.fill <= entry.high <= 1


@pytest.mark.parametrize("scale", [1e-45, 1e-310])
def test_a_range_that_float32_cannot_stretch_is_none(scale: float) -> None:
    image = np.random.default_rng(3).random((32, 40)) * scale
    found = unetmm.restore(image, model=lively_model(MONO))
    assert np.isfinite(found).all()
    with pytest.raises(ShapeError, match="asked for the range 0.0 to"):
        Options(fixed_range=(0.0, scale))


def test_calibration_survives_its_file(tmp_path: Path) -> None:
    image = np.random.default_rng(3).normal(5, 1, (40, 40)).astype(np.float32)
    found = measured(image, MONO)
    path = tmp_path / "calibration.json"
    path.write_text(found.to_json())
    back = load_calibration(path)
    for name, attention in found.entry(0, 0).attention.items():
        assert np.array_equal(back.entry(0, 0).attention[name], attention)
    assert (back.entry(0, 0).low, back.entry(0, 0).fill) == (
        found.entry(0, 0).low,
        found.entry(0, 0).fill,
    )
    assert back.entry(0, 0).noise == found.entry(0, 0).noise
    assert back.entry(0, 0).noise[0].read == pytest.approx(1, rel=0.2)


def test_levels_of_saturation_survive_their_file() -> None:
    image = np.random.default_rng(3).normal(3000, 300, (64, 64, 3))
    image[10:30, 10:30, 1] = 9000
    cut = np.minimum(np.rint(image), 4095).astype(np.uint16)
    colour = replace(MONO, in_channels=3, out_channels=3)
    found = measured(cut, colour, "YXS")
    assert found.entry(0, 0).saturated == (np.inf, 4095, np.inf)
    assert Calibration.from_json(found.to_json()).entry(0, 0).saturated == (np.inf, 4095, np.inf)
    assert measured(cut // 16, colour, "YXS").entry(0, 0).saturated == (np.inf, 255, np.inf)
    assert measured((cut // 16).astype(np.uint8), colour, "YXS").entry(0, 0).saturated == ()


def test_calibrations_of_older_versions_know_no_noise() -> None:
    content = json.loads(measured(np.zeros((40, 40), np.float32), MONO).to_json())
    del content["entries"]["0.0"]["noise"]
    assert Calibration.from_json(json.dumps(content)).entry(0, 0).noise == ()
    content["entries"]["0.0"]["noise"] = [{"gain": 1}]
    with pytest.raises(ShapeError, match="not a calibration file"):
        Calibration.from_json(json.dumps(content))
