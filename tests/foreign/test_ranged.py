"""Nets that take other values for black and white give the same answer in ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unetmm.errors import WeightsError
from unetmm.foreign.importing import import_model
from unetmm.models.weights import Model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's old exporter


class Residual(torch.nn.Module):
    """Two convolutions with borders of zeros, whose biases make the range matter."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = torch.nn.Conv2d(channels, 8, 3, padding=1)
        self.tail = torch.nn.Conv2d(8, outputs, 3, padding=1)
        self.is_residual = channels == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.tail(torch.relu(self.head(x) + 0.3))
        return x - y if self.is_residual else torch.sigmoid(y)


def exported(path: Path, net: torch.nn.Module, channels: int) -> Path:
    torch.onnx.export(
        net.eval(), (torch.rand(1, channels, 16, 16),), str(path), dynamo=False,
        input_names=["image"], dynamic_axes={"image": {2: "rows", 3: "columns"}},
    )  # fmt: skip
    return path


def answer(model: Model, image: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model.net(image))


@pytest.mark.parametrize(("black", "white"), [(0, 255), (-1, 1), (16, 235)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_graph_of_another_range(
    tmp_path: Path, channels: int, black: float, white: float
) -> None:
    net = Residual(channels, channels)
    path = exported(tmp_path / "net.onnx", net, channels)
    found = import_model(path, net_range=(black, white))
    assert found.difference is not None and found.difference < 1e-5
    assert any(f"black as {black:g}" in line for line in found.lines)
    image = torch.rand(1, channels, 19, 23)
    with torch.no_grad():
        expected = (net(black + (white - black) * image) - black) / (white - black)
    np.testing.assert_allclose(answer(found.model, image), expected, atol=1e-5)


def test_a_map_comes_as_the_net_gives_it(tmp_path: Path) -> None:
    net = Residual(3, 1)
    path = exported(tmp_path / "net.onnx", net, 3)
    found = import_model(path, net_range=(0, 255))
    assert found.model.config.gives == "map"
    assert found.difference is not None and found.difference < 1e-5


def test_a_nafnet_of_another_range() -> None:
    path = Path(__file__).parent.parent / "data" / "nafnet_w8.pth"
    usual, other = import_model(path).model, import_model(path, net_range=(0, 255)).model
    image = torch.rand(1, 3, 16, 16)
    expected = answer(usual, 255 * image) / 255
    np.testing.assert_allclose(answer(other, image), expected, atol=1e-4)
    with pytest.raises(WeightsError, match="save it as ONNX"):
        import_model(path, net_range=(-1, 1))


def test_no_range(tmp_path: Path) -> None:
    path = exported(tmp_path / "net.onnx", Residual(1, 1), 1)
    for wrong in ((1.0, 0.0), (0.0, float("inf"))):
        with pytest.raises(WeightsError, match="a range goes from"):
            import_model(path, net_range=wrong)
