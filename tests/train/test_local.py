"""Nets trained with constants in place of attention answer alike in a crop and in the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unetmm.errors import ResumeError
from unetmm.nets.blocks import ChannelAttention
from unetmm.train.config import TrainConfig
from unetmm.train.export import export
from unetmm.train.local import keep_local
from unetmm.train.loop import Trainer


def constants(net: torch.nn.Module) -> list[torch.Tensor]:
    projections = [m[1] for m in net.modules() if isinstance(m, ChannelAttention)]
    assert projections and all(not bool(p.weight.any()) for p in projections)
    return [p.bias.detach().clone() for p in projections]


def test_constants_are_trained_and_weights_stay_zero(config: TrainConfig, tmp_path: Path) -> None:
    local = replace(config, local=True)
    trainer = Trainer(local, tmp_path / "run")
    begun = constants(trainer.net)
    assert all(bool((c == 1).all()) for c in begun)
    assert trainer.run(lambda progress: None)
    assert any(not torch.equal(a, b) for a, b in zip(begun, constants(trainer.net), strict=True))
    resumed = Trainer(local, tmp_path / "run")
    constants(resumed.net)
    with pytest.raises(ResumeError, match="another local"):
        Trainer(config, tmp_path / "run")


def test_answer_far_from_a_change_stays(config: TrainConfig, tmp_path: Path) -> None:
    trainer = Trainer(replace(config, local=True), tmp_path / "run")
    assert trainer.run(lambda progress: None)
    net = trainer.ema_net()
    image = torch.rand((1, 3, 64, 256), generator=torch.Generator().manual_seed(0))
    changed = image.clone()
    changed[..., 192:] = 0
    with torch.inference_mode():
        difference = (net(image) - net(changed)).abs()
    assert difference[..., :64].max() == 0 and difference[..., 192:].max() > 0


def test_a_trained_net_begins_with_its_mean_attention(config: TrainConfig, tmp_path: Path) -> None:
    begun = Trainer(config, tmp_path / "first")
    assert begun.run(lambda progress: None)
    path = tmp_path / "first.safetensors"
    export(config, tmp_path / "first", path, {})
    local = replace(config, local=True, init=str(path))
    a, b = (Trainer(local, tmp_path / name) for name in ("a", "b"))
    found = constants(a.net)
    assert all(torch.equal(x, y) for x, y in zip(found, constants(b.net), strict=True))
    assert not any(bool((c == 1).all()) for c in found)
    assert np.isfinite(torch.cat(found).numpy()).all()


def test_a_local_net_stays_local_when_it_learns_on(config: TrainConfig, tmp_path: Path) -> None:
    net = Trainer(replace(config, local=True), tmp_path / "run").ema_net().train()
    with_attention = Trainer(config, tmp_path / "other").ema_net().train()
    for chosen, is_local in ((net, True), (with_attention, False)):
        keep_local(chosen)
        for name, parameter in chosen.named_parameters():
            if name.endswith("beta"):  # 0 in a new net, whose blocks then do nothing
                torch.nn.init.ones_(parameter)
        chosen(torch.rand((1, 3, 16, 16))).square().mean().backward()
        weights = [m[1].weight for m in chosen.modules() if isinstance(m, ChannelAttention)]
        assert all((w.grad is None or not bool(w.grad.any())) for w in weights) == is_local
