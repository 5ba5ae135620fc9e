"""Nets of any number of bands are read, with what their own code does to each band before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from sketch import Sketch

import unetmm
from unetmm.errors import WeightsError
from unetmm.foreign.importing import import_model
from unetmm.foreign.ranged import stored_range
from unetmm.models.weights import load_model, save_model
from unetmm.nets.config import NetConfig

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's old exporter
MEAN = (1200.0, 1500.0, 2000.0, 3000.0, 4000.0, 5000.0)
STD = (400.0, 500.0, 700.0, 900.0, 1100.0, 1300.0)
RANGE = (0.0, 10000.0)


class BandNet(torch.nn.Module):
    """A small net of bands whose borders of zeros lie behind the normalisation."""

    def __init__(self, bands: int, outputs: int, scale: int = 1) -> None:
        super().__init__()
        torch.manual_seed(bands)
        self.head = torch.nn.Conv2d(bands, 12, 3, padding=1)
        self.down = torch.nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.up = torch.nn.ConvTranspose2d(16, 12, 2, stride=2)
        self.tail = torch.nn.Conv2d(24, outputs * scale**2, 3, padding=1)
        self.shuffle = torch.nn.PixelShuffle(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = torch.relu(self.head(x))
        coarse = torch.relu(self.up(torch.relu(self.down(fine))))
        answer: torch.Tensor = self.shuffle(self.tail(torch.cat((fine, coarse), 1)))
        return answer


def exported(path: Path, net: torch.nn.Module, bands: int) -> Path:
    torch.onnx.export(
        net.eval(), (torch.rand(1, bands, 16, 16),), str(path), dynamo=False,
        input_names=["image"], dynamic_axes={"image": {2: "rows", 3: "columns"}},
    )  # fmt: skip
    return path


def normal(image: np.ndarray, bands: int) -> torch.Tensor:
    """What the net's own code makes of stored counts."""
    mean, std = (np.array(n[:bands], np.float32)[:, None, None] for n in (MEAN, STD))
    return torch.from_numpy(((image.astype(np.float32) - mean) / std)[None])


@pytest.mark.parametrize(("bands", "outputs", "scale"), [(4, 4, 1), (2, 2, 2), (6, 5, 1)])
def test_counts_give_what_the_nets_own_code_gives(
    tmp_path: Path, bands: int, outputs: int, scale: int
) -> None:
    net = BandNet(bands, outputs, scale)
    path = exported(tmp_path / "net.onnx", net, bands)
    gives: dict[str, Any] = {"gives": "classes"} if outputs != bands else {}
    found = import_model(path, net_range=RANGE, mean=MEAN[:bands], std=STD[:bands], **gives)
    assert found.difference is not None and found.difference < 1e-5
    assert any(f"takes {bands} bands together" in line for line in found.lines)
    assert any("sees the stored values 0 to 10000" in line for line in found.lines)
    written = tmp_path / "m.safetensors"
    save_model(written, found.model.config, found.model.tensors, found.model.card)
    assert load_model(written).stored_range == RANGE
    image = np.random.default_rng(0).integers(200, 9000, (bands, 40, 52)).astype(np.float32)
    with torch.no_grad():
        expected = net(normal(image, bands))[0].numpy()
    if not gives:
        mean, std = (np.array(n[:bands], np.float32)[:, None, None] for n in (MEAN, STD))
        expected = expected * std + mean
    if scale > 1:  # what is enlarged does not sink below no light
        expected = expected.clip(0)
    asked = {"scores": True} if gives else {"outliers": "none"}
    made = unetmm.restore(image, written, axes="CYX", **asked)
    np.testing.assert_allclose(made, expected, atol=2e-6 * np.ptp(expected))


def test_a_number_for_all_bands_and_no_range(tmp_path: Path) -> None:
    path = exported(tmp_path / "net.onnx", BandNet(4, 4), 4)
    found = import_model(path, mean=(0.4,), std=(0.2,))
    assert found.difference is not None and found.difference < 1e-5
    assert "stored_range" not in found.model.card
    three = exported(tmp_path / "three.onnx", BandNet(3, 3), 3)
    found = import_model(three, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert found.difference is not None and found.difference < 1e-5


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"mean": MEAN[:3]}, "asked for mean 1200,1500,2000; the net takes 4 channels: give a num"),
        ({"mean": MEAN[:4]}, "the mean 1200, which is not within 0 to 1; --net-range LOW,HIGH"),
        ({"std": (0.2, 0.2, 0.0, 0.2)}, "asked for std 0.2,0.2,0,0.2; deviations are above 0"),
        ({"std": (float("nan"),)}, "asked for std nan; the net takes 4 channels"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, asked: Any, says: str) -> None:
    path = exported(tmp_path / "net.onnx", BandNet(4, 4), 4)
    with pytest.raises(WeightsError, match=says):
        import_model(path, **asked)


@pytest.mark.parametrize(
    ("shape", "bands"),
    [
        ([1, 12, "h", "w"], 12),
        ([1, 5, 64, 64], 5),
        ([1, 64, 64, 5], 5),
        (["n", "h", "w", 2], 2),
        ([1, 3, 4, 4], 3),
    ],
)
def test_where_the_channels_are(tmp_path: Path, shape: list[Any], bands: int) -> None:
    sketch = Sketch(bands)
    sketch.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    is_last = shape[-1] == bands and shape[1] != bands
    x = sketch.node("Transpose", "image", perm=[0, 3, 1, 2]) if is_last else "image"
    x = sketch.conv(x, bands, bands)
    if is_last:
        sketch.node("Transpose", x, perm=[0, 2, 3, 1])
    found = sketch.read(tmp_path)
    assert found.model.config.in_channels == bands
    assert found.difference is not None and found.difference < 1e-5


def test_which_ranges_are_of_stored_values() -> None:
    bands = NetConfig(4, 4, 8, (1,), 1, (1,))
    colours = NetConfig(3, 3, 8, (1,), 1, (1,))
    classes = NetConfig(3, 4, 8, (1,), 1, (1,), body="unet", gives="classes")
    assert stored_range(bands, *RANGE) == stored_range(classes, *RANGE) == RANGE
    assert stored_range(colours, *RANGE) is None
    for usual in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)):
        assert stored_range(bands, *usual) is None


def test_checkpoints_of_bands(tmp_path: Path) -> None:
    from public_nets import Net, dncnn

    net = Net(dncnn, 5)
    image = torch.rand(1, 5, 20, 24)
    expected = net(image)
    torch.save(net.tensors, tmp_path / "net.pth")
    model = import_model(tmp_path / "net.pth").model
    assert model.config.in_channels == 5
    with torch.no_grad():
        np.testing.assert_allclose(model.net(image), expected, atol=1e-5)
