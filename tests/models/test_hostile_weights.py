"""Weight files of any content: one line at once, and nothing allocated for absurd nets."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import lively_model
from safetensors.numpy import save_file

from unetmm.errors import ShapeError, WeightsError
from unetmm.io.array import array_info
from unetmm.models.checkpoints import infer_config
from unetmm.models.weights import load_model, save_model
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image

NET = NetConfig(1, 1, 8, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1)))
TENSORS = lively_model(NET).tensors


def config(**changes: Any) -> str:
    return json.dumps({**json.loads(NET.to_json()), **changes})


def aggregate(**changes: Any) -> str:
    return config(aggregate={**json.loads(NET.to_json())["aggregate"], **changes})


def write(path: Path, text: str = NET.to_json(), card: str = "{}", tensors: Any = None) -> Path:
    metadata = {"unetmm.config": text, "unetmm.card": card}
    save_file(dict(TENSORS) if tensors is None else tensors, path, metadata)
    return path


CONFIGS = {
    "huge width": config(width=10**9),
    "negative": config(width=-1),
    "float": config(width=16.5),
    "text": config(width="16"),
    "bool": config(width=True),
    "many blocks": config(encoder_blocks=[10**9, 1]),
    "sixty levels": config(encoder_blocks=[1] * 60, decoder_blocks=[1] * 60, aggregate=None),
    "4000 levels": config(encoder_blocks=[0] * 4000, decoder_blocks=[0] * 4000, aggregate=None),
    "deep middle": config(middle_blocks=10**8),
    "null": config(width=None),
    "no list": config(encoder_blocks=3),
    "text list": config(encoder_blocks="11"),
    "nan": '{"in_channels": NaN}',
    "nested": "[" * 100_000,
    "list": "[]",
    "unknown field": config(evil=1),
    "huge map": aggregate(channels=2**40),
    "huge scale": aggregate(scale=2**200),
    "scale of text": aggregate(scale="4"),
    "map of text": config(aggregate="yes"),
    "many colours": config(in_channels=10**6, out_channels=10**6),
    "many weights": config(width=4096, encoder_blocks=[256, 256], decoder_blocks=[256, 256]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_are_refused_before_anything_is_made_of_them(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "m.safetensors", CONFIGS[name])
    with pytest.raises(WeightsError, match=r"m\.safetensors: ") as refused:
        load_model(path)
    assert len(str(refused.value)) < 600


RAW = {
    "empty": b"",
    "short": b"\0",
    "endless header": struct.pack("<Q", 2**63) + b"{}",
    "list": struct.pack("<Q", 2) + b"[]",
    "nested": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "metadata of text": struct.pack("<Q", 24) + b'{"__metadata__": "hello"}',
    "tensor of text": struct.pack("<Q", 10) + b'{"a": "b"}',
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_safetensors_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(RAW[name])
    with pytest.raises(WeightsError, match="not a safetensors file|not a unetmm weight file"):
        load_model(path)


@pytest.mark.parametrize(
    ("card", "named"),
    [
        ("[]", "is a list"), ("5", "is a int"), ('{"task": ["denoise"]}', "task of its card"),
        (json.dumps({"x": "y" * 10**6}), "has 1000009 characters"), ("[" * 100_000, "nested"),
        ('{"tensors_sha256": 5}', "tensors_sha256 of its card"),
    ],
)  # fmt: skip
def test_cards_that_are_none_are_refused(tmp_path: Path, card: str, named: str) -> None:
    with pytest.raises(WeightsError, match=named):
        load_model(write(tmp_path / "m.safetensors", card=card))


def test_tensors_are_floats_of_the_net_and_finite(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for dtype in (np.float16, np.float64):
        write(path, tensors={k: v.astype(dtype) for k, v in TENSORS.items()})
        assert load_model(path).tensors["intro.bias"].dtype == np.float32
    write(path, tensors={k: v.astype(np.int8) for k, v in TENSORS.items()})
    with pytest.raises(WeightsError, match="holds I8, weights are one of F32"):
        load_model(path)
    data = path.read_bytes().replace(b'"I8"', b'"U8"')
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="holds U8"):
        load_model(path)
    write(path, tensors={**TENSORS, "more": np.zeros(3, np.float32)})
    with pytest.raises(WeightsError, match=r"unknown \['more'\]"):
        load_model(path)
    write(path, tensors={k: v.astype(np.float64) * 1e300 for k, v in TENSORS.items()})
    with pytest.raises(WeightsError, match="are NaN or infinite"):
        assert load_model(path).tensors


def test_offsets_beyond_the_file_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors")
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["intro.bias"]["data_offsets"] = [2**63 - 40, 2**63 - 8]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    with pytest.raises(WeightsError, match="damaged weight file"):
        assert load_model(path).tensors


@pytest.mark.parametrize(("takes", "makes"), [(1, 3), (3, 1), (1, 2)])
def test_nets_that_make_other_channels_than_they_take_are_refused(takes: int, makes: int) -> None:
    model = lively_model(replace(NET, in_channels=takes, out_channels=makes))
    shape, axes = ((100, 120), "YX") if takes == 1 else ((100, 120, takes), "YXS")
    info = array_info(shape, np.dtype(np.float32), axes)
    storage = in_memory_storage((512, 512))
    with pytest.raises(ShapeError, match=f"the net makes {makes} channels of {takes}"):
        plan_image(info, storage, storage, model, Options())


@pytest.mark.parametrize(
    "name", ["downs.999999999.weight", "downs.20.weight", f"downs.{'9' * 5000}.w"]
)
def test_public_checkpoints_with_absurd_names_are_refused(name: str) -> None:
    shapes = {"intro.weight": (16, 1, 3, 3), "ending.weight": (1, 16, 3, 3)}
    shapes[name := name.format("9" * 5000)] = (1,)
    with pytest.raises(WeightsError, match="not a NAFNet this project knows"):
        infer_config(shapes, "deep.pth")
    shapes = {**shapes, "downs.0.weight": (1,), "encoders.0.99999.x": (1,)}
    shapes.pop(name)
    with pytest.raises(WeightsError, match="256 blocks at a scale are the most"):
        infer_config(shapes, "deep.pth")


def test_what_is_shipped_and_saved_is_within_the_bounds(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", NET, TENSORS, {"task": "denoise"})
    assert load_model(tmp_path / "m.safetensors").config == NET
    NetConfig(3, 3, 64, (2, 2, 4, 28), 12, (2, 2, 2, 2))


def test_a_graph_as_a_model_names_the_import(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"graph")
    with pytest.raises(WeightsError, match=r"unetmm import .*net\.onnx -o net\.safetensors"):
        load_model(tmp_path / "net.onnx")
