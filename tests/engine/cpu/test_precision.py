"""bf16 is close to fp32, as independent of the cut, smaller, and refused where it cannot be."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import (
    CONFIGS,
    SMALL_UNETMM,
    compiled,
    frozen_attention,
    lively_model,
    stream_image,
)
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

import unetmm
from unetmm.compiling import processor
from unetmm.compiling.processor import LANES, multiplies_bf16
from unetmm.engine.cpu import kernels, precision
from unetmm.engine.cpu.footprint import LINE_FLOATS, frozen_bytes, packed_bytes
from unetmm.engine.cpu.stream import ObservingStream, RowStream
from unetmm.engine.folding import in_pairs, pack
from unetmm.engine.layouts import make_layout
from unetmm.errors import ImageError, ResumeError, ShapeError
from unetmm.io.output.output import Output
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig, nafnet32_config
from unetmm.options import Options
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run as run_cli

needs_bf16 = pytest.mark.skipif(
    not multiplies_bf16(), reason="this processor has no AVX512_BF16, so bf16 is refused here"
)
CLOSE = 3e-3
"""Share of the output's range; a factor has 8 significant bits."""
NET = NetConfig(1, 1, 8, (1, 1), 0, (1, 1))

WITH_BLOCKS = [name for name, config in CONFIGS.items() if config.body == "nafnet"]
"""Nets whose products are rounded."""


def image_of(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng((height, width)).random((height, width, channels), np.float32)


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 to the nearest bfloat16, by comparing with both neighbours; ties to even."""
    down = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    up = (down.view(np.uint32) + 0x10000).view(np.float32)
    middle = (down.astype(np.float64) + up) / 2
    is_even = (down.view(np.uint32) >> 16) % 2 == 0
    below = np.abs(values) < np.abs(middle)
    return np.where(below | ((values == middle) & is_even), down, up)


def some_factors(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random numbers of all sizes, every third one half-way between two bfloat16."""
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 6, shape)).astype(np.float32)
    bits = values.view(np.uint32).reshape(-1)
    bits[::3] = (bits[::3] & 0xFFFF0000) | 0x8000
    return values


