"""What a benchmark found: times with their spread, ratios, peaks and differences."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

BASE = "stream"
"""Key of the contender that all times are divided by."""
BOUNDS = {"stream": "matrix", "stream-calibrated": "matrix", "stream-bf16": "matrix-bf16"}
"""Bounds of the streams: key of a stream -> key of its matrix products alone."""


@dataclass(frozen=True)
class Measurement:
    """One contender, measured in a process of its own."""

    key: str
    label: str
    seconds: tuple[float, ...] = ()
    """Times of the repeats, without the first run, in which caches and allocators settle."""
    megapixels: float = 0.0
    """Size of the image; 0 where the time has nothing to do with it."""
    peak_bytes: int | None = None
    """Peak resident memory of the process while it was measured; None where it says nothing."""
    difference: float | None = None
    """Largest absolute difference from the untiled forward, on the scale 0 to 1."""
    setup_s: float = 0.0
    """Time before the first run: imports, loading, exporting, compiling."""
    note: str = ""
    failure: str = ""
    """Reason why there are no times; empty if there are."""

    def _per_mpx(self, seconds: float) -> float:
        return seconds / self.megapixels if self.megapixels else seconds

    @property
    def median(self) -> float:
        """Median time in seconds a megapixel, or in seconds where size does not matter."""
        return self._per_mpx(statistics.median(self.seconds))

    @property
    def low(self) -> float:
        return self._per_mpx(min(self.seconds))

    @property
    def high(self) -> float:
        return self._per_mpx(max(self.seconds))

    def as_dict(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"key": self.key, "label": self.label}
        if self.failure:
            return facts | {"failure": self.failure}
        unit = "s_per_mpx" if self.megapixels else "s"
        return facts | {
            f"median_{unit}": self.median,
            f"min_{unit}": self.low,
            f"max_{unit}": self.high,
            "repeats": len(self.seconds),
            "seconds": list(self.seconds),
            "setup_s": self.setup_s,
            "peak_bytes": self.peak_bytes,
            "max_difference": self.difference,
            "note": self.note,
        }


@dataclass(frozen=True)
class BenchmarkResult:
    """Everything that one benchmark found."""

    model: str
    side_px: int
    threads: int
    processor: str
    measurements: tuple[Measurement, ...]

    @property
    def base(self) -> Measurement | None:
        """The row stream, if it could be measured."""
        found = [m for m in self.measurements if m.key == BASE and not m.failure]
        return found[0] if found else None

    def ratio(self, measurement: Measurement) -> float | None:
        """How many times the stream's time a contender takes; None where that says nothing."""
        base = self.base
        if base is None or measurement.failure or not measurement.megapixels:
            return None
        return measurement.median / base.median

    def times_products(self, measurement: Measurement) -> tuple[float, float, float] | None:
        """How many times its matrix products a stream takes: median, least and most.

        Their runs took turns, so each run is compared with the products' that followed it.
        """
        bounds = [m for m in self.measurements if m.key == BOUNDS.get(measurement.key)]
        if not bounds or bounds[0].failure or measurement.failure:
            return None
        pairs = zip(measurement.seconds, bounds[0].seconds, strict=False)
        ratios = [stream / products for stream, products in pairs]
        return statistics.median(ratios), min(ratios), max(ratios)

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "size_px": self.side_px,
            "threads": self.threads,
            "processor": self.processor,
            "measurements": [
                m.as_dict() | {"times_the_stream": self.ratio(m)} | self._as_dict_of_products(m)
                for m in self.measurements
            ],
        }

    def _as_dict_of_products(self, measurement: Measurement) -> dict[str, float]:
        found = self.times_products(measurement)
        if found is None:
            return {}
        names = "times_its_products", "min_times_its_products", "max_times_its_products"
        return dict(zip(names, found, strict=True))


def processor_name() -> str:
    """What the processor calls itself."""
    import platform
    from pathlib import Path

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
