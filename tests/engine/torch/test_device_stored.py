"""Pixels that travel to the device as stored, where that gives the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from device_streams import ON_CPU, image_of, net_of, restored
from helpers import CONFIGS, SMALL_UNETMM, frozen_attention, lively_model
from numpy.typing import NDArray

import unetmm
from unetmm.engine.contract import Scaling
from unetmm.engine.torch.net import TorchNet
from unetmm.engine.torch.stream import TorchStream
from unetmm.intensities.range import ValueScale, normalise
from unetmm.options import Options
from unetmm.run.of_array import restore_array


def every_value(dtype: Any, height: int, width: int) -> NDArray[Any]:
    """An image with all values of a type, or many of them."""
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, height * width * 3).round().astype(dtype)
    return np.random.default_rng(3).permutation(values).reshape(height, width, 3)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.uint8, 0.0, 255.0),
        (np.uint8, 3.3, 251.7),
        (np.uint16, 0.0, 65535.0),
        (np.uint16, 101.1, 60001.7),
        (np.int16, -32768.0, 32767.0),
        (np.int8, -127.5, 126.1),
    ],
)
def test_the_device_scales_bit_by_bit_as_the_host(dtype: Any, low: float, high: float) -> None:
    image, scale = every_value(dtype, 60, 24), ValueScale(low, high, low)
    seen = np.empty(image.shape, np.float32)
    normalise(image, None, scale, seen)
    net, attention = net_of(SMALL_UNETMM, ON_CPU), frozen_attention(SMALL_UNETMM)
    scaling = Scaling(np.dtype(dtype), scale.low, scale.factor)
    ours = TorchStream(net, attention, 24, 60, 8, 1, scaling)
    theirs = TorchStream(net, attention, 24, 60, 8, 1)
    assert np.array_equal(restored(ours, image, 7), restored(theirs, seen, 7))
    assert ours.copies.inboxes.nbytes * 4 == theirs.copies.inboxes.nbytes * image.itemsize


def streams_scaled(image: NDArray[Any], monkeypatch: pytest.MonkeyPatch, **chosen: Any) -> bool:
    """Whether rows go as stored; the same pixels come out if they do not."""
    model = chosen.pop("model", lively_model(SMALL_UNETMM))
    options = Options(model, 10**9, device="torch", workers=1, **chosen)
    seen: list[Scaling | None] = []
    open_stream = TorchNet.open_stream

    def opened(self: TorchNet, *given: Any) -> TorchStream:
        seen.append(given[-1])
        return open_stream(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(TorchNet, "open_stream", opened)
        ours = restore_array(image, options)
        patch.setattr(TorchNet, "takes_stored", False)
        assert restore_array(image, options).tobytes() == ours.tobytes()
    assert not np.array_equal(ours, image)
    half = len(seen) // 2
    assert seen[half:] == [None] * half
    assert len({scaling is None for scaling in seen[:half]}) == 1
    return seen[0] is not None


def stored(dtype: Any, height: int = 101, width: int = 67, samples: int = 3) -> NDArray[Any]:
    """A noisy image that leaves room for outliers, of sides that the stride does not divide."""
    image = image_of(height, width, samples) * 0.6 + 0.2
    image[40:43, 20:22] = 1.0
    return (image * np.iinfo(dtype).max).astype(dtype)


def test_plain_images_go_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    assert streams_scaled(stored(np.uint8), monkeypatch)
    assert streams_scaled(stored(np.uint8), monkeypatch, outliers="replace", strength=0.5)
    assert streams_scaled(stored(np.uint16), monkeypatch, fixed_range=(0.0, 65535.0))
    mono = lively_model(CONFIGS["unetmm_half_scale"])
    assert streams_scaled(stored(np.uint8), monkeypatch, model=mono)


@pytest.mark.parametrize("name", ["classes", "alpha", "unet", "enlarging"])
def test_other_nets_take_them_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nets = {**CONFIGS, "enlarging": replace(SMALL_UNETMM, output_scale=2)}
    assert streams_scaled(stored(np.uint8), monkeypatch, model=lively_model(nets[name]))


def test_images_that_need_more_go_on_the_nets_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not streams_scaled(stored(np.uint8), monkeypatch, nodata=(0.0,))
    means = 20 + 150 * (np.arange(160) // 40 / 3)[:, None, None] + np.zeros((160, 200, 3))
    photons = np.random.default_rng(2).poisson(means).clip(0, 255).astype(np.uint8)
    assert not streams_scaled(photons, monkeypatch, transform="anscombe")
    assert not streams_scaled(stored(np.uint8), monkeypatch, fixed_range=(20.0, 90.0))
    assert not streams_scaled(stored(np.uint16) // 8, monkeypatch)
    assert not streams_scaled(stored(np.uint8).astype(np.float32), monkeypatch)
    assert not streams_scaled(stored(np.uint8).astype(np.int32), monkeypatch)
    assert not streams_scaled(stored(np.uint8, samples=4), monkeypatch)  # opacity may be 0


@pytest.mark.parametrize(("low", "expected"), [(0.0, True), (-20.0, False)])
def test_zeros_beside_the_image_are_those_of_the_net(
    low: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lively_model(replace(SMALL_UNETMM, padding="zeros"))
    chosen = {"model": model, "fixed_range": (low, 255.0)}
    assert streams_scaled(stored(np.uint8), monkeypatch, **chosen) == expected


def test_the_kernels_of_the_cpu_take_rows_on_their_scale() -> None:
    image = stored(np.uint8)
    model = lively_model(SMALL_UNETMM)
    ours, theirs = (unetmm.restore(image, model, "1GB", device=d) for d in ("torch", "cpu"))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