def test_weights_are_rounded_to_the_nearest_and_two_depths_share_a_word() -> None:
    panel = some_factors((6, LANES), 0)
    halves = in_pairs(panel).view(np.uint16).reshape(3, LANES, 2)
    found = (halves.transpose(0, 2, 1).reshape(6, LANES).astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(found, rounded(panel))


@njit
def factors_of(matrices, x, out, c, pixels):  # type: ignore[no-untyped-def]
    kernels.scaled_factors(matrices, x, 0, np.ones(c, np.float32), out, 0, c, pixels)


@needs_bf16
def test_maps_are_rounded_like_weights() -> None:
    pixels, c = 3, 2 * LANES
    values = some_factors((pixels, c), 1)
    out = np.zeros(pixels * c, np.float32)
    factors_of(np.zeros(1, np.int32), values.ravel(), out, c, pixels)
    found = (out[: pixels * c // 2].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(found.reshape(pixels, c), rounded(values))
    assert not out[pixels * c // 2 :].any()


PRODUCTS = {"as chosen": kernels.matmul, "by vectors": kernels.matmul_by_vectors}
"""Kernels of products; those by tiles are chosen where the processor has tiles."""


@needs_bf16
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("n", [LANES, 2 * LANES, 5 * LANES], ids="{} outputs".format)
@pytest.mark.parametrize("c", [LANES, 2 * LANES, 3 * LANES], ids="{} channels".format)
@pytest.mark.parametrize("pixels", [1, 8, 13, 16, 55])
def test_products_are_those_of_the_rounded_factors(
    product: str, n: int, c: int, pixels: int
) -> None:
    rng = np.random.default_rng((n, pixels))
    x, w = (rng.normal(size=s).astype(np.float32) for s in ((pixels, c), (n, c)))
    bias = rng.normal(size=n).astype(np.float32)
    before = rng.normal(size=pixels * n).astype(np.float32)
    packed = pack(w[:, None, :], bias, LANES).in_pairs(c, LANES)
    factors = np.zeros(pixels * c // 2, np.float32)
    factors_of(packed.weight, x.ravel(), factors, c, pixels)

    def multiplied(first: int, count: int, accumulate: bool) -> np.ndarray:
        out, at = before.copy(), first * n
        starts, depth = np.array([first * c // 2]), c // 2
        PRODUCTS[product](
            factors, starts, 1, depth, depth, packed.weight, 0, bias, 0, out, at, n, n, count,
            accumulate,
        )  # fmt: skip
        assert np.array_equal(out[:at], before[:at])
        assert np.array_equal(out[at + count * n :], before[at + count * n :])
        return out[at : at + count * n]

    exact = rounded(x).astype(np.float64) @ rounded(w).astype(np.float64).T + bias
    whole = multiplied(0, pixels, False), multiplied(0, pixels, True)
    assert np.abs(whole[0] - exact.ravel()).max() < 1e-5
    assert np.abs(whole[1] - (exact.ravel() + before)).max() < 1e-5
    for first in range(0, pixels, 5):  # a pixel's bits do not depend on those beside it
        count = min(7, pixels - first)
        for accumulate in (False, True):
            part = multiplied(first, count, accumulate)
            assert np.array_equal(part, whole[accumulate][first * n : (first + count) * n])


@pytest.mark.parametrize(
    ("features", "granted", "expected"),
    [
        ({"amx-tile": True, "amx-bf16": True}, True, True),
        ({"amx-tile": True, "amx-bf16": True}, False, False),
        ({"amx-tile": True}, True, False),
        ({}, True, False),
    ],
    ids=["granted", "refused by the system", "tiles without bf16", "none"],
)
def test_tiles_are_used_where_processor_and_system_have_them(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], granted: bool, expected: bool
) -> None:
    monkeypatch.setattr(processor, "_features", lambda: features)
    monkeypatch.setattr(processor, "multiplies_bf16", lambda: True)
    monkeypatch.setattr(processor, "_request_tiles", lambda: granted)
    monkeypatch.setattr(processor, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(processor, "platform", SimpleNamespace(machine=lambda: "x86_64"))
    assert processor.multiplies_tiles.__wrapped__() is expected
    monkeypatch.setattr(processor, "sys", SimpleNamespace(platform="win32"))
    assert processor.multiplies_tiles.__wrapped__() is False


@needs_bf16
@pytest.mark.parametrize("name", [n for n in WITH_BLOCKS if n != "other_channels"])
def test_the_answer_is_close_to_fp32s(name: str) -> None:
    config = CONFIGS[name]
    image = image_of(61, 59, config.in_channels)
    exact, found = (stream_image(config, image, band_rows=16, precision=p) for p in BOTH)
    difference = np.abs(found - exact)
    assert 0 < difference.max() < CLOSE * np.ptp(exact)


BOTH: tuple[precision.Precision, ...] = ("fp32", "bf16")


@needs_bf16
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    bands=st.sampled_from([1, 3, 16]),
    strips=st.integers(1, 5),
    segments=st.integers(1, 4),
    threads=st.integers(1, 4),
)
def test_the_answer_does_not_change_by_a_bit_with_the_cut(
    height: int, width: int, bands: int, strips: int, segments: int, threads: int
) -> None:
    image = image_of(height, width, 3)
    whole = stream_image(SMALL_UNETMM, image, band_rows=4, precision="bf16")
    cut = stream_image(
        SMALL_UNETMM, image, band_rows=4 * bands, strips=strips, segments=segments, workers=2,
        threads=threads, precision="bf16",
    )  # fmt: skip
    assert np.array_equal(whole, cut)


@needs_bf16
def test_panels_of_a_wide_range_are_shared_bit_for_bit() -> None:
    config, image = SMALL_UNETMM, image_of(12, 2052, 3)
    net = compiled(config, "bf16")
    answers = []
    for threads in (1, 3):
        stream = RowStream(net, net.freeze(frozen_attention(config)), 2052, 12, 4, threads)
        bands = [band.copy() for band in stream.push(image)]
        answers.append(np.concatenate(bands + [band.copy() for band in stream.flush()]))
    assert np.array_equal(*answers)


@needs_bf16
@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_statistics_are_measured_in_the_runs_precision(name: str) -> None:
    """They are close to fp32's, and do not depend on the threads or on the patch before."""
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    patch = image_of(6 * stride, 5 * stride, config.in_channels)
    exact, alone, shared = (
        ObservingStream(net, net.unattended(), patch.shape[1], patch.shape[0], threads)
        for net, threads in (
            (compiled(config), 1),
            (compiled(config, "bf16"), 1),
            (compiled(config, "bf16"), 3),
        )
    )
    expected, found = exact.observe(patch), alone.observe(patch)
    shared.observe(patch[::-1].copy())
    again = shared.observe(patch)
    for block, attention in found.items():
        assert np.array_equal(attention, again[block])
        assert np.abs(attention - expected[block]).max() < 0.01
    assert any((found[b] != expected[b]).any() for b in found)


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_bytes_are_what_the_net_holds(name: str) -> None:
    config = CONFIGS[name]
    layout, line = make_layout(config, config.stride_px), LINE_FLOATS * 4
    net = compiled(config, "bf16")
    held = sum(b.project.nbytes + b.attention.nbytes for b in net.blocks.values())
    assert net.weights.nbytes + line + held == packed_bytes(layout, LANES, "bf16")
    frozen = net.freeze(frozen_attention(config))
    assert frozen.nbytes + line == frozen_bytes(layout, LANES, "bf16")
    assert frozen.nbytes < compiled(config).empty_frozen().nbytes


def test_a_plan_counts_smaller_weights_and_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bf16", lambda: True)
    from unetmm.io.array import array_info
    from unetmm.plan.memory import in_memory_storage
    from unetmm.plan.outlook import plan_image

    model = replace(lively_model(SMALL_UNETMM), config=nafnet32_config())
    info, storage = array_info((3000, 3000, 3), np.dtype("u1"), None), in_memory_storage((512, 512))
    options = [Options(budget_bytes=10**9, precision=p) for p in BOTH]
    exact, half = (plan_image(info, storage, storage, model, o) for o in options)
    assert half.terms.weights < 0.65 * exact.terms.weights  # conv3 and sca.1 are kept exact, too
    assert half.estimated_s < exact.estimated_s
    assert (exact.as_dict()["precision"], half.as_dict()["precision"]) == BOTH


def test_auto_is_fp32() -> None:
    image = (255 * image_of(40, 50, 3)).astype(np.uint8)
    model = lively_model(SMALL_UNETMM)
    assert np.array_equal(
        restore_array(image, Options(model)), unetmm.restore(image, model, precision="fp32")
    )


def test_a_processor_without_bf16_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "multiplies_bf16", lambda: False)
    monkeypatch.setattr(precision, "processor", lambda: "haswell")
    text = r"bf16 needs a processor with AVX512_BF16 .* this one \(haswell\) has none; use .* fp32"
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ShapeError, match=text):
        unetmm.restore(image, lively_model(SMALL_UNETMM), precision="bf16")
    tifffile.imwrite(tmp_path / "in.tif", image)
    save_model(tmp_path / "m.safetensors", SMALL_UNETMM, lively_model(SMALL_UNETMM).tensors, {})
    common = [str(tmp_path / "in.tif"), "--model", str(tmp_path / "m.safetensors")]
    for command in (["plan"], ["denoise", "-o", str(tmp_path / "out.tif")]):
        assert run_cli([command[0], *common, *command[1:], "--precision", "bf16"]) == 1
        errors = capsys.readouterr().err.strip().splitlines()
        assert len(errors) == 1 and "AVX512_BF16" in errors[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "m.safetensors"]
    with pytest.raises(ShapeError, match='precision "fp8": there are auto, fp32 and bf16'):
        precision.resolve("fp8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision")
    pixels = np.random.default_rng(1).normal(3000, 400, (700, 600)).astype(np.uint16)
    tifffile.imwrite(folder / "in.tif", pixels)
    save_model(folder / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    return folder


def options(folder: Path, **changes: Any) -> Options:
    return Options(**{"model": folder / "m.safetensors", "budget_bytes": 10**9, **changes})


def stop_after_one_chunk(folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, seen, lock = Output._put, [0], threading.Lock()

    def failing(self: Output, *args: Any) -> None:
        with lock:
            seen[0] += 1
            if seen[0] > 1:
                raise ImageError("the cable was pulled")
        put(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "_put", failing)
        with pytest.raises(ImageError, match="cable"):
            restore_file(folder / "in.tif", output, options(folder, precision="bf16", workers=1))


@needs_bf16
def test_a_run_goes_on_only_in_the_precision_it_was_begun_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tif"
    stop_after_one_chunk(folder, output, monkeypatch)
    begun = "bf16 by AMX" if processor.multiplies_tiles() else "bf16"
    with pytest.raises(ResumeError, match=f"begun with precision {begun}, now it is fp32"):
        restore_file(folder / "in.tif", output, options(folder))
    report = restore_file(folder / "in.tif", output, options(folder, precision="bf16"))
    assert report.as_dict()["plan"]["precision"] == "bf16"
    restore_file(folder / "in.tif", tmp_path / "whole.tif", options(folder, precision="bf16"))
    assert output.read_bytes() == (tmp_path / "whole.tif").read_bytes()


@needs_bf16
def test_a_calibration_serves_either_precision(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--model", str(folder / "m.safetensors"), "--quiet", "--format", "tiff"]
    first = ["--save-calibration", str(tmp_path / "c.json"), "-o", str(tmp_path / "a.tif")]
    assert run_cli(["denoise", str(folder / "in.tif"), *shared, *first]) == 0
    second = ["--calibration", str(tmp_path / "c.json"), "-o", str(tmp_path / "b.tif")]
    assert run_cli(["denoise", str(folder / "in.tif"), *shared, *second, "--precision=bf16"]) == 0
    a, b = (tifffile.imread(tmp_path / name).astype(float) for name in ("a.tif", "b.tif"))
    assert 0 < np.abs(a - b).max() < CLOSE * np.ptp(a)


@needs_bf16
def test_plan_shows_a_precision_that_is_not_the_usual_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["plan", str(folder / "in.tif"), "--model", str(folder / "m.safetensors")]
    assert run_cli(command) == 0 and "fp32" not in capsys.readouterr().out
    assert run_cli([*command, "--precision", "bf16"]) == 0
    assert ", in bf16" in capsys.readouterr().out
    assert run_cli([*command, "--precision", "bf16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["precision"] == "bf16"
