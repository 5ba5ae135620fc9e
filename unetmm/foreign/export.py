"""A model of ours as an ONNX graph that any runtime can carry out."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import MissingPackageError, ShapeError, WeightsError
from unetmm.extras import has, need, need_torch
from unetmm.foreign.comparing import compared
from unetmm.models.weights import Model

INSTALL_EXPORT = 'pip install "unetmm[torch,onnx]" onnxscript'
"""Command that adds what exporting needs."""
OPSET = 18
"""Version of ONNX's operators; runtimes of 2023 and later know it."""
MOST_BYTES = 2**31 - 2**20
"""Largest file: protobuf takes no more than 2 GiB."""
CHECKED_PX = ((64, 80), (61, 83))
"""Rows and columns of the images that a graph is checked on."""


@dataclass(frozen=True)
class Exported:
    """A graph that was written."""

    path: Path
    size_bytes: int
    lines: tuple[str, ...]
    """Lines on what was frozen, and what the graph takes and gives."""
    difference: float | None
    """Largest difference from our own answer in onnxruntime; None where that is not installed."""


def export_onnx(
    model: Model, path: Path, attention: Mapping[str, NDArray[np.float32]] | None = None
) -> Exported:
    """Write a model as ONNX: (1, channels, h, w) of any size in, (1, channels, s*h, s*w) out.

    Parameters
    ----------
    attention : channel factors of every block to freeze, from an image's calibration; None: those
        that do not depend on the image are frozen, all others are computed from the graph's input.

    Raises
    ------
    WeightsError
        If the file cannot be written, or the graph's answer differs from ours.
    ShapeError
        If the attention is not that of this model.
    MissingPackageError
        If torch, onnx or onnxscript are not installed, or do not go together.
    """
    need_torch("exporting to ONNX")
    for package in ("onnx", "onnxscript"):
        need(package, "exporting to ONNX", INSTALL_EXPORT)
    if 4 * model.parameters > MOST_BYTES:
        raise WeightsError(f"{model.name}: its weights do not fit into an ONNX file of 2 GiB")
    net, lines = _frozen(model, attention)
    lines.append(
        "takes pixels as floats, black 0 and white 1; unetmm brings an image's own range there "
        "first, an ONNX runtime does not"
    )
    lines.append(f"takes images of at least {model.config.stride_px} x {model.config.stride_px} px")
    content = _graph(net, model, lines)
    aside = path.with_name(path.name + ".part")
    try:
        aside.write_bytes(content)
        difference = _difference(net, model, aside) if has("onnxruntime") else None
        os.replace(aside, path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error})") from error
    finally:
        aside.unlink(missing_ok=True)
    return Exported(path, len(content), tuple(lines), difference)


def _frozen(
    model: Model, attention: Mapping[str, NDArray[np.float32]] | None
) -> tuple[Any, list[str]]:
    """A copy of the reference net whose attention is constant as far as it can be."""
    import torch

    from unetmm.nets.blocks import NAFBlock

    net = copy.deepcopy(model.net)
    blocks = {n: m for n, m in net.named_modules() if isinstance(m, NAFBlock)}
    if attention is not None and set(attention) != set(blocks):
        raise ShapeError(f"the calibration is not one for {model.name}; save one with this model")
    waiting = 0
    for name, block in blocks.items():
        layer: Any = block.sca[1]
        if attention is not None:
            block.sca.frozen = torch.from_numpy(np.asarray(attention[name], np.float32))
        elif not layer.weight.any():
            block.sca.frozen = layer.bias.detach().clone()
        else:
            waiting += 1
    if not blocks:
        return net, []
    if waiting:
        line = (
            f"not frozen: {waiting} blocks average the graph's whole input, so tiles of an image "
            "come out differently from the whole; --calibration freezes them"
        )
    elif attention is None:
        line = "frozen: all channel attention, which is constant in this model"
    else:
        line = f"frozen: channel attention of {len(blocks)} blocks, by the calibration"
    return net, [line]


def _graph(net: Any, model: Model, lines: list[str]) -> bytes:
    """The serialised graph."""
    import torch

    channels, stride = model.config.in_channels, model.config.stride_px
    # Sides that differ and fit no stride: nothing may be taken for a constant.
    example = torch.rand(1, channels, 2 * stride + 33, 2 * stride + 46)
    size = torch.export.Dim.DYNAMIC
    try:
        with _quietly():
            program = torch.onnx.export(
                net, (example,), dynamo=True, opset_version=OPSET,
                input_names=["image"], output_names=["restored"],
                dynamic_shapes=({2: size, 3: size},), verbose=False,
            )  # fmt: skip
    except ImportError as error:  # torch looks for its own version in onnxscript
        raise MissingPackageError(
            f"exporting to ONNX by torch {torch.__version__} needs another onnxscript than is "
            f"installed ({error}): pip install -U onnxscript"
        ) from error
    assert program is not None, "it gives one where no file is named"
    proto = program.model_proto
    facts = {"name": model.name, "task": model.task, "notes": lines, "card": dict(model.card)}
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        text = value if isinstance(value, str) else json.dumps(value)
        entry.key, entry.value = f"unetmm.{key}", text
    content: bytes = proto.SerializeToString()
    return content


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch's exporter prints and warns of."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _difference(net: Any, model: Model, path: Path) -> float:
    """Largest difference between the graph in onnxruntime and our net, on images of two sizes."""
    import torch

    def ours(image: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            made: NDArray[np.float32] = net(torch.from_numpy(image)).numpy()
        return made

    sizes = [(model.config.in_channels, *size) for size in CHECKED_PX]
    return max(compared(path, ours, size, model.name) for size in sizes)
