"""What is to be planned, one way to cut it, and the plan that comes of it. Integers only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from unetmm.engine.contract import DeviceTerms, Engine, Pixels
from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.layout import Layout
from unetmm.engine.precision import Precision
from unetmm.geometry import Span, recomputed_share
from unetmm.io.image import Box
from unetmm.nets.config import NetConfig
from unetmm.plan.memory import Storage, Terms


@dataclass(frozen=True)
class Request:
    """What is to be planned."""

    model: str
    config: NetConfig
    pixels: Pixels
    planes: int
    source: Storage
    sink: Storage
    budget_bytes: int
    calibration_bytes: int
    held_bytes: int = 0
    """Bytes that the process holds already beyond a fresh one."""
    max_cores: int = 0
    """Cores used at most, over all live strips; 0 for all that the process may use."""
    engine: Engine = CpuEngine()
    """Way to compute the net."""
    device_budget_bytes: int = 0
    """Peak of a GPU's memory that the user allows."""
    exceeds: bool = False
    """Whether values can leave the base range."""
    searches: bool = False
    """Whether outliers are looked for."""
    crop: Box | None = None
    """Part of each plane that is written; None: all of it."""

    @property
    def written(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First row that is written and the one behind the last, and the same of columns."""
        if self.crop is None:
            return (0, self.pixels.height), (0, self.pixels.width)
        return (self.crop.y0, self.crop.y1), (self.crop.x0, self.crop.x1)


@dataclass(frozen=True)
class Division:
    """One way to divide an axis, and the most that one of its spans needs."""

    spans: tuple[Span, ...]
    read_px: int
    write_px: int
    new_px: int
    """Pixels read up to the end of the write: once that is complete, a task ends."""
    touched_px: int
    """Pixels of the chunks that are decoded for a span."""


@dataclass(frozen=True)
class Cut:
    """A band height and a division of the image."""

    layout: Layout
    strips: Division
    segments: Division
    planes: int

    @property
    def tasks(self) -> int:
        return len(self.strips.spans) * len(self.segments.spans) * self.planes


@dataclass(frozen=True)
class Plan:
    """A way to run that fits the budget."""

    model: str
    band_rows: int
    workers: int
    """Strips that are live at once."""
    strips: tuple[Span, ...]
    segments: tuple[Span, ...]
    planes: int
    halo_px: int
    lag_rows: int
    terms: Terms
    budget_bytes: int
    estimated_s: float
    threads: int = 1
    """Threads that share the columns of each live strip."""
    precision: Precision = "fp32"
    """Precision of the blocks' matrix products; on a device of all maps and matrices."""
    device: str = "cpu"
    """Label of the engine. cpu: the compiled kernels; torch: torch operations on the CPU;
    cuda:N: the same on a GPU."""
    device_name: str = ""
    """Name of the GPU."""
    device_terms: DeviceTerms | None = None
    """Terms of the projected peak of a GPU's memory."""
    device_budget_bytes: int = 0
    """Peak of a GPU's memory that the user allows."""
    calibration_cores: int = 1
    """Cores that observe patches at once, before any strip is live."""
    delay_bands: int = 0
    """Bands that the output is behind the input beyond the lag, as they are under way."""

    @property
    def projected_peak_bytes(self) -> int:
        return self.terms.total

    @property
    def delay_rows(self) -> int:
        """Rows that the output is behind the input beyond the lag: a band under way."""
        return self.delay_bands * self.band_rows

    @property
    def cores(self) -> int:
        """Threads that compute at once."""
        return self.workers * self.threads

    @property
    def strip_width_px(self) -> int:
        """Columns of the widest strip, halo included."""
        return max(s.read_px for s in self.strips)

    @property
    def recomputed_share(self) -> float:
        """Share of the pixels that are computed more than once, as halo."""
        across, down = (
            recomputed_share(list(spans), spans[-1].write_stop - spans[0].write_start)
            for spans in (self.strips, self.segments)
        )
        return (1 + across) * (1 + down) - 1

    def as_dict(self) -> dict[str, Any]:
        """For reports and `plan --json`, whose field names this fixes."""
        return {
            "strip_width_px": self.strip_width_px,
            "band_rows": self.band_rows,
            "strips": len(self.strips),
            "segments": len(self.segments),
            "workers": self.workers,
            "threads": self.threads,
            "device": self.device,
            "precision": self.precision,
            "halo_px": self.halo_px,
            "lag_rows": self.lag_rows,
            "recomputed_share": round(self.recomputed_share, 4),
            "projected_peak_bytes": self.projected_peak_bytes,
            "budget_bytes": self.budget_bytes,
            "terms": asdict(self.terms),
            **self._device_as_dict(),
        }

    def _device_as_dict(self) -> dict[str, Any]:
        if self.device_terms is None:
            return {}
        return {
            "device_projected_peak_bytes": self.device_terms.total,
            "device_budget_bytes": self.device_budget_bytes,
            "device_terms": asdict(self.device_terms),
        }

    @property
    def fits(self) -> bool:
        """Whether it keeps its budgets."""
        return self.projected_peak_bytes <= self.budget_bytes and self.fits_device

    @property
    def fits_device(self) -> bool:
        terms = self.device_terms
        return terms is None or terms.total <= self.device_budget_bytes
