"""A net of the zoo adapted to one image, with nothing but that image to learn from.

It learns to guess pixels that are hidden from it. That a guess gets better does not mean that
restoration does, which sees the pixel; so a net is judged by an estimate of its error instead, on
blocks it was not trained on, and is kept only if that falls. What this brings: docs/howto/adapt.md.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetmm.errors import ShapeError, WeightsError
from unetmm.io.image import Source
from unetmm.io.open import open_source
from unetmm.models.choice import pick_model
from unetmm.models.weights import Model, save_model
from unetmm.train.adapt_memory import check_budget
from unetmm.train.blocks import BATCH, POOL, BlockReader
from unetmm.train.local import keep_local
from unetmm.train.noise_measure import estimated_error, measure_noise
from unetmm.train.selfsupervised import blind_spot_loss

LEARNING_RATE = 1e-4
WARM_UP_STEPS = 50
EMA_DECAY = 0.98
CHECK_EVERY = 50
"""Steps between two looks at the held-out blocks."""
CHECK_DRAWS = 3
"""Draws of noise for every held-out block."""
PATIENCE = 6
"""Checks without a smaller error after which the training ends."""
LEAST_STEP_GAIN = 1e-3
"""Least share by which an error must fall to count as smaller."""
LEAST_GAIN = 0.1
"""Share of the held-out error that must go for the net to be worth keeping."""
LEAST_ERROR = 0.02
"""Share of the noise's variance below which no error is known."""


@dataclass(frozen=True)
class AdaptOptions:
    """Choices of the user for an adaptation."""

    model: str | Path | Model | None = None
    """Net to start from; None picks one by the image's samples."""
    minutes: float = 10.0
    """Longest time to train."""
    steps: int | None = None
    """Most steps to train; with time enough for them, equal runs give equal weights."""
    budget_bytes: int | None = None
    """Largest peak memory; None: half of what is available."""
    seed: int = 0


@dataclass(frozen=True)
class AdaptProgress:
    """State of an adaptation that a caller is told at every check."""

    step: int
    seconds: float
    error: float
    """Estimated mean squared error on the held-out blocks, on the net's scale."""
    first_error: float
    """Estimated error before the first step, on the same scale."""


@dataclass(frozen=True)
class Adapted:
    """A finished adaptation."""

    tensors: dict[str, NDArray[np.float32]]
    """Weights of the step with the least held-out error, by name."""
    reach: tuple[int, int]
    """Rows and columns over which the noise was found to be correlated."""
    steps: int
    best_step: int
    seconds: float
    noise_variance: float
    """Mean variance of the noise over the held-out blocks, on the net's scale."""
    first_error: float
    best_error: float
    ended_by: str
    """Reason for the end: time, number of steps, no improvement, or a signal."""

    @property
    def gain(self) -> float:
        """Share of the held-out error that went."""
        least = LEAST_ERROR * self.noise_variance
        return (self.first_error - self.best_error) / max(self.first_error, least, 1e-12)


OnCheck = Callable[[AdaptProgress], None]


def adapt_file(
    path: Path,
    output: Path,
    options: AdaptOptions,
    on_check: OnCheck = lambda progress: None,
    stop: threading.Event | None = None,
) -> Adapted:
    """Adapt a net to an image file and write it as a weight file with its card.

    Raises
    ------
    BudgetError
        If it cannot fit the budget.
    ImageError
        If it has no noise to learn from; see `measure_noise`.
    ShapeError
        If the model does not fit the image, or the image is too small.
    WeightsError
        If the net did not get better by it; nothing is written then.
    """
    with closing(open_source(path)) as source:
        model = pick_model(options.model, source.info)
        _check_model(model)
        check_budget(source, model.config, options.budget_bytes)
        adapted = adapt(source, model, options, on_check, stop)
    if adapted.gain < LEAST_GAIN:
        raise WeightsError(
            f"{path}: adapting {model.name} for {adapted.steps} steps removed {adapted.gain:.0%} "
            f"of its held-out error, and less than {LEAST_GAIN:.0%} is no gain to rely on; use "
            f"{model.name} as it is, nothing was written"
        )
    save_model(output, model.config, adapted.tensors, _card(model, path, adapted))
    return adapted


def adapt(
    source: Source,
    model: Model,
    options: AdaptOptions,
    on_check: OnCheck = lambda progress: None,
    stop: threading.Event | None = None,
) -> Adapted:
    """Train a copy of a net on blocks of an image until its held-out error gets no smaller.

    Raises
    ------
    ImageError
        If it has no noise to learn from; see `measure_noise`.
    ShapeError
        If the model does not fit the image, or the image is too small.
    """
    if options.minutes <= 0 or (options.steps is not None and options.steps < 1):
        raise ShapeError(
            f"asked for {options.minutes:g} minutes and {options.steps} steps; give more than 0"
        )
    _check_model(model)
    reader = BlockReader(source, model.config, options.seed, model.range_of(source.info.dtype))
    return _Adaptation(reader, model, options).run(on_check, stop)


