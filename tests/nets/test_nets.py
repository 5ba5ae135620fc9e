"""The reference nets: parity with public NAFNet, shapes, skip footprint."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CONFIGS, DATA, SMALL_NAFNET, SMALL_UNETMM, lively_net, reference
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from unetmm.engine.choice import DeviceChoice
from unetmm.engine.cpu.engine import CpuEngine
from unetmm.errors import ShapeError
from unetmm.models.weights import load_model, save_model
from unetmm.nets.aggregate import IEM, MSIAM
from unetmm.nets.config import (
    AggregateConfig,
    NetConfig,
    layers_config,
    nafnet32_config,
    tiny_config,
)
from unetmm.nets.layers import NetLayer
from unetmm.nets.nafnet import build_net
from unetmm.nets.shapes import macs_per_px, parameter_count, tensor_shapes
from unetmm.options import Options
from unetmm.run.of_array import restore_array

UNET = NetConfig(3, 3, 8, (1, 2), 1, (1, 1), body="unet")
UNETS = [
    UNET,
    replace(UNET, aggregate=AggregateConfig(16, 4, (0, 1))),
    NetConfig(1, 1, 4, (1, 1, 1), 2, (1, 2, 1), AggregateConfig(8, 2, (0, 0, 2), False), 1, "unet"),
]
"""Plain, with MSIAM and IEM, and of other depth and scale."""


@pytest.mark.parametrize("name", ["nafnet_w8", "nafnet_w8_odd"])
def test_public_checkpoints_give_their_published_output(name: str) -> None:
    """At sizes beside the stride too, where that code adds zeros."""
    model = load_model(DATA / f"{name}.pth")
    pair = np.load(DATA / f"{name}_io.npz")
    with torch.no_grad():
        output = model.net(torch.from_numpy(pair["input"])).numpy()
    assert np.abs(output - pair["output"]).max() <= 1e-5
    assert model.config.padding == "zeros"


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize("name", ["nafnet_w8", "nafnet_w8_odd"])
def test_streams_of_public_checkpoints_agree_with_them(name: str, device: DeviceChoice) -> None:
    model = load_model(DATA / f"{name}.pth")
    image = np.load(DATA / f"{name}_io.npz")["input"]
    with torch.no_grad():
        expected = model.net(torch.from_numpy(image)).numpy()
    rows = np.ascontiguousarray(image[0].transpose(1, 2, 0))
    options = Options(model, fixed_range=(-8.0, -7.0), outliers="none", device=device)
    found = restore_array(rows - 8, options) + 8  # zeros are those of the net's scale
    assert np.abs(found.transpose(2, 0, 1)[None] - expected).max() <= 4e-6
    options = replace(options, fixed_range=(0.0, 1.0))
    found = restore_array(rows, options)
    assert np.abs(found.transpose(2, 0, 1)[None] - expected).max() <= 2e-6


def test_padding_is_written_only_where_it_is_not_ours() -> None:
    assert "padding" not in json.loads(SMALL_UNETMM.to_json())
    zeros = replace(SMALL_UNETMM, padding="zeros")
    assert NetConfig.from_json(zeros.to_json()) == zeros
    with pytest.raises(ShapeError, match="mirror or zeros"):
        replace(SMALL_UNETMM, padding="ones")


@pytest.mark.parametrize("size", [(33, 48), (64, 50), (17, 3), (1, 1)])
def test_sizes_beside_the_stride_are_mirrored(size: tuple[int, int]) -> None:
    h, w = size
    net, stride = lively_net(SMALL_UNETMM), SMALL_UNETMM.stride_px
    image = np.random.default_rng(6).random((1, 3, h, w), np.float32)
    padded = np.pad(image, ((0, 0), (0, 0), (0, -h % stride), (0, -w % stride)), "symmetric")
    with torch.no_grad():
        found, expected = (net(torch.from_numpy(x)).numpy() for x in (image, padded))
    assert found.shape == image.shape and np.array_equal(found, expected[..., :h, :w])


@pytest.mark.parametrize(("name", "brightest"), [("tiny-mono", 230), ("micrograph-tiny", 230)])
def test_edges_are_no_darker_than_the_rest(name: str, brightest: int) -> None:
    """Zeros below and beside the image would be taken for a dark neighbour."""
    noisy = brightest + np.random.default_rng(7).normal(0, 8, (113, 129))
    image = np.clip(noisy, 0, 255).round().astype(np.uint8)
    error = restore_array(image, Options(name)).astype(np.float64) - image.mean()
    for edge in (error[:, -3:], error[-3:], error[:, :3], error[:3]):
        assert abs(edge.mean()) < 2
    assert abs(error[-4:, -4:].mean()) < 4


@pytest.mark.parametrize("config", [*CONFIGS.values(), tiny_config(3), nafnet32_config(), *UNETS])
def test_shapes_without_torch_equal_the_modules(config: NetConfig) -> None:
    net = build_net(config)
    assert {k: tuple(v.shape) for k, v in net.state_dict().items()} == tensor_shapes(config)
    assert sum(p.numel() for p in net.parameters()) == parameter_count(config)


def test_config_survives_json() -> None:
    for config in (*CONFIGS.values(), *UNETS):
        assert NetConfig.from_json(config.to_json()) == config
    assert "body" not in json.loads(SMALL_UNETMM.to_json()), "old files would get another checksum"


def test_every_net_has_a_unetmm_of_the_same_body() -> None:
    for levels, expected in (
        (1, AggregateConfig(4, 2, (1,))),
        (3, AggregateConfig(16, 4, (1,) * 3)),
    ):
        found = NetConfig(1, 1, 8, (1,) * levels, 1, (1,) * levels).with_aggregate()
        assert found.aggregate == expected and found.skip_floats_per_px == 1


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"width": 0}, "no channels"),
        ({"decoder_blocks": (1,)}, "levels do not match"),
        ({"output_scale": 5}, "no such scale"),
        ({"aggregate": AggregateConfig(16, 3, (0, 0))}, "scale is no power of two"),
        ({"aggregate": AggregateConfig(17, 4, (0, 0))}, "cannot be shuffled to full resolution"),
        ({"aggregate": AggregateConfig(16, 4, (0,))}, "blocks for one of two levels"),
        ({"aggregate": AggregateConfig(64, 8, (0, 0))}, "E' coarser than the stride"),
        ({"body": "vgg"}, "no such body"),
        ({"body": "unet", "middle_blocks": 0}, "a level that changes no channels"),
    ],
)
def test_config_refuses_what_cannot_be_built(change: dict, note: str) -> None:
    fields = {**SMALL_NAFNET.__dict__, **change}
    with pytest.raises(ShapeError, match="net config"):
        NetConfig(**fields)


def test_skip_footprint_is_93_percent_less_by_config() -> None:
    for config in (nafnet32_config(), tiny_config(3)):
        plain = config.with_plain_skips().skip_floats_per_px
        ours = config.with_aggregate().skip_floats_per_px
        assert round(float(1 - ours / plain), 3) == 0.933


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made in its context that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(out)[0]:
            if isinstance(tensor, torch.Tensor):
                self.storages[tensor.data_ptr()] = weakref.ref(tensor.untyped_storage())
        return out

    def alive(self) -> dict[int, int]:
        found = {}
        for reference_ in self.storages.values():
            storage = reference_()
            if storage is not None:
                found[storage.data_ptr()] = storage.nbytes()
        return found


def live_skip_bytes(config: NetConfig, size: int) -> int:
    """Bytes alive at the bottleneck besides the image and the bottleneck's own input."""
    net = build_net(config).train()  # in eval mode each attention also keeps its last factors
    image = torch.rand(1, config.in_channels, size, size)
    seen: list[int] = []
    with torch.no_grad(), LiveBytes() as live:

        def at_bottleneck(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
            own = {inputs[0].untyped_storage().data_ptr()}
            padded_image = image.numel() * 4
            sizes = {p: n for p, n in live.alive().items() if p not in own}
            seen.append(sum(n for n in sizes.values() if n != padded_image))

        handle = net.middle_blks.register_forward_pre_hook(at_bottleneck)
        net(image)
        handle.remove()
    return seen[0]


@pytest.mark.parametrize("body", ["nafnet", "unet"])
def test_skip_footprint_is_93_percent_less_alive_in_a_forward(body: str) -> None:
    config = nafnet32_config().with_plain_skips()
    small = NetConfig(3, 3, 32, (1, 1, 1, 1), 1, (1, 1, 1, 1), body=body)
    plain = live_skip_bytes(small, 64)
    ours = live_skip_bytes(small.with_aggregate(), 64)
    assert plain == 4 * 64 * 64 * config.skip_floats_per_px
    assert ours == 4 * 64 * 64 * small.with_aggregate().skip_floats_per_px
    assert round(1 - ours / plain, 3) == 0.933


def test_sizes_that_are_no_multiple_of_the_stride_are_cropped_back() -> None:
    image = np.random.default_rng(0).random((13, 7, 3), np.float32)
    for config in (SMALL_NAFNET, SMALL_UNETMM, *UNETS[:2]):
        assert reference(lively_net(config), image, None).shape == image.shape


def test_msiam_and_iem_serve_any_encoder_decoder() -> None:
    channels, scales = (6, 10, 20), (1, 2, 4)
    msiam = MSIAM(channels, scales, aggregate_channels=16, scale=4)
    maps = [torch.rand(2, c, 16 // s, 32 // s) for c, s in zip(channels, scales, strict=True)]
    fused = msiam.fuse([msiam.reduce(i, m) for i, m in enumerate(maps)])
    assert fused.shape == (2, 16, 4, 8)
    for c, s, expected in zip(channels, scales, maps, strict=True):
        iem = IEM(c, s, 16, 4, torch.nn.Sequential(torch.nn.Conv2d(c, c, 3, padding=1)))
        assert iem(fused).shape == expected.shape


@pytest.mark.parametrize("config", [SMALL_NAFNET, SMALL_UNETMM, *UNETS])
def test_macs_are_those_of_the_convolutions_that_run(config: NetConfig) -> None:
    net, size, counted = build_net(config), 32, 0

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal counted
        weight = module.weight
        transposed = isinstance(module, torch.nn.ConvTranspose2d)
        pixels = (inputs[0] if transposed else output)[0, 0].numel()
        counted += pixels * weight.numel()

    for name, module in net.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and ".sca." not in name:
            module.register_forward_hook(count)
    with torch.no_grad():
        net(torch.zeros(1, config.in_channels, size, size))
    assert macs_per_px(config) == pytest.approx(counted / size**2, abs=0.5)


def test_unet_minus_minus_hears_every_level_through_its_aggregate() -> None:
    net = build_net(UNETS[1])
    net(torch.rand(1, 3, 8, 8)).square().mean().backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert sum(n.startswith("msiam.reducers") for n in tensor_shapes(UNETS[1])) == 4


@pytest.mark.parametrize("config", UNETS[:2])
def test_a_unet_from_a_file_is_restored_as_its_reference(tmp_path: Path, config: NetConfig) -> None:
    net = build_net(config)
    tensors = {k: v.numpy() for k, v in net.state_dict().items()}
    save_model(tmp_path / "unet.safetensors", config, tensors, {})
    image = np.random.default_rng(0).random((45, 50, 3)).astype(np.float32)
    options = Options(model=tmp_path / "unet.safetensors", fixed_range=(0.0, 1.0))
    found = restore_array(image, options, "YXS")
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(found, expected.permute(1, 2, 0).numpy(), atol=2e-6)


def test_a_unet_says_that_bf16_is_not_for_it(caplog: pytest.LogCaptureFixture) -> None:
    tensors = {k: v.numpy() for k, v in build_net(UNET).state_dict().items()}
    CpuEngine("bf16").fold(UNET, tensors)
    assert "computed in fp32" in caplog.text


@pytest.mark.parametrize(("source", "border"), [("a", "zeros"), ("a", "edge"), ("image", "edge")])
def test_a_map_with_another_border_has_readers_that_all_see_it(source: str, border: str) -> None:
    """What lies around a map is kept beside it: two kinds of it would be mixed up."""
    layers = (
        NetLayer("a", "conv", ("image",), 3, 3, pad=1),
        NetLayer("b", "conv", (source,), 3, 3, pad=1, border=border),
        NetLayer("c", "conv", ("a", "b"), 3, 3, pad=1, border="reflect"),
        NetLayer("d", "conv", ("c",), 3),
    )
    with pytest.raises(ShapeError, match="needs a map of its own"):
        layers_config(layers, 3, 3)
    alone = (*layers[:2], replace(layers[2], sources=("b",)), layers[3])
    if source == "a":
        layers_config(alone, 3, 3)


def test_a_config_says_what_its_outputs_mean() -> None:
    plain = NetConfig(3, 3, 8, (1,), 1, (1,))
    assert "gives" not in plain.to_json() and "final" not in plain.to_json()
    for gives, final in (("map", ""), ("map", "sigmoid"), ("classes", "softmax")):
        config = replace(plain, gives=gives, final=final)
        assert NetConfig.from_json(config.to_json()) == config
        assert not config.adds_image
    assert plain.adds_image
    for changed, words in (
        ({"gives": "depth"}, "gives is image or map or classes"),
        ({"final": "relu"}, "final is nothing or sigmoid or softmax"),
        ({"final": "sigmoid"}, "gives no image"),
        ({"gives": "map", "final": "softmax"}, "a softmax is of classes"),
        ({"gives": "classes", "out_channels": 1}, "a channel for each"),
    ):
        with pytest.raises(ShapeError, match=words):
            replace(plain, **changed)
