"""The statistics of an image that its restoration depends on as a whole, and their JSON form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.intensities.noise import UNKNOWN, NoiseModel
from unetmm.intensities.points import PointRule
from unetmm.intensities.range import SampleScale, ValueScale, is_range


@dataclass(frozen=True)
class ChannelStatistics(ValueScale):
    """Frozen statistics of one channel and one group of samples: its scale, and its attention."""

    attention: Mapping[str, NDArray[np.float32]] = field(repr=False)
    """Channel factors of every block, by block name."""
    noise: tuple[NoiseModel, ...] = ()
    """Noise of each sample; none where an older version made the calibration."""

    points: tuple[PointRule, ...] = ()
    """Rule of each sample that tells point sources; none where an older version made the
    calibration, or none are looked for."""
    even: tuple[float, ...] = field(default=(), kw_only=True)
    """Stored value that all pixels looked at have, by sample; none where they differ. It has no
    noise, and pixels with it stay as they are."""
    saturated: tuple[float, ...] = field(default=(), kw_only=True)
    """Stored value at which the sensor saturates, by sample; infinite where it does not, none where
    it does nowhere. Such pixels stay as they are, and no other exceeds them."""
    not_below: float | None = field(default=None, kw_only=True)
    """Stored value below which sharpened edges shall not swing: 0 of light, a little less where its
    noise is below; None of values that are negative by nature."""

    def noise_of(self, sample: int) -> NoiseModel:
        """Noise of a sample of the group."""
        return self.noise[sample] if sample < len(self.noise) else UNKNOWN


@dataclass(frozen=True)
class Calibration:
    """Everything about an image, or a series, that its restoration depends on as a whole."""

    model: str
    """Name of the model that the attention belongs to."""
    entries: Mapping[str, ChannelStatistics]
    """Statistics of every channel and group of samples, by `key(channel, group)`."""
    doubts: tuple[str, ...] = ()
    """Lines on what was doubtful in the pixels looked at; not kept in JSON."""

    def entry(self, channel: int, group: int) -> ChannelStatistics:
        """Statistics of a channel.

        Raises
        ------
        ShapeError
            If the calibration was made for an image with fewer channels.
        """
        found = self.entries.get(key(channel, group))
        if found is None:
            raise ShapeError(
                f"calibration: asked for channel {channel}, sample group {group}; it has "
                f"{', '.join(self.entries)}; calibrate on an image with the same channels"
            )
        return found

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest stored value of the ranges of all entries."""
        entries = self.entries.values()
        return min(e.low for e in entries), max(e.high for e in entries)

    def to_json(self) -> str:
        """One JSON object that `from_json` reads back without loss."""
        entries = {
            k: {
                "low": e.low,
                "high": e.high,
                "fill": e.fill,
                "attention": {n: [float(v) for v in a] for n, a in e.attention.items()},
                "noise": [asdict(n) for n in e.noise],
                "points": [asdict(p) for p in e.points],
                **({"samples": [asdict(s) for s in e.samples]} if e.samples else {}),
                **({"even": list(e.even)} if e.even else {}),
                **({"saturated": _as_listed(e.saturated)} if e.saturated else {}),
                **({} if e.not_below is None else {"not_below": e.not_below}),
            }
            for k, e in self.entries.items()
        }
        return json.dumps({"model": self.model, "entries": entries})

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `to_json` wrote.

        Raises
        ------
        ShapeError
            If the text is not a calibration.
        """
        try:
            content = json.loads(text)
            if not isinstance(content, dict):
                raise ValueError(f"a JSON object is expected, this is a {type(content).__name__}")
            entries = {
                k: ChannelStatistics(
                    float(e["low"]),
                    float(e["high"]),
                    float(e["fill"]),
                    {n: _factors_of(n, v) for n, v in e["attention"].items()},
                    tuple(_noise_of(n) for n in e.get("noise", ())),
                    tuple(_rule_of(p) for p in e.get("points", ())),
                    samples=tuple(_sample_of(s) for s in e.get("samples", ())),
                    even=tuple(float(v) for v in e.get("even", ())),
                    saturated=tuple(
                        math.inf if v is None else float(v) for v in e.get("saturated", ())
                    ),
                    not_below=None if e.get("not_below") is None else float(e["not_below"]),
                )
                for k, e in content["entries"].items()
            }
            for k, e in entries.items():
                if not (is_range(e.low, e.high) and math.isfinite(e.fill)):
                    raise ValueError(f"the range of {k} is {e.low:g} to {e.high:g}")
            return cls(str(content["model"]), entries)
        except KeyError as error:
            wrong = f'"{error.args[0]}" is missing in it'
            raise ShapeError(f"not a calibration file: {wrong}") from error
        except (TypeError, AttributeError) as error:
            wrong = "it is built otherwise than what --save-calibration writes"
            raise ShapeError(f"not a calibration file: {wrong}") from error
        except ValueError as error:
            raise ShapeError(f"not a calibration file: {error}") from error


def _as_listed(levels: tuple[float, ...]) -> list[float | None]:
    """Numbers as JSON has them, which knows no infinite ones."""
    return [level if math.isfinite(level) else None for level in levels]


def _factors_of(block: str, content: Sequence[float]) -> NDArray[np.float32]:
    """Channel factors that were written as JSON."""
    found = np.array(content, np.float32)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError(f"the factors of block {block} are no list of finite numbers")
    return found


def _noise_of(content: Mapping[str, float]) -> NoiseModel:
    """Noise that was written as JSON."""
    found = NoiseModel(**{name: float(content[name]) for name in asdict(UNKNOWN)})
    if not all(map(math.isfinite, asdict(found).values())):
        raise ValueError(f"the noise is {found}")
    return found


def _rule_of(content: Mapping[str, float]) -> PointRule:
    """Rule for point sources that was written as JSON."""
    found = PointRule(**{field.name: float(content[field.name]) for field in fields(PointRule)})
    if not all(map(math.isfinite, asdict(found).values())) or found.floor <= 0:
        raise ValueError(f"the rule for point sources is {found}")
    return found


def _sample_of(content: Mapping[str, float]) -> SampleScale:
    """Scale of a sample that was written as JSON."""
    found = SampleScale(**{f.name: float(content[f.name]) for f in fields(SampleScale)})
    if not (is_range(found.low, found.high) and is_range(0, found.width) and found.gain >= 0):
        raise ValueError(f"the scale of a sample is {found}")
    if not all(map(math.isfinite, asdict(found).values())):
        raise ValueError(f"the scale of a sample is {found}")
    return found


def key(channel: int, group: int) -> str:
    """Name of a channel and group of samples in `Calibration.entries`, such as "0.2"."""
    return f"{channel}.{group}"
