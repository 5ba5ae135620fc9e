"""The stream equals the reference net for any number of bands, body, cut and engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from helpers import (
    STACK,
    assert_close,
    frozen_attention,
    lively_model,
    lively_net,
    reference,
    stream_image,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.folded import FoldedNet
from unetmm.engine.torch.stream import TorchStream
from unetmm.io.enlarged import unshuffled
from unetmm.nets.config import NetConfig, layers_config

TOLERANCE = 2e-6
"""Share of the answer's range that sums in another order may change."""
ON_CPU = TorchEngine(CpuEngine(), "fp32")


def config_of(bands: int, body: str, aggregated: bool, scale: int) -> NetConfig:
    if body == "layers":
        ends = (replace(layer, channels=bands) for layer in STACK[-2:])
        return layers_config((*STACK[:-2], *ends), bands, bands)
    config = NetConfig(bands, bands, 8, (1, 1), 1, (1, 1), body=body, output_scale=scale)
    return config.with_aggregate() if aggregated else config


NETS = st.builds(
    config_of,
    st.sampled_from([2, 4, 5, 12]),
    st.sampled_from(["nafnet", "unet", "layers"]),
    st.booleans(),
    st.sampled_from([1, 2]),
)
"""Nets of bands: every body, plain and as UNet--, at both scales."""


@settings(max_examples=30)
@given(
    config=NETS,
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    bands=st.sampled_from([1, 2, 4]),
    strips=st.integers(1, 3),
    segments=st.integers(1, 2),
    threads=st.sampled_from([1, 2]),
)
def test_every_cut_gives_the_reference_net_and_the_same_bytes(
    config: NetConfig,
    height: int,
    width: int,
    bands: int,
    strips: int,
    segments: int,
    threads: int,
) -> None:
    image = np.random.default_rng((height, width)).random(
        (height, width, config.in_channels), np.float32
    )
    expected = reference(lively_net(config), image, frozen_attention(config))
    rows = bands * config.stride_px
    found = stream_image(
        config, image, band_rows=rows, strips=strips, segments=segments, threads=threads
    )
    assert_close(found, expected, TOLERANCE * max(1.0, float(np.ptp(expected))))
    np.testing.assert_array_equal(found, stream_image(config, image, band_rows=4 * rows))


@settings(max_examples=20)
@given(config=NETS, rows=st.integers(1, 12), columns=st.integers(1, 12), band=st.integers(1, 5))
def test_the_torch_engine_gives_the_reference_net(
    config: NetConfig, rows: int, columns: int, band: int
) -> None:
    stride = config.stride_px
    shape = rows * stride, columns * stride, config.in_channels
    image = np.random.default_rng(shape).random(shape, np.float32)
    net = FoldedNet(config, lively_model(config).tensors, "fp32", ON_CPU.device, ON_CPU.fusing)
    stream = TorchStream(net, frozen_attention(config), shape[1], shape[0], band * stride)
    found = [each.copy() for each in stream.push(image)]
    found += [each.copy() for each in stream.flush()]
    answer = unshuffled(np.concatenate(found), config.output_scale)
    expected = reference(lively_net(config), image, frozen_attention(config))
    assert_close(answer, expected, TOLERANCE * max(1.0, float(np.ptp(expected))))
