"""Files of torch: tensors of a checkpoint, and the config of a public NAFNet."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetmm.errors import ShapeError, WeightsError
from unetmm.extras import need_torch
from unetmm.nets.config import MOST_LEVELS, MOST_PARAMETERS, NetConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_checkpoint(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of a .pth file, of all of it or of what lies below "params" or the like.

    Raises
    ------
    WeightsError
        If the file is damaged or holds something else than tensors.
    """
    need_torch(f"{path}: reading a .pth file")
    found = _tensors_of(_loaded(path))
    if not found:
        raise WeightsError(f"{path}: expected a dictionary of tensors, found none")
    total = sum(tensor.numel() for tensor in found.values())
    if total > MOST_PARAMETERS:
        raise WeightsError(f"{path}: {total} weights, {MOST_PARAMETERS} are the most")
    try:
        return {k.removeprefix("module."): v.detach().float().numpy() for k, v in found.items()}
    except (RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: its tensors are not plain ones ({_line(error)})") from error


def _loaded(path: Path) -> Any:
    """What a file of torch holds; code in it is never carried out."""
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _begins_as_text(path):
            raise WeightsError(
                f"{path}: a text, not a file of torch; download the weights themselves"
            ) from error
        raise WeightsError(
            f"{path}: cannot be loaded as plain tensors: it is damaged or holds Python objects, "
            "whose code is not run; save net.state_dict() where its code is"
        ) from error
    except (
        OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError,
    ) as error:  # fmt: skip
        if "TorchScript" in str(error):
            raise WeightsError(
                f"{path}: a TorchScript program; save net.state_dict(), or the net as ONNX"
            ) from error
        raise WeightsError(
            f"{path}: cannot be loaded as plain tensors ({_line(error)[:160]})"
        ) from error


def _begins_as_text(path: Path) -> bool:
    """Whether a file begins like a web page, or like what Git LFS leaves in place of a file."""
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith((b"<", b"version https://git-lfs", b"{"))


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _tensors_of(content: Any, depth: int = 0) -> dict[str, Any]:
    """The dictionary of tensors in what a file holds: it, or one in it, at most three deep."""
    import torch

    if not isinstance(content, Mapping) or depth > 3:
        return {}
    for key in ("params_ema", "params", "state_dict", "model"):
        if isinstance(content.get(key), Mapping) and (
            inner := _tensors_of(content[key], depth + 1)
        ):
            return inner
    own = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
    if own:
        return own
    others = [_tensors_of(v, depth + 1) for k, v in content.items() if k != "optimizer"]
    return max(others, key=len, default={})


def infer_config(shapes: Mapping[str, tuple[int, ...]], where: str) -> NetConfig:
    """The config of a public NAFNet from its tensor shapes.

    Raises
    ------
    WeightsError
        If the names are not NAFNet's.
    """
    if "intro.weight" not in shapes or "ending.weight" not in shapes:
        raise WeightsError(
            f"{where}: not a NAFNet checkpoint (no intro.weight and ending.weight); unetmm import "
            "reads those of other nets"
        )

    def count(pattern: str) -> int:
        numbers = [m[1] for name in shapes if (m := re.match(pattern, name))]
        if any(len(number) > 6 for number in numbers):
            raise WeightsError(f"{where}: not a NAFNet this project knows (a million blocks)")
        return max(map(int, numbers), default=-1) + 1

    for name in ("intro.weight", "ending.weight"):
        if len(shapes[name]) != 4:
            raise WeightsError(f"{where}: {name} is no convolution, its shape is {shapes[name]}")
    levels = count(r"downs\.(\d+)\.")
    if levels > MOST_LEVELS:
        raise WeightsError(f"{where}: not a NAFNet this project knows ({levels} levels)")
    width, in_channels = shapes["intro.weight"][:2]
    try:
        return NetConfig(
            in_channels=in_channels,
            out_channels=shapes["ending.weight"][0],
            width=width,
            encoder_blocks=tuple(count(rf"encoders\.{n}\.(\d+)\.") for n in range(levels)),
            middle_blocks=count(r"middle_blks\.(\d+)\."),
            decoder_blocks=tuple(count(rf"decoders\.{n}\.(\d+)\.") for n in range(levels)),
            padding="zeros",
        )
    except ShapeError as error:
        raise WeightsError(f"{where}: not a NAFNet this project knows ({error})") from error
