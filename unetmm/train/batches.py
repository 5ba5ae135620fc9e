"""The batches of a run, prepared by worker processes ahead of the steps that need them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unetmm.train.config import TrainConfig
from unetmm.train.data import PatchSampler
from unetmm.train.degrade import degrade

AHEAD_BATCHES = 4
"""Batches that each worker may be ahead."""
Pair = tuple[Tensor, Tensor]
"""Noisy patches and their targets, (b, c, h, w) each."""


class Batches(Dataset[Pair]):
    """The batch of every step: a function of (config, step), whoever prepares it."""

    def __init__(self, config: TrainConfig, sampler: PatchSampler) -> None:
        self.config, self.sampler = config, sampler

    def __getitem__(self, step: int) -> Pair:
        config = self.config
        rng = np.random.default_rng((config.seed, step))
        stage = config.stage_at(step)
        clean = self.sampler.batch(rng, stage.batch, stage.patch_px)
        noisy, target = degrade(clean, config.noise, rng, config.net.output_scale)
        return torch.from_numpy(noisy), torch.from_numpy(target)

    def from_step(self, first: int, workers: int, pinned: bool) -> Iterator[Pair]:
        """The batches from step `first` to the end, in order.

        workers: processes that prepare them; 0: this one, when the batch is asked for.
        pinned: in memory that a GPU can fetch from while this process goes on.
        """
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=range(first, self.config.steps),
            num_workers=workers,
            prefetch_factor=AHEAD_BATCHES if workers else None,
            pin_memory=pinned,
        )
        return iter(loader)
