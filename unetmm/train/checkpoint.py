"""Checkpoints as safetensors files below 16 MiB each, so that they travel anywhere."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SHARD_BYTES = 15 * 2**20
"""Largest file of a checkpoint."""
OWN_NAME = re.compile(r"\w+-\d+-\d+\.safetensors")
"""What the files of a checkpoint are called; finished weights beside them are not touched."""


def save_checkpoint(folder: Path, step: int, states: dict[str, dict[str, Tensor]]) -> None:
    """Write `states` (name -> tensors) for `step`; appears whole or not at all.

    Files are named by step and `state.json` is replaced last, so a kill at any moment leaves the
    previous checkpoint usable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = {}
    for name, tensors in states.items():
        files[name] = []
        for i, shard in enumerate(_shards(tensors)):
            file = f"{name}-{step}-{i}.safetensors"
            save_file(shard, folder / file)
            files[name].append(file)
    aside = folder / "state.json.part"
    aside.write_text(json.dumps({"step": step, "files": files}), encoding="utf-8")
    os.replace(aside, folder / "state.json")
    current = {f for names in files.values() for f in names}
    for old in folder.glob("*.safetensors"):
        if OWN_NAME.fullmatch(old.name) and old.name not in current:
            old.unlink()


def load_checkpoint(folder: Path) -> tuple[int, dict[str, dict[str, Tensor]]] | None:
    """The last step and its states, or None if there is no checkpoint."""
    state = folder / "state.json"
    if not state.exists():
        return None
    content = json.loads(state.read_text(encoding="utf-8"))
    states: dict[str, dict[str, Tensor]] = {}
    for name, files in content["files"].items():
        states[name] = {k: v for f in files for k, v in load_file(folder / f).items()}
    return int(content["step"]), states


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
