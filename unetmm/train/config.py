"""One TOML file describes a training run completely."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from unetmm.errors import ShapeError
from unetmm.nets.config import AggregateConfig, NetConfig


@dataclass(frozen=True)
class NoiseConfig:
    """Which noise is added to clean images; levels are in counts of 255."""

    sigma_max: float = 55.0
    """Gaussian standard deviation is uniform in [0, sigma_max]."""
    poisson_share: float = 0.25
    """Share of the samples that get Poisson-Gaussian noise instead of Gaussian."""


@dataclass(frozen=True)
class Stage:
    """From this share of the steps on, batches have this shape."""

    start: float
    patch_px: int
    batch: int


@dataclass(frozen=True)
class TrainConfig:
    """A training run: data, net, noise, schedule, seed."""

    name: str
    data: tuple[str, ...]
    """Folders of clean images, searched recursively; relative to the working directory."""
    net: NetConfig
    steps: int
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    stages: tuple[Stage, ...] = (Stage(0.0, 80, 8),)
    learning_rate: float = 1e-3
    """At the start; falls to learning_rate_end along a cosine."""
    learning_rate_end: float = 1e-6
    ema_decay: float = 0.999
    seed: int = 0
    precision: str = "bf16"
    """bf16: autocast with float32 weights and residuals; fp32."""
    half_size_share: float = 0.3
    """Share of the patches taken from the image reduced by two, where JPEG traces vanish."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    card: dict[str, Any] = field(default_factory=dict)
    """Facts for the model card that the run itself does not know: task, licences, limits."""

    def stage_at(self, step: int) -> Stage:
        """The stage that `step` belongs to."""
        return [s for s in self.stages if step >= s.start * self.steps][-1]


def load_train_config(path: Path) -> TrainConfig:
    """Read a run from TOML.

    Raises
    ------
    ShapeError
        If the file is not TOML or fields are missing, unknown or of the wrong kind.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = set(table) - {f.name for f in fields(TrainConfig)}
        if unknown:
            raise ValueError(f"unknown entries {sorted(unknown)}")
        net: dict[str, Any] = table.pop("net")
        aggregate = net.pop("aggregate", None)
        if aggregate is not None:
            aggregate = AggregateConfig(**_with_tuples(aggregate))
        return TrainConfig(
            net=NetConfig(**_with_tuples(net), aggregate=aggregate),
            noise=NoiseConfig(**table.pop("noise", {})),
            stages=tuple(
                Stage(**s)
                for s in table.pop("stages", [{"start": 0.0, "patch_px": 80, "batch": 8}])
            ),
            **_with_tuples(table),
        )
    except (tomllib.TOMLDecodeError, TypeError, ValueError, KeyError) as error:
        raise ShapeError(f"training config {path} cannot be used: {error}") from error


def _with_tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
