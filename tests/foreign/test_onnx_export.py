"""Models as ONNX graphs: the same answer in onnxruntime at any size, statistics frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from helpers import CONFIGS, SMALL_UNETMM, frozen_attention, lively_model, reference

from unetmm.errors import MissingPackageError, ShapeError, WeightsError
from unetmm.foreign.export import export_onnx
from unetmm.foreign.importing import import_model
from unetmm.nets.blocks import NAFBlock


def run(path: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, {"image": image})[0]
    return answer


def test_a_frozen_net_gives_the_same_at_any_size(tmp_path: Path) -> None:
    model, attention = lively_model(SMALL_UNETMM), frozen_attention(SMALL_UNETMM)
    blocks = [m for m in model.net.modules() if isinstance(m, NAFBlock)]
    for block in blocks:
        block.sca.frozen = None
    made = export_onnx(model, tmp_path / "net.onnx", attention)
    assert all(block.sca.frozen is None for block in blocks), "the model's own net was changed"
    assert made.difference is not None and made.difference < 1e-5
    assert any(line.startswith("frozen: channel attention") for line in made.lines)
    image = np.random.default_rng(0).random((1, 3, 37, 90), np.float32)
    expected = reference(model.net, image[0].transpose(1, 2, 0), attention)
    found = run(made.path, image)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert made.path.stat().st_size == made.size_bytes
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_a_net_of_layers_comes_back(tmp_path: Path) -> None:
    model = lively_model(CONFIGS["stack"])
    made = export_onnx(model, tmp_path / "stack.onnx")
    again = import_model(made.path).model
    image = torch.rand(1, 3, 19, 23)
    with torch.no_grad():
        np.testing.assert_allclose(again.net(image), model.net(image), atol=1e-5)


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(SMALL_UNETMM)
    with pytest.raises(ShapeError, match="not one for lively"):
        export_onnx(model, tmp_path / "x.onnx", {"another": np.ones(3, np.float32)})
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(WeightsError, match="cannot be written"):
        export_onnx(lively_model(CONFIGS["unchanged"]), tmp_path / "folder.onnx")
    monkeypatch.setattr("unetmm.extras.has", lambda package: package != "onnxscript")
    with pytest.raises(MissingPackageError, match=r"needs onnxscript.*pip install"):
        export_onnx(model, tmp_path / "x.onnx")
    assert not list(tmp_path.glob("*.onnx.part"))


def test_an_onnxscript_that_torch_does_not_know_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*arguments: object, **more: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript._framework_apis.torch_9'")

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(MissingPackageError, match=r"torch_9.*pip install -U onnxscript"):
        export_onnx(lively_model(CONFIGS["stack"]), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
