"""The training loop: every step is a function of (config, step, state), so it resumes exactly."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unetmm.nets.nafnet import build_net
from unetmm.train.checkpoint import load_checkpoint, save_checkpoint
from unetmm.train.config import TrainConfig
from unetmm.train.data import PatchSampler, load_images
from unetmm.train.degrade import add_noise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """What a caller is told every few steps."""

    step: int
    steps: int
    psnr_db: float
    """Mean training PSNR since the last report."""
    seconds: float
    """Wall time of this process."""


def psnr_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of log mean squared error: PSNR up to scale and sign."""
    return ((output - target) ** 2).mean((1, 2, 3)).add(1e-8).log().mean()


def learning_rate(config: TrainConfig, step: int) -> float:
    """Cosine from learning_rate to learning_rate_end, after a short linear warm-up."""
    warm = min(1.0, (step + 1) / 200)
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    end = config.learning_rate_end
    return warm * (end + (config.learning_rate - end) * cosine)


def _laid_out_like(parameter: Tensor, values: Tensor) -> Tensor:
    """Values with a parameter's device and strides, which the fused optimiser relies on."""
    return torch.empty_like(parameter, requires_grad=False).copy_(values)


class Trainer:
    """Net, EMA and optimiser of one run, with the checkpoint folder they live in."""

    def __init__(self, config: TrainConfig, folder: Path, device: str = "cpu") -> None:
        self.config, self.folder, self.device = config, folder, torch.device(device)
        torch.manual_seed(config.seed)
        self.net = build_net(config.net).to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), config.learning_rate, (0.9, 0.9), weight_decay=0.0, fused=True
        )
        self.step = 0
        self._resume()

    def _resume(self) -> None:
        found = load_checkpoint(self.folder)
        if found is None:
            return
        self.step, states = found
        self.net.load_state_dict(states["net"])
        self.ema = {k: v.to(self.device) for k, v in states["ema"].items()}
        for name, parameter in self.net.named_parameters():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(self.step)),
                "exp_avg": _laid_out_like(parameter, states["moment1"][name]),
                "exp_avg_sq": _laid_out_like(parameter, states["moment2"][name]),
            }
        log.info("resumed at step %d", self.step)

    def save(self) -> None:
        """Write a checkpoint of the current step."""
        moments = {n: self.optimiser.state[p] for n, p in self.net.named_parameters()}
        save_checkpoint(
            self.folder,
            self.step,
            {
                "net": dict(self.net.state_dict()),
                "ema": self.ema,
                "moment1": {n: m["exp_avg"] for n, m in moments.items()},
                "moment2": {n: m["exp_avg_sq"] for n, m in moments.items()},
            },
        )

    def ema_net(self) -> nn.Module:
        """A net with the averaged weights, in eval mode."""
        net = build_net(self.config.net)
        net.load_state_dict(self.ema)
        return net.eval()

    def train_step(self, sampler: PatchSampler) -> float:
        """One update; returns the batch's PSNR in dB."""
        config = self.config
        rng = np.random.default_rng((config.seed, self.step))
        stage = config.stage_at(self.step)
        clean = sampler.batch(rng, stage.batch, stage.patch_px)
        noisy = torch.from_numpy(add_noise(clean, config.noise, rng)).to(self.device)
        target = torch.from_numpy(clean).to(self.device)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config, self.step)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            output = self.net(noisy.contiguous(memory_format=torch.channels_last))
        loss = psnr_loss(output.float(), target)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        # A short memory at first, or the random start would weigh on the average for long.
        decay = min(config.ema_decay, (1 + self.step) / (10 + self.step))
        state = self.net.state_dict()
        torch._foreach_lerp_([self.ema[k] for k in state], list(state.values()), 1 - decay)
        return -10 / math.log(10) * loss.item()

    def run(
        self, report: Callable[[Progress], None], every: int = 100, limit_s: float | None = None
    ) -> bool:
        """Train to the end or for `limit_s` seconds; True when all steps are done."""
        sampler = PatchSampler(
            load_images(self.config.data, self.config.net.in_channels), self.config.half_size_share
        )
        start, psnrs = time.monotonic(), []
        while self.step < self.config.steps:
            psnrs.append(self.train_step(sampler))
            if self.step % every == 0:
                seconds = time.monotonic() - start
                self._log_row(float(np.mean(psnrs)), seconds)
                report(Progress(self.step, self.config.steps, float(np.mean(psnrs)), seconds))
                psnrs = []
            over = limit_s is not None and time.monotonic() - start > limit_s
            if (
                over
                or self.step % self.config.checkpoint_every == 0
                or self.step == self.config.steps
            ):
                self.save()
            if over:
                return False
        return True

    def _log_row(self, psnr_db: float, seconds: float) -> None:
        with (self.folder.parent / f"{self.folder.name}.csv").open("a", newline="") as file:
            csv.writer(file).writerow((self.step, f"{psnr_db:.3f}", f"{seconds:.1f}"))
