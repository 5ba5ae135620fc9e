"""Checkpoints as safetensors files below 16 MiB each, so that they travel anywhere."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unetmm.errors import ResumeError, WeightsError
from unetmm.nets.config import PADDINGS

if TYPE_CHECKING:
    from unetmm.train.config import TrainConfig

SHARD_BYTES = 15 * 2**20
"""Largest size of a checkpoint's file."""
OWN_NAME = re.compile(r"\w+-\d+-\d+\.safetensors")
"""Pattern of the names of a checkpoint's files; finished weights beside them are not touched."""


def save_checkpoint(
    folder: Path,
    step: int,
    states: dict[str, dict[str, Tensor]],
    facts: dict[str, Any] | None = None,
) -> None:
    """Write `states` (name -> tensors) for `step`; appears whole or not at all.

    Files are named by step and `state.json` is replaced last, so a kill at any moment leaves the
    previous checkpoint usable.

    Parameters
    ----------
    facts : of the run's config, for `check_same_run`.

    Raises
    ------
    WeightsError
        If it cannot be written.
    """
    files: dict[str, list[str]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, tensors in states.items():
            files[name] = []
            for i, shard in enumerate(_shards(tensors)):
                file = f"{name}-{step}-{i}.safetensors"
                save_file(shard, folder / file)
                files[name].append(file)
        aside = folder / "state.json.part"
        content = {"step": step, "files": files} | ({"config": facts} if facts else {})
        aside.write_text(json.dumps(content), encoding="utf-8")
        os.replace(aside, folder / "state.json")
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{folder}: cannot write a checkpoint ({error})") from error
    current = {f for names in files.values() for f in names}
    for old in folder.glob("*.safetensors"):
        if OWN_NAME.fullmatch(old.name) and old.name not in current:
            old.unlink()


def load_checkpoint(folder: Path) -> tuple[int, dict[str, dict[str, Tensor]]] | None:
    """The last step and its states, or None if there is no checkpoint.

    Raises
    ------
    ResumeError
        If it is damaged.
    """
    state = folder / "state.json"
    if not state.exists():
        return None
    states: dict[str, dict[str, Tensor]] = {}
    try:
        content = json.loads(state.read_text(encoding="utf-8"))
        for name, files in content["files"].items():
            states[name] = {k: v for f in files for k, v in load_file(folder / f).items()}
        return int(content["step"]), states
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise ResumeError(f"{folder}: its checkpoint is damaged ({error}); remove it") from error


def check_same_run(folder: Path, config: TrainConfig) -> None:
    """Refuse a checkpoint that was begun from other data, noise, seed, net or weights.

    Those of older versions do not say what they were begun from.

    Raises
    ------
    ResumeError
        It names what differs.
    """
    content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    begun, now = content.get("config", {}), config.facts()
    if "net" in begun:  # older versions knew one padding, and no nets of layers
        begun["net"] = {"padding": PADDINGS[0], "layers": [], **begun["net"]}
    changed = [name for name in begun if begun[name] != now.get(name)]
    if changed:
        raise ResumeError(
            f"{folder}: holds a run with another {' and '.join(changed)} than {config.name}'s; "
            "give another folder"
        )


def _shards(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous().cpu()
        nbytes = tensor.numel() * tensor.element_size()
        if size and size + nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.clone(memory_format=torch.contiguous_format)
        size += nbytes
    return shards
