"""Nets with lively random weights, and images streamed with a cut of the test's choosing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetmm.calibrate.calibration import Calibration, ChannelStatistics
from unetmm.engine.cpu.compiled import CompiledNet
from unetmm.engine.cpu.net import CpuNet
from unetmm.engine.layouts import make_layout
from unetmm.engine.precision import Precision
from unetmm.geometry import split_axis
from unetmm.intensities.stored import Storing
from unetmm.io.array import ArraySink, ArraySource, array_info
from unetmm.io.image import Box, ImageInfo, Source
from unetmm.io.joined import joined_info
from unetmm.models.answers import answer_of
from unetmm.models.groups import sample_groups
from unetmm.models.weights import Model
from unetmm.nets.blocks import NAFBlock
from unetmm.nets.config import AggregateConfig, NetConfig, layers_config
from unetmm.nets.layers import NetLayer
from unetmm.nets.nafnet import NAFNet, build_net
from unetmm.plan.memory import Terms
from unetmm.plan.types import Plan
from unetmm.run.job import Job
from unetmm.run.scheduler import run

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"

SMALL_NAFNET = NetConfig(3, 3, 8, (1, 1), 1, (1, 1))
SMALL_UNETMM = NetConfig(3, 3, 8, (1, 2), 1, (1, 1), AggregateConfig(16, 4, (0, 1)))
STACK = (
    NetLayer("wide", "conv", ("image",), 12, 5, pad=2, activation="prelu"),
    NetLayer("dense", "conv", ("wide",), 12, 3, pad=1, activation="leaky", numbers=(0.1,)),
    NetLayer("both", "conv", ("wide", "dense"), 20, 1, activation="gelu"),
    NetLayer("gate", "add", ("both",), 20, factors=(0.5,), shift=-0.2, activation="sigmoid"),
    NetLayer("gated", "multiply", ("both", "gate"), 20),
    NetLayer("summed", "add", ("gated", "both"), 20, factors=(1.0, -0.3), activation="silu"),
    NetLayer("noise", "conv", ("summed",), 3, 3, pad=1),
    NetLayer("clean", "add", ("image", "noise"), 3, factors=(1.0, -1.0)),
)
"""A residual stack with layers of most kinds, at the image's size throughout."""
LEVELS = (
    NetLayer("halved", "conv", ("image",), 8, 2, stride=2, activation="relu"),
    NetLayer("quarter", "conv", ("halved",), 20, 3, stride=2, pad=1, activation="tanh"),
    NetLayer("eighth", "conv", ("quarter",), 20, 4, stride=2, pad=1, activation="relu"),
    NetLayer("up", "conv", ("eighth",), 16, 3, pad=1, enlarge=2, activation="erf"),
    NetLayer("pooled", "pool", ("halved",), 8),
    NetLayer("all", "conv", ("up", "pooled", "quarter"), 8, 3, pad=1, enlarge=4),
    NetLayer("last", "add", ("all",), 8, activation="clip", numbers=(-1.0, 0.9)),
    NetLayer("out", "conv", ("last",), 1, 1),
)
"""A net whose maps shrink and grow in many ways, with skips of other scales."""
UNCHANGED = (
    NetLayer("a", "conv", ("image",), 3, 3, pad=1, activation="relu"),
    NetLayer("b", "multiply", ("a", "a"), 3),
)
"""A net that ends with something else than a convolution."""
BORDERED = (
    NetLayer("a", "conv", ("image",), 8, 3, pad=1, activation="relu"),
    NetLayer("mirrored", "conv", ("a",), 8, 5, pad=2, border="reflect"),
    NetLayer("b", "conv", ("mirrored",), 8, 3, stride=2, pad=1, border="edge", activation="tanh"),
    NetLayer("c", "conv", ("b",), 8, 3, pad=1, border="edge", enlarge=2),
    NetLayer("d", "conv", ("c",), 3, 3, pad=1, border="reflect"),
)
"""Convolutions that see other things than zeros around their maps."""
CONFIGS = {
    "nafnet": SMALL_NAFNET,
    "unetmm": SMALL_UNETMM,
    "unetmm_full_scale": NetConfig(3, 3, 8, (1, 1), 1, (1, 1), AggregateConfig(4, 1, (1, 0))),
    "unetmm_half_scale": NetConfig(
        1, 1, 16, (1, 1, 1), 0, (1, 0, 1), AggregateConfig(8, 2, (1, 2, 0), False)
    ),
    "unetmm_deep_scale": NetConfig(
        3, 3, 8, (0, 1, 1), 1, (1, 1, 0), AggregateConfig(64, 8, (0, 1, 1))
    ),
    "other_channels": NetConfig(1, 2, 24, (1,), 0, (1,)),
    "unet": NetConfig(3, 3, 8, (1, 2), 1, (2, 1), body="unet"),
    "unetmm_unet": NetConfig(
        1, 1, 16, (1, 1), 1, (1, 1), AggregateConfig(32, 4, (0, 1)), body="unet"
    ),
    "unet_deep_scale": NetConfig(
        3, 3, 8, (1, 1, 1), 1, (1, 1, 1), AggregateConfig(64, 8, (1, 1, 0), False), body="unet"
    ),
    "stack": layers_config(STACK, 3, 3),
    "levels": layers_config(LEVELS, 1, 1),
    "bordered": layers_config(BORDERED, 3, 3),
    "unchanged": layers_config(UNCHANGED, 3, 3),
    "classes": NetConfig(3, 5, 8, (1, 1), 1, (1, 1), body="unet", gives="classes"),
    "alpha": NetConfig(3, 1, 8, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1)), gives="map"),
}
MAPS = {
    "probability": NetConfig(1, 1, 8, (1,), 1, (1,), gives="map", final="sigmoid"),
    "softmax": NetConfig(1, 4, 8, (1,), 0, (1,), gives="classes", final="softmax"),
    "listed_classes": replace(layers_config(STACK[:-1], 3, 3), gives="classes", final="softmax"),
    "finer_maps": NetConfig(1, 2, 8, (1,), 0, (1,), output_scale=2, gives="map", final="sigmoid"),
}  # fmt: skip
"""Nets that give no image, with a function at the end, which comes behind the stream."""


