"""What a foreign net gives is told by its channels and its end, or asked for; and is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto
from sketch import Sketch

import unetmm
from unetmm.errors import WeightsError
from unetmm.foreign.importing import Imported, import_model


def drawn(channels: int, count: int, *ends: tuple[str, dict[str, Any]]) -> Sketch:
    """A net of two convolutions, and nodes behind them."""
    s = Sketch(channels)
    s.conv(s.node("Relu", s.conv("image", channels, 8)), 8, count)
    for kind, attributes in ends:
        s.node(kind, s.x, **attributes)
    return s


def softmax(s: Sketch) -> None:
    s.node("Softmax", s.conv("image", 3, 4), axis=1)


def last_channels(s: Sketch) -> None:
    """As torch writes it for old versions, whose softmax is over all axes from one on."""
    s.opset = 11
    turned = s.node("Transpose", s.conv("image", 3, 4), perm=[0, 3, 2, 1])
    s.node("Transpose", s.node("Softmax", turned, axis=3), perm=[0, 3, 2, 1])


def argmax(s: Sketch) -> None:
    found = s.node("ArgMax", s.conv("image", 3, 4), axis=1, keepdims=0)
    s.node("Cast", found, to=TensorProto.FLOAT)


@pytest.mark.parametrize(
    ("sketch", "gives", "line"),
    [
        (drawn(3, 1), "map", "guessed: it gives a map, as it takes 3 channels"),
        (drawn(1, 1, ("Sigmoid", {})), "map", "ends with sigmoid; --gives image if it restores"),
        (drawn(1, 1), "image", "an image, as it gives as many channels as it takes; --gives"),
        (drawn(3, 3, ("Sigmoid", {})), "image", "--gives classes or --gives map if it does"),
        (drawn(3, 2, ("Sigmoid", {})), "map", "2 maps, as it takes 3 channels and ends"),
        (drawn(1, 3, ("Softmax", {"axis": 1})), "classes", "scores of 3 classes, as it ends"),
        (drawn(3, 3, ("Softmax", {"axis": 1}), ("Identity", {})), "classes", "ends with softmax"),
        (drawn(3, 3, ("ArgMax", {"axis": 1})), "classes", "as it ends with argmax"),
    ],
)
def test_what_is_certain_is_guessed_and_said(
    tmp_path: Path, sketch: Sketch, gives: str, line: str
) -> None:
    found = sketch.read(tmp_path)
    assert found.model.config.gives == gives
    assert found.model.task == ("denoise" if gives == "image" else "apply")
    guessed = [each for each in found.lines if each.startswith("guessed")]
    assert len(guessed) == bool(line) and (not line or line in guessed[0])


@pytest.mark.parametrize("draw", [softmax, last_channels, argmax])
def test_a_function_of_the_channels_at_the_end(
    tmp_path: Path, draw: Callable[[Sketch], None]
) -> None:
    pytest.importorskip("onnxruntime")
    s = Sketch(3)
    draw(s)
    found = s.read(tmp_path)
    assert (found.difference is None) == (draw is argmax)
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    scores = unetmm.restore(image, found.model, scores=True)
    labels = unetmm.restore(image, found.model)
    np.testing.assert_array_equal(labels, scores.argmax(-1))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    planes = (image / 255).astype(np.float32).transpose(2, 0, 1)[None]
    (theirs,) = session.run(None, {"image": planes})
    if draw is argmax:
        np.testing.assert_array_equal(theirs[0], labels)
        assert any(line.startswith("left out: argmax") for line in found.lines)
    else:
        np.testing.assert_allclose(scores.transpose(2, 0, 1)[None], theirs, atol=2e-6)


def test_scores_get_the_softmax_that_is_asked_for(tmp_path: Path) -> None:
    """A graph that ends with scores gives these; as probabilities where that is asked for."""
    plain = drawn(3, 4).read(tmp_path, gives="classes").model
    found = drawn(3, 4).read(tmp_path, gives="classes", final="softmax")
    assert "added: the softmax that was asked for" in found.lines
    image = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
    scores, shares = (unetmm.restore(image, m, scores=True) for m in (plain, found.model))
    exact = np.exp(scores.astype(np.float64))
    np.testing.assert_allclose(shares, exact / exact.sum(-1, keepdims=True), atol=2e-6)


def test_what_is_not_certain_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="may be scores of classes or maps; give --gives classe"):
        drawn(3, 5).read(tmp_path)
    assert drawn(3, 5).read(tmp_path, gives="map").model.config.gives == "map"
    named = drawn(1, 2).read(tmp_path, gives="classes", names=("background", "nucleus"))
    assert named.model.card["output_names"] == ["background", "nucleus"]
    kept = drawn(1, 1, ("Sigmoid", {})).read(tmp_path, gives="image")
    assert kept.model.config.gives == "image" and kept.model.task == "denoise"
    kept = drawn(1, 1, ("Sigmoid", {})).read(tmp_path, task="deblur")
    assert kept.model.config.gives == "image" and kept.model.task == "deblur"


@pytest.mark.parametrize(
    ("channels", "count", "asked", "words"),
    [
        (3, 1, {"gives": "image"}, "only nets that give as many"),
        (3, 1, {"task": "denoise"}, "only nets that give as many"),
        (3, 1, {"gives": "classes"}, "classes need a channel for each"),
        (3, 4, {"gives": "depth"}, "one of image, map, classes, found depth"),
        (3, 4, {"gives": "map", "names": ("a", "b")}, "2 names for a net that gives 4 channels"),
        (3, 3, {"names": ("a", "b", "c")}, "3 names for a net that gives an image"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, channels: int, count: int, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        drawn(channels, count).read(tmp_path, **asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ([("Softmax", {"axis": 2})], "attention between places"),
        ([("Softmax", {})], "attention between places"),
        (
            [("Softmax", {"axis": 1}), ("Relu", {})],
            "reads a softmax, which is only read at the end",
        ),
        ([("ArgMax", {"axis": 2})], "but for that among channels"),
        ([("ArgMax", {"axis": 1, "select_last_index": 1})], "the first is taken"),
        ([("Squeeze", {})], "an axis is taken away"),
    ],
)
def test_other_uses_of_them_are_refused(tmp_path: Path, ends: list[Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        drawn(3, 4, *ends).read(tmp_path)


def plain_unet(inputs: int, classes: int) -> dict[str, torch.Tensor]:
    """A checkpoint by the names of the public Pytorch-UNet, one level deep."""
    torch.manual_seed(0)
    found: dict[str, torch.Tensor] = {}

    def double(name: str, c: int, n: int) -> None:
        for i, a in ((0, c), (3, n)):
            found[f"{name}.{i}.weight"] = 0.2 * torch.randn(n, a, 3, 3)
            norm = {"weight": torch.ones(n), "bias": torch.zeros(n)}
            norm |= {"running_mean": torch.zeros(n), "running_var": torch.ones(n)}
            found.update({f"{name}.{i + 1}.{key}": value for key, value in norm.items()})

    double("inc.double_conv", inputs, 8)
    double("down1.maxpool_conv.1.double_conv", 8, 16)
    found["up1.up.weight"], found["up1.up.bias"] = torch.randn(16, 8, 2, 2), torch.zeros(8)
    double("up1.conv.double_conv", 16, 8)
    found["outc.conv.weight"] = torch.randn(classes, 8, 1, 1)
    found["outc.conv.bias"] = torch.zeros(classes)
    return found


@pytest.mark.parametrize(
    ("classes", "gives", "final"), [(4, "classes", "softmax"), (1, "map", "sigmoid")]
)
def test_a_public_unet_gets_the_end_of_its_code(
    tmp_path: Path, classes: int, gives: str, final: str
) -> None:
    torch.save(plain_unet(3, classes), tmp_path / "unet.pth")
    found: Imported = import_model(tmp_path / "unet.pth")
    assert (found.model.config.gives, found.model.config.final) == (gives, final)
    said = f"added: the {final} that its code puts behind the net; --final none leaves it out"
    assert said in found.lines
    free = import_model(tmp_path / "unet.pth", final="none")
    assert free.model.config == replace(found.model.config, final="")
    with pytest.raises(WeightsError, match="final"):
        import_model(tmp_path / "unet.pth", final="tanh")
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    scores = unetmm.restore(image, found.model, scores=classes > 1)
    assert scores.min() >= 0 and scores.max() <= 1
    if classes > 1:
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)
