"""Checkpoints of public code give what their own code gives, at odd sizes, streamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import assert_close, compiled, reference
from public_nets import NETS, Net
from safetensors.torch import save_file

from unetmm.engine.cpu.compiled import CompiledNet
from unetmm.engine.cpu.stream import RowStream
from unetmm.errors import WeightsError
from unetmm.foreign.importing import Imported, import_model
from unetmm.geometry import round_up
from unetmm.io.enlarged import unshuffled
from unetmm.models.weights import load_model, save_model


def saved(net: Net, path: Path) -> Path:
    """A checkpoint of a net, whose names come about by running it once."""
    net(torch.zeros(1, net.channels, 16, 16))
    torch.save({"params": net.tensors}, path)
    return path


def imported(net: Net, folder: Path) -> Imported:
    return import_model(saved(net, folder / "net.pth"), noise=net.noise, scale=net.scale)


@pytest.mark.parametrize("name", NETS)
def test_a_layout_gives_what_its_own_code_gives(name: str, tmp_path: Path) -> None:
    net = NETS[name]()
    found = imported(net, tmp_path)
    assert name.startswith(found.layout) and found.model.config.in_channels == net.channels
    height, width = (round_up(n + 2 * net.border, net.padding) for n in (21, 27))
    image = torch.rand(1, net.channels, height, width)
    expected = net(image)[0].permute(1, 2, 0).numpy()
    answer = reference(found.model.net, image[0].permute(1, 2, 0).numpy(), None)
    scale = found.model.config.output_scale
    assert found.model.task == ("upscale" if scale > 1 else "denoise")
    inside = slice(net.border * scale, -net.border * scale or None)
    expected, answer = expected[inside, inside], answer[inside, inside]
    assert_close(answer, expected, 4e-6 * max(1.0, float(np.ptp(expected))))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_layout_is_streamed_exactly(name: str, threads: int, tmp_path: Path) -> None:
    model = imported(NETS[name](), tmp_path).model
    stride, scale = model.config.stride_px, model.config.output_scale
    height, width = round_up(37, stride), round_up(45, stride)
    image = np.random.default_rng(0).random((height, width, model.config.in_channels), np.float32)
    expected = reference(model.net, image, None)
    net = CompiledNet(model.config, model.tensors)
    stream = RowStream(net, net.freeze({}), width, height, round_up(8, stride), threads)
    bands = [band.copy() for band in stream.push(image)]
    bands += [band.copy() for band in stream.flush()]
    found = unshuffled(np.concatenate(bands), scale)
    assert_close(found, expected, 2e-6 * max(1.0, float(np.ptp(expected))))


def test_a_model_that_was_written_is_the_same(tmp_path: Path) -> None:
    found = imported(NETS["FFDNet colour"](), tmp_path)
    path = tmp_path / "ours.safetensors"
    save_model(path, found.model.config, found.model.tensors, found.model.card)
    again = load_model(path)
    assert again.config == found.model.config
    for name, tensor in found.model.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], tensor)
    assert "frozen: noise of 25 counts of 255" in again.card["imported"]["notes"]


def test_safetensors_and_old_names_are_read_too(tmp_path: Path) -> None:
    net = NETS["RRDBNet x4"]()
    net(torch.zeros(1, 3, 8, 8))
    old = {
        name.replace("body.", "RRDB_trunk.")
        .replace(".rdb", ".RDB")
        .replace("conv_body", "trunk_conv")
        .replace("conv_up", "upconv")
        .replace("conv_hr", "HRconv"): tensor
        for name, tensor in net.tensors.items()
    }
    save_file(old, tmp_path / "old.safetensors")
    found = import_model(tmp_path / "old.safetensors")
    image = torch.rand(1, 3, 9, 11)
    answer = found.model.net(image).detach()
    np.testing.assert_allclose(answer, net(image), atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_safetensors_of_other_floats(kind: torch.dtype, tmp_path: Path) -> None:
    net = NETS["DnCNN"]()
    net(torch.zeros(1, 1, 8, 8))
    save_file(
        {k: v.to(kind).contiguous() for k, v in net.tensors.items()}, tmp_path / "n.safetensors"
    )
    torch.save({k: v.to(kind) for k, v in net.tensors.items()}, tmp_path / "n.pth")
    found = import_model(tmp_path / "n.safetensors").model
    for name, tensor in import_model(tmp_path / "n.pth").model.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
    save_file({"model.0.weight": torch.ones(2).to(torch.float8_e5m2)}, tmp_path / "8.safetensors")
    with pytest.raises(WeightsError, match="floats are read; save it as F32"):
        import_model(tmp_path / "8.safetensors")


def test_a_net_is_told_the_noise(tmp_path: Path) -> None:
    net = NETS["FFDNet grey"]()
    path = saved(net, tmp_path / "f.pth")
    with pytest.raises(WeightsError, match=r"FFDNet has to be told .*give --noise"):
        import_model(path)
    other = import_model(path, noise=50).model
    assert not np.array_equal(
        other.net(torch.ones(1, 1, 8, 8)).detach(), net(torch.ones(1, 1, 8, 8))
    )
    told = imported(NETS["DnCNN"](), tmp_path)
    assert not any("left out" in line for line in told.lines)
    useless = import_model(tmp_path / "net.pth", noise=10)
    assert any("left out: --noise" in line for line in useless.lines)


def test_factors_of_a_file_for_several(tmp_path: Path) -> None:
    path = saved(NETS["CARN x2"](), tmp_path / "carn.pth")
    with pytest.raises(WeightsError, match="enlarges by 2, 3, 4: give one as --scale"):
        import_model(path)
    assert import_model(path, scale=3).model.config.output_scale == 3
    with pytest.raises(WeightsError, match="a net that enlarges 3 times is not one to denoise"):
        import_model(path, scale=3, task="denoise")


def test_prefixes_and_weight_normalisation(tmp_path: Path) -> None:
    net = NETS["DnCNN"]()
    expected = imported(net, tmp_path).model
    for g, v in (("weight_g", "weight_v"), ("parametrizations.weight.original0",) * 2):
        v = v.replace("original0", "original1")
        made = {f"my_denoiser.{name}": tensor for name, tensor in net.tensors.items()}
        weight = made.pop("my_denoiser.model.0.weight")
        length = weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        made[f"my_denoiser.model.0.{g}"], made[f"my_denoiser.model.0.{v}"] = length, 3 * weight
        torch.save({"state_dict": made}, tmp_path / "prefixed.ckpt")
        found = import_model(tmp_path / "prefixed.ckpt").model
        for name, tensor in expected.tensors.items():
            np.testing.assert_allclose(found.tensors[name], tensor, rtol=1e-5, atol=1e-7)


def test_convolutions_without_an_activation_are_no_dncnn(tmp_path: Path) -> None:
    """Their names do not say what lies between them, their numbers do."""
    shapes = ((8, 1), (8, 8), (8, 8), (1, 8))
    tensors = {
        f"model.{i}.weight": torch.rand(n, c, 3, 3)
        for i, (n, c) in zip((0, 2, 3, 5), shapes, strict=True)
    }
    torch.save(tensors, tmp_path / "plain.pth")
    with pytest.raises(WeightsError, match="do not have one ReLU between them each"):
        import_model(tmp_path / "plain.pth")
    lines = imported(NETS["DnCNN"](), tmp_path).lines
    assert any(line.startswith("assumed: ReLU between them") for line in lines)
    assert any(line.startswith("assumed: what it gives is the noise") for line in lines)


def test_a_factor_that_the_weights_do_not_tell(tmp_path: Path) -> None:
    path = saved(NETS["FSRCNN"](), tmp_path / "f.pth")
    with pytest.raises(WeightsError, match="do not tell by which factor .*give --scale"):
        import_model(path)
    assert import_model(path, scale=2).model.config.output_scale == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("IMDB1.c1.weight", "it is IMDN, .* it looks at the whole image"),
        ("block_1.esa.conv1.weight", "it is RFDN or RLFN, .* depends on the image's size"),
        ("layers.0.residual_group.blocks.0.attn.qkv.weight", "it is a transformer, "),
        ("body.0.body.0.body.3.conv_du.0.weight", "it is RCAN"),
    ],
)
def test_nets_that_are_known_not_to_be_streamed(name: str, message: str, tmp_path: Path) -> None:
    torch.save({name: torch.ones(1), "other.weight": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=message):
        import_model(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {}, "expected a dictionary of tensors, found none"),
        (lambda t: {"fc.weight": torch.ones(3, 3)}, r"not known .*torch\.onnx\.export"),
        (lambda t: {k: v for k, v in t.items() if k != "model.8.weight"}, "recognised as DnCNN"),
        (lambda t: {**t, "model.8.weight": torch.ones(5, 8, 3, 3)}, "take 1 channels and give 5"),
        (lambda t: {**t, "model.2.weight": torch.ones(8, 8, 3)}, "recognised as DnCNN"),
        (lambda t: {**t, "model.0.bias": torch.full((8,), torch.nan)}, "are NaN or infinite"),
        (lambda t: {**t, "model.2.weight": torch.ones(8, 8, 3, 5)}, "recognised as DnCNN"),
    ],
)  # fmt: skip
def test_what_is_no_such_net(change: object, message: str, tmp_path: Path) -> None:
    net = NETS["DnCNN"]()
    net(torch.zeros(1, 1, 8, 8))
    torch.save(change(net.tensors), tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=message):
        import_model(tmp_path / "bad.pth")


def test_a_stack_gives_the_same_bytes_for_any_cut(tmp_path: Path) -> None:
    from helpers import CONFIGS, stream_image

    image = np.random.default_rng(0).random((61, 83, 3), np.float32)
    whole = stream_image(CONFIGS["stack"], image, band_rows=4)
    cut = stream_image(CONFIGS["stack"], image, band_rows=16, strips=3, segments=2, workers=2)
    assert np.array_equal(whole, cut) and compiled(CONFIGS["stack"]).constant_attention() == {}
