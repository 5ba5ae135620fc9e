"""What the guard found in some blocks, and what of it is worth a word."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from unetmm.intensities.judging import NOISE_PARTS

BLOCK_PX = 64
"""Side of a block in pixels."""
FEW = 2
"""Largest number of doubtful blocks that is not spoken of, if the image is no larger than ..."""
BLOCKS_A_DOUBT = 4000
"""... so many blocks for each of them."""
LEFT_SHARE = 0.6
"""Share of the noisy blocks, or of the noise in them, from which on left noise is spoken of."""
MOST_PLANES = 8
"""Most planes that a report names."""
COUNTS = ("blocks", "means", "details", "left", "noisy", "left_power", "noisy_power")
"""Names of the whole numbers in `Findings`, in its order."""
SUMS = ("level", "change")
"""Names of those that tell how the mean of the image changes."""
PARTS = 1e6
"""Parts of the range that levels and changes are counted in."""
MOST_CHANGE = 0.01
"""Share of an image's level by which its mean may change; that of ordinary ones does by 0.4 %."""
MEAN_NOISE = 5.0
"""Change of the image's mean that its noise explains, in deviations of such a mean."""


class MeanChange(NamedTuple):
    """Sums over blocks, whole numbers, so that their order does not matter."""

    level: int = 0
    """Sum of the blocks' means above the low end of the range, in parts of it."""
    change: int = 0
    """Sum of the changes of the former."""
    power: int = 0
    """Sum of the variances of the blocks' noise, as judging counts them."""

    def plus(self, other: MeanChange) -> MeanChange:
        """Both together."""
        return MeanChange(*map(sum, zip(self, other, strict=True)))

    @property
    def share(self) -> float:
        """Change of the mean, as a share of how far it lies above the low end of the range."""
        return self.change / self.level if self.level > 0 else 0.0

    @property
    def is_sure(self) -> bool:
        """Whether the mean changes by more than a little, and more than its noise explains."""
        noise_parts = PARTS * math.sqrt(self.power) / NOISE_PARTS / BLOCK_PX
        return abs(self.share) > MOST_CHANGE and abs(self.change) > MEAN_NOISE * noise_parts


@dataclass(frozen=True)
class Worst:
    """The block with the largest difference, in units of what noise explains."""

    times: float
    """Difference in units of the limit."""
    plane: tuple[int, ...]
    """Index (t, c, z) of its plane."""
    row: int
    """First row of the block in the output."""
    column: int
    """First column of the block in the output."""
    sample: int
    """Sample of the pixel that differs."""
    input_mean: float
    """Mean of the block in the input."""
    output_mean: float
    """Mean of the block in the output."""

    @property
    def order(self) -> tuple[float, ...]:
        """Key by which the same one is found, in whatever order blocks come."""
        place = (*self.plane, self.row, self.column, self.sample)
        return (self.times, *(-n for n in place))


