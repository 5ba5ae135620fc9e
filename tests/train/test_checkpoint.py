"""Checkpoints: whole or not there, in small files, and those of older versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unetmm.train.batches import Batches
from unetmm.train.checkpoint import SHARD_BYTES, load_checkpoint, save_checkpoint
from unetmm.train.config import TrainConfig
from unetmm.train.data import make_sampler
from unetmm.train.loop import Trainer


def test_a_checkpoint_without_a_curve_is_resumed(config: TrainConfig, tmp_path: Path) -> None:
    """As versions before wrote them."""
    first = Trainer(config, tmp_path)
    first.train_step(*Batches(config, make_sampler(config)[0])[0])
    first.save()
    step, states = load_checkpoint(tmp_path) or (0, {})
    for curve in ({"psnr_db": torch.ones(1)}, {}):
        save_checkpoint(tmp_path, step, {**states, "curve": curve})
        assert Trainer(config, tmp_path).step == 1
    del states["curve"]
    save_checkpoint(tmp_path, step, states)
    assert Trainer(config, tmp_path).step == 1


def test_a_checkpoint_cut_off_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, 1, {"net": {"t": torch.ones(3)}})

    def killed(*paths: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unetmm.train.checkpoint.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, {"net": {"t": torch.zeros(3)}})
    step, states = load_checkpoint(tmp_path) or (0, {})
    assert step == 1 and torch.equal(states["net"]["t"], torch.ones(3))


def test_checkpoint_files_stay_below_16_mib(tmp_path: Path) -> None:
    states = {"net": {f"t{i}": torch.full((1 << 20,), float(i)) for i in range(9)}}
    save_checkpoint(tmp_path, 5, states)
    save_checkpoint(tmp_path, 7, states)
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) == 3 and all(f.stat().st_size <= SHARD_BYTES + 4096 for f in files)
    step, found = load_checkpoint(tmp_path) or (0, {})
    assert step == 7
    assert all(torch.equal(found["net"][k], v) for k, v in states["net"].items())


def test_finished_weights_survive_the_next_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "camera-tiny.safetensors").write_bytes(b"kept")
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"net": {"t": torch.zeros(3)}})
    names = sorted(p.name for p in tmp_path.glob("*.safetensors"))
    assert names == ["camera-tiny.safetensors", "net-2-0.safetensors"]
