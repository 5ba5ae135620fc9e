"""Training is a function of config and step: killed and resumed, it gives the same weights."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT
from training_runs import begin

from unetmm.errors import ResumeError
from unetmm.train.batches import Batches
from unetmm.train.checkpoint import load_checkpoint
from unetmm.train.config import TrainConfig, load_train_config
from unetmm.train.data import make_sampler
from unetmm.train.export import export
from unetmm.train.history import log_path, read_rows
from unetmm.train.loop import Trainer, learning_rate


def test_a_resumed_run_equals_an_undisturbed_one(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = Trainer(config, tmp_path / "whole")
    assert whole.run(lambda progress: None, every=2)
    batches = Batches(config, make_sampler(config)[0])
    first = Trainer(config, tmp_path / "cut")
    for _ in range(3):
        first.train_step(*batches[first.step])
    first.save()
    first.train_step(*batches[first.step])  # lost, as by a kill
    resumed = Trainer(config, tmp_path / "cut")
    assert resumed.step == 3
    assert resumed.run(lambda progress: None, every=2)
    for name, tensor in whole.ema.items():
        assert torch.equal(tensor, resumed.ema[name]), name


def test_worker_processes_give_the_same_run(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone, helped = (Trainer(config, tmp_path / f"{n}", workers=n) for n in (0, 2))
    for trainer in (alone, helped):
        assert trainer.run(lambda progress: None, every=2)
    assert all(torch.equal(tensor, helped.ema[name]) for name, tensor in alone.ema.items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_recorded_on_a_gpu_are_those_of_a_cpu(
    config: TrainConfig, tmp_path: Path, compiled: bool
) -> None:
    exact = replace(config, precision="fp32")
    batches = Batches(exact, make_sampler(exact)[0])
    on_cpu = Trainer(exact, tmp_path / "cpu")
    on_gpu = Trainer(exact, tmp_path / "gpu", "cuda", compiled=compiled)
    for step in range(exact.steps):  # of two shapes
        losses = [t.train_step(*batches[step]).item() for t in (on_cpu, on_gpu)]
        assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    on_gpu.save()
    resumed = Trainer(exact, tmp_path / "gpu", "cuda")
    resumed.train_step(*batches[0])
    for name, tensor in on_cpu.ema.items():
        assert torch.allclose(tensor, on_gpu.ema[name].cpu(), atol=1e-4), name


CHILD = """
import sys, time
from pathlib import Path
import torch
from unetmm.train.config import load_train_config
from unetmm.train.loop import Trainer
torch.set_num_threads(1)
def report(progress):
    if progress.step >= int(sys.argv[3]):
        print("now", flush=True)
        time.sleep(600)
Trainer(load_train_config(Path(sys.argv[1])), Path(sys.argv[2])).run(report, every=2)
"""


def test_a_run_killed_with_sigkill_reaches_the_same_curve_and_weights(
    config: TrainConfig, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    path = tmp_path / "run.toml"
    path.write_text(path.read_text().replace("steps = 6", "steps = 14"))
    config = load_train_config(path)
    kill_at = int(np.random.default_rng(3).integers(4, 13))
    arguments = [sys.executable, "-c", CHILD, str(path), str(tmp_path / "cut"), str(kill_at)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "now\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    before = read_rows(log_path(tmp_path / "cut"))
    resumed = Trainer(config, tmp_path / "cut")
    assert 0 < resumed.step < before[-1].step < config.steps, "nothing was lost by the kill"
    assert resumed.run(lambda progress: None, every=2)
    whole = Trainer(config, tmp_path / "whole")
    assert whole.run(lambda progress: None, every=2)
    curve = [(r.step, r.psnr_db) for r in read_rows(log_path(tmp_path / "whole"))]
    after = read_rows(log_path(tmp_path / "cut"))
    assert len(curve) == 7 and {(r.step, r.psnr_db) for r in after} == set(curve)
    step, states = load_checkpoint(tmp_path / "whole") or (0, {})
    other_step, others = load_checkpoint(tmp_path / "cut") or (0, {})
    assert step == other_step == 14
    for name in ("net", "ema", "moment1", "moment2"):
        assert all(torch.equal(t, others[name][n]) for n, t in states[name].items()), name


@pytest.mark.slow
def test_training_for_a_time_leaves_what_an_export_needs(
    config: TrainConfig, tmp_path: Path
) -> None:
    script = ROOT / "training" / "train_for.py"
    brought = tmp_path / "runs" / "test"
    command = [sys.executable, script, tmp_path / "run.toml", "--seconds", "9", "-o", brought]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    chosen = load_train_config(brought / "run.toml")
    assert f"{chosen.steps} steps" in done.stderr and chosen.steps >= 100
    card = export(chosen, brought, tmp_path / "m.safetensors", {})
    # A machine that becomes slower meanwhile ends a run early, which has to be as usable.
    finished = card["steps"] == chosen.steps
    assert 0 < card["steps"] <= card["planned_steps"] == chosen.steps
    assert done.returncode == (0 if finished else 1), done.stderr
    assert not finished or read_rows(brought / "test.csv")[-1].step == card["steps"]


def test_learning_rate_warms_up_and_falls(config: TrainConfig) -> None:
    long = TrainConfig(config.name, config.data, config.net, steps=1000)
    rates = [learning_rate(long, s) for s in range(1000)]
    assert rates[0] < rates[199] and rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[999] < 2e-5


def test_a_run_goes_on_with_its_own_data_only(config: TrainConfig, tmp_path: Path) -> None:
    """Or a card would tell of data and terms that the weights were not trained on."""
    folder = tmp_path / "run"
    begin(config, folder)
    longer = replace(config, steps=9, learning_rate=1e-4)
    assert Trainer(longer, folder).step == 1
    others = {"data": ("elsewhere",), "seed": 5, "exclude": ("1.png",)}
    for name, value in others.items():
        other = replace(config, **{name: value})
        for use in (Trainer, lambda c, f: export(c, f, tmp_path / "m.safetensors", {})):
            with pytest.raises(ResumeError, match=f"holds a run with another {name} than test's"):
                use(other, folder)
    (folder / "state.json").write_text("")
    with pytest.raises(ResumeError, match="its checkpoint is damaged"):
        Trainer(config, folder)