def _check_model(model: Model) -> None:
    """Refuse nets that cannot be adapted."""
    config = model.config
    if config.gives != "image":
        what = "maps" if config.gives == "map" else config.gives
        raise ShapeError(f"model {model.name} gives {what}; give one that restores an image")
    if config.in_channels != config.out_channels or config.output_scale != 1:
        raise ShapeError(
            f"model {model.name} makes {config.out_channels} channels of {config.in_channels} at "
            f"{config.output_scale} times the size; only a denoiser can be adapted"
        )
    if config.takes_bands:
        raise ShapeError(
            f"model {model.name} takes {config.in_channels} bands together; only nets of a single "
            "channel or of colours are adapted"
        )


class _Adaptation:
    """Net, average and optimiser of one adaptation."""

    def __init__(self, reader: BlockReader, model: Model, options: AdaptOptions) -> None:
        self.options = options
        self.net = copy.deepcopy(model.net).train()
        keep_local(self.net)
        self.average = copy.deepcopy(model.net)
        self.optimiser = torch.optim.Adam(self.net.parameters(), LEARNING_RATE, (0.9, 0.99))
        self.held_out = torch.from_numpy(reader.held_out)
        self.stream = reader.training_blocks()
        self.is_larger = len(reader.grid) - len(reader.held_out_indices) > POOL
        size = min(POOL, len(reader.grid) - len(reader.held_out_indices))
        self.pool = np.stack([next(self.stream) for _ in range(size)])
        self.noise = measure_noise(np.concatenate([self.pool, reader.held_out]))
        with torch.no_grad():
            self.signal = self.average(_channels_last(self.held_out)).contiguous()
        self.noise_variance = float(self.noise.variance(self.signal).mean())
        self.rng = np.random.default_rng(options.seed)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.step = 0

    def run(self, on_check: OnCheck, stop: threading.Event | None) -> Adapted:
        start = time.monotonic()
        first = best = self.held_out_error()
        best_step, waited, ended_by = 0, 0, None
        tensors = self._tensors()
        on_check(AdaptProgress(0, 0.0, first, first))
        while ended_by is None:
            self._train_step()
            seconds = time.monotonic() - start
            ended_by = self._reason_to_end(seconds, stop)
            if self.step % CHECK_EVERY and ended_by is None:
                continue
            error = self.held_out_error()
            if error < best - LEAST_STEP_GAIN * abs(best):
                best, best_step, waited, tensors = error, self.step, 0, self._tensors()
            else:
                waited += 1
            on_check(AdaptProgress(self.step, seconds, error, first))
            if waited == PATIENCE and ended_by is None:
                ended_by = "no improvement"
        return Adapted(
            tensors,
            self.noise.reach,
            self.step,
            best_step,
            seconds,
            self.noise_variance,
            first,
            best,
            ended_by,
        )

    def _reason_to_end(self, seconds: float, stop: threading.Event | None) -> str | None:
        if stop is not None and stop.is_set():
            return "a signal"
        if self.options.steps is not None and self.step >= self.options.steps:
            return "number of steps"
        return "time" if seconds >= 60 * self.options.minutes else None

    def _train_step(self) -> None:
        if self.is_larger:  # another part of the image takes the place of an old one
            self.pool[self.step % len(self.pool)] = next(self.stream)
        batch = self.pool[self.rng.integers(len(self.pool), size=BATCH)]
        batch = np.rot90(batch, int(self.rng.integers(4)), (2, 3))
        if self.rng.random() < 0.5:
            batch = batch[..., ::-1]
        noisy = torch.from_numpy(np.ascontiguousarray(batch))
        for group in self.optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (self.step + 1) / WARM_UP_STEPS)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = blind_spot_loss(
                self.net, _channels_last(noisy), self.generator, self.noise.reach
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(EMA_DECAY, self.step / (self.step + 10))
        with torch.no_grad():
            for average, now in zip(self.average.parameters(), self.net.parameters(), strict=True):
                average.lerp_(now, 1 - decay)

    def held_out_error(self) -> float:
        """The average's estimated error on the held-out blocks."""
        with torch.no_grad():
            return estimated_error(
                self.average, self.held_out, self.noise, self.signal, CHECK_DRAWS
            )

    def _tensors(self) -> dict[str, NDArray[np.float32]]:
        state = self.average.state_dict()
        return {name: tensor.detach().numpy().copy() for name, tensor in state.items()}


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _card(model: Model, path: Path, adapted: Adapted) -> dict[str, Any]:
    """The start's card without its figures, and what was done."""
    measured = ("quality", "quality_ssim", "quality_protocol", "quality_commands")
    sums = ("tensors_sha256", "config_sha256", "training_command")
    kept = {k: v for k, v in model.card.items() if k not in measured + sums}
    return {
        **kept,
        "adapted_from": model.name,
        "adapted_to": path.name,
        "adaptation": f"blind-spot training on the image itself, {adapted.best_step} steps",
        "held_out_error": f"{adapted.first_error:.6f} -> {adapted.best_error:.6f}, estimated",
        "limits": "made for one image and others like it; may be worse than the model it was made "
        "from on anything else",
    }