@cache
def lively_net(config: NetConfig) -> NAFNet:
    """A reference net whose every part matters: no zero scales, no unit norms."""
    torch.manual_seed(7)
    net = build_net(config).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("beta", "gamma")):
                parameter.normal_(0, 0.3)
            elif "norm" in name or name.endswith("bias"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return net


@cache
def lively_model(config: NetConfig) -> Model:
    tensors = {k: v.numpy() for k, v in lively_net(config).state_dict().items()}
    return Model("lively", config, {}, None, tensors)


@cache
def compiled(config: NetConfig, precision: Precision = "fp32") -> CompiledNet:
    return CompiledNet(config, lively_model(config).tensors, precision)


def attention_blocks(net: NAFNet) -> dict[str, NAFBlock]:
    return {n: m for n, m in net.named_modules() if isinstance(m, NAFBlock)}


def reference(
    net: NAFNet, image: NDArray[np.float32], attention: dict | None
) -> NDArray[np.float32]:
    """The reference forward of (h, w, c), with frozen attention if given."""
    for name, block in attention_blocks(net).items():
        block.sca.frozen = None if attention is None else torch.from_numpy(attention[name])
    with torch.no_grad():
        out = net(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
    return np.ascontiguousarray(out.permute(1, 2, 0).numpy())


def frozen_attention(config: NetConfig, seed: int = 3) -> dict[str, NDArray[np.float32]]:
    """Some channel factors for every block, as calibration would give."""
    rng = np.random.default_rng(seed)
    blocks = compiled(config).blocks
    return {n: rng.uniform(0.3, 1.2, b.channels).astype(np.float32) for n, b in blocks.items()}


def stream_image(
    config: NetConfig,
    image: NDArray[np.float32],
    *,
    band_rows: int,
    strips: int = 1,
    segments: int = 1,
    workers: int = 1,
    threads: int = 1,
    precision: Precision = "fp32",
) -> NDArray[np.float32]:
    """`image` (h, w, c) through the run of a hand-made plan, with `frozen_attention`."""
    info = array_info(image.shape, image.dtype, "YXS")
    if config.takes_bands:
        info = joined_info(array_info(image.shape, image.dtype, "YXC"))
    plan = _hand_made(config, info, (strips, segments), band_rows, workers, threads)
    statistics = ChannelStatistics(0.0, 1.0, 0.5, frozen_attention(config))
    groups = sample_groups(config, info)
    entries = {f"0.{g}": statistics for g in range(len(groups))}
    scale = config.output_scale
    height, width, channels = image.shape
    answer = answer_of(lively_model(config), scores=config.gives == "classes")
    count = channels if answer is None else answer.maps(info)
    shape = height * scale, width * scale, count
    out = np.full(shape, np.nan, np.float32)
    axes = "YXS" if answer is None else "YXC"
    sink = ArraySink(out, array_info(shape, out.dtype, axes), config.stride_px * scale)
    run(
        Job(
            ArraySource(image, info),
            sink,
            CpuNet(compiled(config, precision)),
            groups,
            Calibration("lively", entries),
            plan,
            storing=Storing(np.dtype("f4")),
            answer=answer,
        )
    )
    return out


def _hand_made(
    config: NetConfig,
    info: ImageInfo,
    spans: tuple[int, int],
    band_rows: int,
    workers: int,
    threads: int,
) -> Plan:
    """A plan of so many strips and segments."""
    layout, stride = make_layout(config, band_rows), config.stride_px
    cut = [
        tuple(split_axis(n, count, stride, layout.halo_px, stride))
        for n, count in zip((info.width, info.height), spans, strict=True)
    ]
    numbers = layout.halo_px, layout.lag_rows, Terms(*[0] * 9), 0, 0.0, threads
    return Plan("lively", band_rows, workers, *cut, 1, *numbers)


def assert_close(found: NDArray, expected: NDArray, tolerance: float) -> None:
    """Equal within `tolerance`, or an error that says where and how far."""
    assert found.shape == expected.shape, f"{found.shape} instead of {expected.shape}"
    difference = np.abs(found.astype(np.float64) - expected)
    at = np.unravel_index(np.nanargmax(difference), difference.shape)
    assert not np.isnan(difference).any(), f"NaN at {np.argwhere(np.isnan(difference))[0]}"
    assert difference[at] <= tolerance, (
        f"off by {difference[at]:.3g} at {at}, allowed {tolerance:.3g}"
    )


def content(path: Path) -> dict[str, bytes]:
    """Every file of an output, by its name within it; an output that is one file has no name."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def plane_of(source: Source, plane: tuple[int, int, int] = (0, 0, 0)) -> NDArray[Any]:
    """A plane of a source, put together from boxes that lie across its chunks and frames."""
    height, width = source.info.height, source.info.width
    out = np.empty((height, width, source.info.samples), source.info.dtype)
    for y in range(0, height, 23):
        for x in range(0, width, 41):
            box = Box(y, x, min(y + 23, height), min(x + 41, width))
            out[box.y0 : box.y1, box.x0 : box.x1] = source.read(plane, box)
    return out
