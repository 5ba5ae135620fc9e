"""The stream with fused kernels, beside the one of torch operations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from device_streams import ON_CPU, image_of, restored, stream_of
from helpers import CONFIGS, assert_close

from unetmm.engine.precision import ITEM_BYTES, Precision
from unetmm.engine.torch.folded import DTYPES
from unetmm.engine.torch.footprint import shapes_of
from unetmm.engine.torch.kernels import tiles, trial
from unetmm.engine.torch.kernels.tiles import Fusing, Tile
from unetmm.engine.torch.stream import TorchStream

TILES = {(item, c): Tile(16, 4, 0) for item in (2, 4) for c in (16, 32, 64)}


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles for a small map, and one kernel an operation for few channels."""
    monkeypatch.setattr(tiles, "DEPTHWISE", TILES)
    monkeypatch.setattr(tiles, "POINTWISE", TILES)


@pytest.mark.parametrize(
    ("name", "precision", "shared_bytes"),
    [
        ("nafnet", "fp32", 10**6),
        ("other_channels", "bf16", 10**6),  # 24 and 48 channels: tiles are padded
        ("other_channels", "fp32", -1),  # one kernel an operation
        ("unetmm_full_scale", "fp32", 10**6),
        ("unetmm_unet", "fp32", 10**6),  # pooling, ReLU
        ("bordered", "fp32", 10**6),  # repeated edges are torch's
    ],
)
def test_the_stream_equals_that_of_torch(
    name: str, precision: Precision, shared_bytes: int
) -> None:
    config, stride = CONFIGS[name], CONFIGS[name].stride_px
    plain = replace(ON_CPU, precision=precision)
    where = replace(plain, fusing=Fusing(ITEM_BYTES[precision], 2, shared_bytes))
    height, width, band = 3 * stride, 3 * stride, 2 * stride
    image = image_of(height, width, config.in_channels)
    stream = stream_of(config, height, width, band, where)
    taken = note_arena(stream)
    ours = restored(stream, image, band)
    torchs = restored(stream_of(config, height, width, band, plain), image, band)
    # Torch rounds more often in half precision, to 8 bits each time.
    tolerance = 1e-5 if precision == "fp32" else 4e-2
    assert_close(ours, torchs, tolerance * max(1.0, float(np.ptp(torchs - image[..., :1]))))
    shapes = shapes_of(stream.layout, width, where.fusing)
    assert max(taken) == shapes.arena and shapes.convolved == shapes.moments == 0


def note_arena(stream: TorchStream) -> list[int]:
    """Ends of what stages take of the arena, noted as they take it."""
    arena, ends = stream.stages.arena, [0]
    take = arena.take

    def noted(shape: tuple[int, ...]) -> torch.Tensor:
        tensor = take(shape)
        ends.append(arena.end)
        return tensor

    arena.take = noted  # type: ignore[method-assign]
    return ends


def test_bands_make_no_difference() -> None:
    config = CONFIGS["other_channels"]
    where = replace(ON_CPU, fusing=Fusing(4, 2, 10**6))
    image = image_of(6, 6, 1)
    one, other = (restored(stream_of(config, 6, 6, b, where), image, b) for b in (2, 6))
    assert_close(one, other, 1e-6)  # numpy's products may sum a row differently


@pytest.mark.parametrize(("precision", "item"), [("bf16", 2)])
def test_a_trial_finds_kernels_that_work_and_those_that_do_not(
    precision: Precision, item: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "ROWS", 2)
    monkeypatch.setattr(trial, "COLUMNS", 16)
    dtype, fusing = DTYPES[precision], Fusing(item, 2, 10**6)
    assert trial.refusal("cpu", dtype, fusing) is None
    monkeypatch.setattr(trial, "_by_half", lambda x, *rest: x[:, 1:] * float("nan"))
    assert "differs by nan" in str(trial.refusal("cpu", dtype, fusing))

    def broken(*given: object) -> None:
        raise RuntimeError("no compiler\nmore of it")

    monkeypatch.setattr(trial, "_by_operation", broken)
    assert trial.refusal("cpu", dtype, fusing) == "no compiler"
