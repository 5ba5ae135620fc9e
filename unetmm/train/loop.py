"""The training loop: every step is a function of (config, step, state), so it resumes exactly."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unetmm import process
from unetmm.errors import ResumeError, WeightsError
from unetmm.models.weights import load_model
from unetmm.nets.nafnet import build_net
from unetmm.train.batches import Batches
from unetmm.train.checkpoint import check_same_run, load_checkpoint, save_checkpoint
from unetmm.train.config import TrainConfig
from unetmm.train.data import Images, make_sampler
from unetmm.train.gradients import make_gradients
from unetmm.train.history import Row, append_row, log_path
from unetmm.train.local import make_local
from unetmm.train.validate import Validation, make_validation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingProgress:
    """State of a training that a caller is told every few steps."""

    step: int
    steps: int
    psnr_db: float
    """Mean training PSNR since the last report."""
    seconds: float
    """Wall time of this process."""
    steps_per_s: float
    """Speed of this process."""
    validation_db: float | None = None
    """PSNR of the averaged weights on the validation patches, when last measured."""

    @property
    def loss(self) -> float:
        """The loss that belongs to `psnr_db`."""
        return -self.psnr_db * math.log(10) / 10

    @property
    def left_s(self) -> float:
        """Time that the steps left will take."""
        return (self.steps - self.step) / self.steps_per_s


def psnr_db(loss: float) -> float:
    """The PSNR that belongs to a loss."""
    return -10 / math.log(10) * loss


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
    """Net, EMA and optimiser of one run, with the checkpoint folder they live in.

    Parameters
    ----------
    device : "cpu", "cuda" or "cuda:N".
    workers : processes that prepare batches; 0: this one. They change nothing but the speed.
    compiled : on a GPU, whether the net's blocks are compiled first, see `gradients`.
    fused : on a GPU with Triton, whether blocks are fused kernels.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        device: str = "cpu",
        workers: int = 0,
        compiled: bool = False,
        fused: bool = True,
    ) -> None:
        self.config, self.folder, self.device = config, folder, torch.device(device)
        self.workers = workers
        torch.manual_seed(config.seed)
        self.net = build_net(config.net)
        if config.init is not None:
            self._init_from(config.init)
        if config.local:
            make_local(self.net, config)
        self.net.to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), config.learning_rate, (0.9, 0.9), weight_decay=0.0, fused=True
        )
        self.step = 0
        self.unreported: list[Tensor] = []
        """Losses of the steps since the last row of the log, so that a resumed curve is the same;
        on the device, for nobody waits for them until the next row."""
        self._resume()
        self.gradients = make_gradients(self.net, config.precision, self.device, compiled, fused)

    def _init_from(self, path: str) -> None:
        model, config = load_model(path), self.config.net
        if replace(model.config, output_scale=config.output_scale) != config:
            raise WeightsError(
                f"{path}: holds another net than the one of {self.config.name}; give the weights "
                f"of the same [net], or leave out init"
            )
        weights = model.net.state_dict()
        if model.config != config:  # of another scale: the last layer begins anew
            weights |= {k: v for k, v in self.net.state_dict().items() if k.startswith("ending.")}
        self.net.load_state_dict(weights)

    def _resume(self) -> None:
        found = load_checkpoint(self.folder)
        if found is None:
            return
        self.step, states = found
        expected = {k: v.shape for k, v in self.net.state_dict().items()}
        if {k: v.shape for k, v in states["net"].items()} != expected:
            raise ResumeError(
                f"{self.folder}: holds a checkpoint of another net than that of "
                f"{self.config.name}; give another folder"
            )
        check_same_run(self.folder, self.config)
        self.net.load_state_dict(states["net"])
        self.ema = {k: v.to(self.device) for k, v in states["ema"].items()}
        for name, parameter in self.net.named_parameters():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(self.step), device=self.device),
                "exp_avg": _laid_out_like(parameter, states["moment1"][name]),
                "exp_avg_sq": _laid_out_like(parameter, states["moment2"][name]),
            }
        losses = states.get("curve", {}).get("loss", torch.zeros(0))  # older checkpoints have none
        self.unreported = list(losses.to(self.device))
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
                "curve": {"loss": torch.tensor([loss.item() for loss in self.unreported])},
            },
            self.config.facts(),
        )

    def ema_net(self) -> nn.Module:
        """A net with the averaged weights, in eval mode."""
        net = build_net(self.config.net)
        net.load_state_dict(self.ema)
        return net.eval()

    def train_step(self, noisy: Tensor, target: Tensor) -> Tensor:
        """One update by a batch (b, c, h, w); returns its loss, on the device."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config, self.step)
        loss = self.gradients(*(t.to(self.device, non_blocking=True) for t in (noisy, target)))
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        # A short memory at first, or the random start would weigh on the average for long.
        decay = min(config.ema_decay, (1 + self.step) / (10 + self.step))
        state = self.net.state_dict()
        torch._foreach_lerp_([self.ema[k] for k in state], list(state.values()), 1 - decay)
        return loss

    def run(
        self,
        report: Callable[[TrainingProgress], None],
        every: int = 100,
        limit_s: float | None = None,
        stop: threading.Event | None = None,
        images: Images | None = None,
    ) -> bool:
        """Train to the end, for `limit_s` seconds, or until `stop`; True when all steps are done.

        Whatever ends it, a checkpoint is left, from which the next call goes on. images: those
        that `make_sampler` gives, where they are decoded already.
        """
        sampler, held_out = images or make_sampler(self.config)
        validation = make_validation(self.config, held_out)
        is_gpu = self.device.type == "cuda"
        if not is_gpu:
            process.keep_freed_memory()
        batches = Batches(self.config, sampler).from_step(self.step, self.workers, pinned=is_gpu)
        start, first = time.monotonic(), self.step
        validated: float | None = None
        for noisy, target in batches:
            self.unreported.append(self.train_step(noisy, target))
            measured = self._validate(validation)
            validated = validated if measured is None else measured
            if self.step % every == 0 or measured is not None:
                losses = torch.stack(self.unreported).tolist()  # waits for the device
                seconds = time.monotonic() - start
                row = Row(self.step, psnr_db(float(np.mean(losses))), seconds, measured)
                append_row(log_path(self.folder), row)
                rate = (self.step - first) / seconds
                report(
                    TrainingProgress(
                        self.step, self.config.steps, row.psnr_db, seconds, rate, validated
                    )
                )
                self.unreported = []
            over = limit_s is not None and time.monotonic() - start > limit_s
            over = over or (stop is not None and stop.is_set())
            if over or self._checkpoint_is_due():
                self.save()
            if over:
                return self.step == self.config.steps
        return True

    def _checkpoint_is_due(self) -> bool:
        return self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps

    def _validate(self, validation: Validation | None) -> float | None:
        """PSNR of the averaged weights where the config asks for it at this step."""
        chosen = self.config.validation
        if validation is None or chosen is None:
            return None
        if self.step % chosen.every and self.step != self.config.steps:
            return None
        return validation.psnr_db(self.ema_net().to(self.device), self.device)
