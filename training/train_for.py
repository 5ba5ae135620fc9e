"""Train the steps that fit into so many seconds, where a machine is lent for no longer.

    python training/train_for.py training/small-mono.toml --seconds 400 --device cuda --compile \\
        --workers 14 -o brought/small-mono

The rate is measured first, and decides the steps, so that the learning rate falls to its end in
time. The output folder holds what has to come back: the averaged weights in files below 16 MiB,
the log, and the config as it was run, for `training/`. The folder goes to `runs/NAME`, its log
beside it, and `python -m unetmm.train.export` makes a weight file of it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from unetmm.train.batches import Batches
from unetmm.train.checkpoint import save_checkpoint
from unetmm.train.config import TrainConfig, load_train_config
from unetmm.train.data import PatchSampler, make_sampler
from unetmm.train.history import log_path
from unetmm.train.loop import Trainer, TrainingProgress

WARM_UP_STEPS = 20
TIMED_STEPS = 200
SPARE_SHARE = 0.92
"""Share of the time left after measuring that steps may take; validation and slower minutes get the
rest."""
ROUND_STEPS = 100


def main() -> int:
    """Train one run; exit code 1 when the time was over before the last step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("config", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--no-fused", action="store_true")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    torch.set_num_threads(1)
    how = arguments.device, arguments.workers, arguments.compile, not arguments.no_fused
    config = load_train_config(arguments.config)
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    images = make_sampler(config)
    step_s = seconds_a_step(config, images[0], output / "trial", *how)
    shutil.rmtree(output / "trial", ignore_errors=True)
    fitting = int(SPARE_SHARE * (end - time.monotonic()) / step_s)
    steps = max(1, fitting // ROUND_STEPS) * ROUND_STEPS
    show(f"{1e3 * step_s:.2f} ms a step: {steps} steps")
    text = arguments.config.read_text(encoding="utf-8")
    chosen = output / arguments.config.name
    chosen.write_text(re.sub(r"(?m)^steps = .*", f"steps = {steps}", text), encoding="utf-8")
    trainer = Trainer(load_train_config(chosen), output / "run", *how)
    left_s = end - time.monotonic()
    done = trainer.run(report, every=ROUND_STEPS, limit_s=left_s, images=images)
    save_checkpoint(output, trainer.step, {"ema": trainer.ema})
    if log_path(output / "run").exists():  # none before the first report
        shutil.move(log_path(output / "run"), output / f"{config.name}.csv")
    shutil.rmtree(output / "run")
    return 0 if done else 1


def seconds_a_step(
    config: TrainConfig,
    sampler: PatchSampler,
    folder: Path,
    device: str,
    workers: int,
    compiled: bool,
    fused: bool,
) -> float:
    """Mean over a run with the config's stages, measured with its own data, compiled beforehand."""
    config = replace(config, steps=2 * len(config.stages) * (WARM_UP_STEPS + TIMED_STEPS))
    trainer = Trainer(config, folder, device, workers, compiled, fused)
    ends = [stage.start for stage in config.stages[1:]] + [1.0]
    mean_s = 0.0
    for stage, stage_end in zip(config.stages, ends, strict=True):
        alone = replace(config, stages=(replace(stage, start=0.0),))
        pinned = trainer.device.type == "cuda"
        batches = Batches(alone, sampler).from_step(0, workers, pinned)
        for _ in range(WARM_UP_STEPS):
            trainer.train_step(*next(batches)).item()
        start = time.monotonic()
        losses = [trainer.train_step(*next(batches)) for _ in range(TIMED_STEPS)]
        losses[-1].item()  # waits for the device
        mean_s += (stage_end - stage.start) * (time.monotonic() - start) / TIMED_STEPS
    return mean_s


def report(p: TrainingProgress) -> None:
    validation = "" if p.validation_db is None else f", validation {p.validation_db:.2f} dB"
    show(f"step {p.step}/{p.steps}  {p.psnr_db:.2f} dB{validation}  {p.seconds:.0f} s")


def show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