@dataclass
class Findings:
    """What was found in some blocks; parts add up to the same whatever their order."""

    blocks: int = 0
    """Number of blocks that were judged, those of each sample counted."""
    means: int = 0
    """Number of blocks whose mean differs."""
    details: int = 0
    """Number of blocks with a cell that differs, whose mean does not."""
    left: int = 0
    """Number of blocks whose noise is still there."""
    noisy: int = 0
    """Number of blocks that have noise."""
    left_power: int = 0
    """Sum of the noise's variances of the former, see `Verdict.power`."""
    noisy_power: int = 0
    """Sum of the variances of all noise."""
    largest_difference: float = 0.0
    """Largest difference of a block's mean, in stored units."""
    worst: Worst | None = None
    """Block that differs most, among those that differ too much."""
    level: int = 0
    """Sum of the blocks' means above the low end of the range, in parts of it."""
    change: int = 0
    """Sum of the changes of the former."""
    planes: dict[tuple[int, ...], MeanChange] = field(default_factory=dict)
    """Change of the mean of each plane, by its index (t, c, z)."""

    def in_plane(self, plane: tuple[int, ...]) -> Findings:
        """The same, of blocks that lie in one plane."""
        self.planes = {plane: self.mean} if self.level else {}
        return self

    def add(self, other: Findings) -> None:
        """Take in what was found elsewhere."""
        for name in (*COUNTS, *SUMS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for plane, mean in other.planes.items():
            self.planes[plane] = mean.plus(self.planes.get(plane, MeanChange()))
        self.largest_difference = max(self.largest_difference, other.largest_difference)
        found = [w for w in (self.worst, other.worst) if w is not None]
        self.worst = max(found, key=lambda w: w.order, default=None)

    def as_note(self, plane: tuple[int, ...]) -> str:
        """Numbers of one chunk in a plane, in a few words; `of_note` reads them."""
        counts = (getattr(self, name) for name in COUNTS)
        words = [*map(str, counts), f"{self.largest_difference:.9g}"]
        if (w := self.worst) is not None:
            assert w.plane == plane, "a chunk lies in one plane"
            places = (w.row, w.column, w.sample)
            words += [f"{w.times:.9g}", *map(str, places)]
            words += [f"{w.input_mean:.9g}", f"{w.output_mean:.9g}"]
        if self.level:
            words += [str(self.level), str(self.change)]
        return " ".join(words)

    @classmethod
    def of_note(cls, note: str, plane: tuple[int, ...]) -> Findings:
        """What `as_note` wrote.

        Raises
        ------
        ValueError
            If it is anything else.
        """
        words = note.split(" ")
        largest, *rest = words[len(COUNTS) :]
        found = cls(largest_difference=float(largest))
        for name, word in zip(COUNTS, words, strict=False):
            setattr(found, name, int(word))
        if len(rest) in (2, 8):
            found.level, found.change = int(rest[-2]), int(rest[-1])
            rest = rest[:-2]
        if rest:
            times, row, column, sample, before, after = rest
            found.worst = Worst(
                float(times), plane, int(row), int(column), int(sample), float(before),
                float(after),
            )  # fmt: skip
        return found.in_plane(plane)

    @property
    def doubtful(self) -> int:
        """Number of blocks that differ by more than noise allows."""
        return self.means + self.details

    @property
    def is_doubtful(self) -> bool:
        """Whether those are more than a few."""
        return self.doubtful > max(FEW, self.blocks // BLOCKS_A_DOUBT)

    @property
    def is_left(self) -> bool:
        """Whether much of the image still has its noise."""
        much = self.left > LEFT_SHARE * self.noisy
        return self.left > FEW and (much or self.left_power > LEFT_SHARE * self.noisy_power)

    @property
    def mean(self) -> MeanChange:
        """How the mean of all blocks changes."""
        return MeanChange(self.level, self.change, self.noisy_power)

    @property
    def changed_planes(self) -> dict[tuple[int, ...], float]:
        """Changes of the means of planes that their noise does not explain, the largest first."""
        found = {p: mean.share for p, mean in self.planes.items() if mean.is_sure}
        return dict(sorted(found.items(), key=lambda item: (-abs(item[1]), item[0])))

    def as_dict(self) -> dict[str, Any]:
        """For reports, whose field names this fixes."""
        worst, changed = self.worst, self.changed_planes
        return {
            "blocks": self.blocks,
            "doubtful": self.doubtful,
            "means": self.means,
            "details": self.details,
            "noise_left": self.left,
            "noisy": self.noisy,
            "noise_left_share": round(self.left_power / max(self.noisy_power, 1), 3),
            "is_doubtful": self.is_doubtful,
            "is_left": self.is_left,
            "largest_difference": self.largest_difference,
            "mean_change": round(self.mean.share, 4),
            "is_changed": self.mean.is_sure,
            "planes": len(self.planes),
            "changed_planes": [
                {"plane": list(plane), "mean_change": round(share, 4)}
                for plane, share in islice(changed.items(), MOST_PLANES)
            ],
            "changed_planes_count": len(changed),
            "worst": None if worst is None else {
                "times_allowed": round(worst.times, 2),
                "plane": list(worst.plane),
                "row": worst.row,
                "column": worst.column,
                "sample": worst.sample,
                "input_mean": worst.input_mean,
                "output_mean": worst.output_mean,
            },
        }  # fmt: skip
