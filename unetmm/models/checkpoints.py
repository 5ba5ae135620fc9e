"""Files of torch: tensors of a checkpoint, and the config of a public NAFNet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unetmm.errors import ShapeError, WeightsError
from unetmm.extras import need_torch
from unetmm.nets.config import MOST_LEVELS, NetConfig

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
    import pickle

    need_torch(f"{path}: reading a .pth file")
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: cannot be loaded as plain tensors ({first_line})") from error
    for key in ("params_ema", "params", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items()
    ):
        raise WeightsError(
            f"{path}: expected a dictionary of tensors, found {type(content).__name__}"
        )
    return {k.removeprefix("module."): v.detach().float().numpy() for k, v in content.items()}


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
