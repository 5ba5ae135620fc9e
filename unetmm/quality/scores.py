"""What an evaluation found: a score for each image and noise level, and their means."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unetmm.quality.metrics import PEAK


@dataclass(frozen=True)
class Score:
    """One image at one noise level, before and after restoration."""

    image: str
    """File name."""
    sigma: int | None
    """Noise added, in grey levels of 255; None where the noise is real."""
    height: int
    width: int
    psnr_before_db: float
    psnr_db: float
    ssim_before: float
    ssim: float
    seconds: float
    """Time to restore the image, calibration included."""
    peak: float = PEAK
    """Full range for PSNR and SSIM, in stored values."""
    gain: float = 1.0
    """Factor of the clean image, which was compared as gain * clean + offset."""
    offset: float = 0.0


@dataclass(frozen=True)
class Mean:
    """Plain means over the images of one noise level."""

    sigma: int | None
    images: int
    psnr_before_db: float
    psnr_db: float
    ssim_before: float
    ssim: float
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one folder."""

    model: str
    dataset: str
    """Name of the folder of images; for pairs the noisy folder's, with its parent's: cc15/noisy."""
    seed: int | None
    """Seed of the added noise; None for pairs."""
    scores: tuple[Score, ...]
    """Scores sorted by image, then by noise level."""

    @property
    def means(self) -> tuple[Mean, ...]:
        """One mean a noise level, in the order the levels were given."""
        levels = dict.fromkeys(s.sigma for s in self.scores)
        return tuple(_mean([s for s in self.scores if s.sigma == level]) for level in levels)

    def as_rows(self) -> list[dict[str, Any]]:
        """One flat row a score, for CSV."""
        origin = {"model": self.model, "dataset": self.dataset}
        return [origin | asdict(score) for score in self.scores]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; the infinite PSNR of two equal images becomes None."""
        from unetmm.version import __version__

        return {
            "version": __version__,
            "model": self.model,
            "dataset": self.dataset,
            "seed": self.seed,
            "means": [_finite(asdict(m)) for m in self.means],
            "images": [_finite(asdict(s)) for s in self.scores],
        }


def to_csv(evaluations: Sequence[Evaluation]) -> str:
    """All scores of several models, one line each."""
    rows = [row for evaluation in evaluations for row in evaluation.as_rows()]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _mean(scores: Sequence[Score]) -> Mean:
    def mean(values: Iterator[float]) -> float:
        return math.fsum(values) / len(scores)

    return Mean(
        scores[0].sigma,
        len(scores),
        mean(s.psnr_before_db for s in scores),
        mean(s.psnr_db for s in scores),
        mean(s.ssim_before for s in scores),
        mean(s.ssim for s in scores),
        mean(s.seconds for s in scores),
    )


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()
    }
