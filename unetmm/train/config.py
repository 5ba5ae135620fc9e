"""One TOML file describes a training run completely."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from unetmm.errors import ShapeError
from unetmm.nets.config import AggregateConfig, NetConfig

Span = tuple[float, float]
"""Lowest and highest value of something drawn at random."""


@dataclass(frozen=True)
class CameraNoise:
    """A camera's noise in 8-bit colour: sensor, demosaicing, noise reduction, tone curve, JPEG."""

    share: float
    """Share of the samples that get this noise."""
    shot: Span = (1e-4, 1.2e-2)
    """Variance per unit of linear light, white being 1; drawn log-uniformly."""
    luma_blur_px: Span = (0.0, 0.9)
    """Standard deviation of the blur that the noise of brightness has had."""
    chroma_blur_px: Span = (0.5, 4.0)
    """Standard deviation of the blur of the noise of colour, which cameras smooth more."""
    coarse: Span = (0.0, 0.4)
    """Strength of noise in grains of several pixels, relative to the fine noise."""
    jpeg_share: float = 0.6
    jpeg_quality: tuple[int, int] = (60, 98)


@dataclass(frozen=True)
class MicrographNoise:
    """A dim micrograph: blurred by the optics, few photons, offset, gain, read noise, stretch."""

    share: float
    """Share of the samples that get this noise."""
    photons: Span = (2.0, 400.0)
    """Photons at white, drawn log-uniformly."""
    background: float = 0.5
    """Largest background, as a share of white."""
    read_electrons: Span = (0.1, 3.0)
    """Standard deviation of the read noise, drawn log-uniformly."""
    blur_share: float = 0.5
    """Share of these samples whose clean image is first blurred by a point spread function."""
    blur_px: Span = (0.5, 2.0)
    excess_share: float = 0.15
    """Share of samples with the noise of an EMCCD or photomultiplier, of twice the variance."""
    scan_share: float = 0.15
    """Share of samples where a scanner smears the noise into the next column."""
    clip_share: float = 0.5
    """Share of samples that were stored as integers with their ends cut off."""


NO_SIGMA = 0.01
"""Standard deviation, in counts of 255, below which noise is none."""
MIXTURE_KINDS = frozenset(
    "white photons camera micrograph dim blurred in_common along_rows mosaic resampled compressed "
    "artefacts quantised rows stripes electrons speckle film clean".split()
)
"""Names of the kinds of noise that `noise.mixture` knows."""


KEEPING_KINDS = frozenset(
    "white photons camera in_common artefacts quantised electrons speckle film clean".split()
)
"""Kinds of the mixture that leave the clean picture as it is; the others blur or stretch it."""


@dataclass(frozen=True)
class MixtureNoise:
    """Noise of all kinds, for a net that is told nothing: each sample has one kind."""

    shares: dict[str, float]
    """Share of the samples of each kind, by its name in `noise.mixture`; they add up to 1."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.shares) - MIXTURE_KINDS):
            raise ValueError(f"noise: unknown kinds {unknown}; known are {sorted(MIXTURE_KINDS)}")
        total = sum(self.shares.values())
        if min(self.shares.values(), default=0.0) < 0 or abs(total - 1) > 1e-6:
            raise ValueError(f"noise: the shares of the mixture add up to {total:g} instead of 1")

    def describe(self) -> str:
        """Phrase that lists the kinds, most frequent first."""
        ordered = sorted(self.shares.items(), key=lambda item: -item[1])
        named = (f"{name.replace('_', ' ')} {share:.3g}" for name, share in ordered if share)
        return "a mixture, by share of the patches: " + ", ".join(named)


@dataclass(frozen=True)
class BlurConfig:
    """Blur before the noise: soft optics, a wrong focus, motion; what is not named is motion."""

    share: float = 0.95
    """Share of the samples that are blurred."""
    gaussian_share: float = 0.4
    """Share of the blurred ones whose blur is a Gaussian."""
    gaussian_px: Span = (0.4, 3.0)
    """Standard deviation along the shorter axis, drawn log-uniformly."""
    longest: float = 1.6
    """Largest ratio of the longer to the shorter axis."""
    disk_share: float = 0.35
    """Share of the blurred ones that are out of focus."""
    disk_px: Span = (0.6, 5.0)
    """Radius of the disk, drawn log-uniformly."""
    motion_px: Span = (2.0, 18.0)
    """Length of the path of motion, drawn log-uniformly."""
    linear_share: float = 0.4
    """Share of the blurred ones where light is blurred, not the values of an image file."""
    margin_px: int = 16
    """Largest reach of a blur; so much of each patch is cut off at its edges."""

    def describe(self) -> str:
        """Phrase about the blur for a model card."""
        motion = 1 - self.gaussian_share - self.disk_share
        return (
            f"blurred in {self.share:.0%} of the patches, before the noise: by a Gaussian of "
            f"{self.gaussian_px[0]:g} to {self.gaussian_px[1]:g} px ({self.gaussian_share:.0%}), "
            f"a disk of radius {self.disk_px[0]:g} to {self.disk_px[1]:g} px "
            f"({self.disk_share:.0%}), motion over {self.motion_px[0]:g} to "
            f"{self.motion_px[1]:g} px ({motion:.0%})"
        )


@dataclass(frozen=True)
class NoiseConfig:
    """Which noise is added to clean images; levels are in counts of 255."""

    sigma_max: float = 55.0
    """Largest standard deviation of Gaussian noise, which is drawn uniformly from 0 on."""
    poisson_share: float = 0.25
    """Share of the samples that get Poisson-Gaussian noise instead of Gaussian."""
    camera: CameraNoise | None = None
    """Noise of cameras; samples that neither this nor `micrograph` takes get the noise above."""
    micrograph: MicrographNoise | None = None
    mixture: MixtureNoise | None = None
    """Noise of all kinds, in place of all the above."""
    row_share: float = 0.0
    """Share of all samples that get an offset for each row (or column) on top."""
    row_sigma_max: float = 8.0
    impulse_share: float = 0.0
    """Share of all samples where some pixels become black or white."""
    impulse_density_max: float = 0.02
    """Largest share of such pixels."""
    blur: BlurConfig | None = None
    """Blur before the noise; what the net should give is the sharp image."""
    rounded_share: float = 0.0
    """Share of all samples that are rounded to 8 bits at the end."""
    averaged_share: float = 0.0
    """Share of all samples that are reduced by averaging, where the net enlarges; the others are
    reduced by bicubic interpolation."""

    def __post_init__(self) -> None:
        taken = sum(kind.share for kind in (self.camera, self.micrograph) if kind)
        if taken and self.mixture is not None:
            raise ValueError("noise: a mixture has its own camera and micrograph; give one of them")
        if taken > 1:
            raise ValueError(f"noise: the shares of camera and micrograph add up to {taken:g}")
        if not 0 <= self.averaged_share <= 1:
            raise ValueError(f"noise: averaged_share is 0 to 1: found {self.averaged_share:g}")

    def describe(self) -> str:
        """Sentence about the noise for a model card."""
        parts = []
        if self.camera is not None:
            parts.append(
                f"camera noise (Bayer mosaic, demosaicing, noise reduction, tone curve, JPEG "
                f"quality {self.camera.jpeg_quality[0]} to {self.camera.jpeg_quality[1]}) in "
                f"{self.camera.share:.0%} of the patches"
            )
        if self.micrograph is not None:
            low, high = self.micrograph.photons
            parts.append(
                f"micrographs of {low:g} to {high:g} photons at white with blur, background, "
                f"gain and read noise in {self.micrograph.share:.0%} of the patches"
            )
        if self.mixture is not None:
            parts.append(self.mixture.describe())
        elif self.sigma_max < NO_SIGMA and not self.poisson_share:
            parts.append("none" if not parts else "else none")
        else:
            parts.append(
                f"{'else ' if parts else ''}Gaussian, sigma 0 to {self.sigma_max:g} of 255, not "
                f"clipped; Poisson-Gaussian in {self.poisson_share:.0%} of "
                f"{'these' if parts else 'the patches'}"
            )
        extra = {"rows or columns": self.row_share, "black and white pixels": self.impulse_share}
        parts += [f"{name} on top in {share:.0%}" for name, share in extra.items() if share]
        if self.rounded_share:
            parts.append(f"rounded to 8 bits in {self.rounded_share:.0%}")
        if self.blur is not None:
            parts.append(self.blur.describe())
        text = "; ".join(parts)
        return text[0].upper() + text[1:]


@dataclass(frozen=True)
class ValidationConfig:
    """Which images a run is measured on while it goes on; see `validate`."""

    clean: str | None = None
    """Folder of clean images, which get the run's noise; None: images held out of the data."""
    noisy: str | None = None
    """Folder of noisy images with the names of the clean ones."""
    affine: bool = False
    """Whether clean images are fitted to the noisy ones by gain and offset."""
    held_out: int = 0
    """Images taken out of the data, at regular distances, where there is no folder."""
    patches: int = 32
    patch_px: int = 128
    every: int = 500
    """Steps between two measurements."""

    def __post_init__(self) -> None:
        if self.noisy is not None and self.clean is None:
            raise ValueError("validation: noisy images need a folder of clean ones")
        if self.clean is None and self.held_out < 1:
            raise ValueError("validation: give a folder of clean images, or a number to hold out")
        counts = self.every, self.patches, self.patch_px
        if not all(isinstance(n, int) and n > 0 for n in counts):
            raise ValueError("validation: every, patches and patch_px are whole numbers from 1 on")


@dataclass(frozen=True)
class Stage:
    """Shape of the batches from a share of the steps on."""

    start: float
    patch_px: int
    batch: int


_FIXED = (
    "data",
    "exclude",
    "data_shares",
    "drawn_share",
    "half_size_share",
    "init",
    "local",
    "net",
    "noise",
    "seed",
)


@dataclass(frozen=True)
class TrainConfig:
    """A training run: data, net, noise, schedule, seed."""

    name: str
    data: tuple[str, ...]
    """Folders of clean images, searched recursively; relative to the working directory."""
    net: NetConfig
    steps: int
    init: str | None = None
    """Weight file to start from instead of random weights; relative to the working directory."""
    local: bool = False
    """Whether the net learns constants in place of attention, which looks at the whole image."""
    pack: str | None = None
    """File of `unetmm.train.pack` to read instead of the folders of `data`."""
    exclude: tuple[str, ...] = ()
    """Patterns of file names that are left out of `data`."""
    data_shares: tuple[float, ...] = ()
    """Share of the patches that each folder of `data` gives; empty: by the size of the images."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    stages: tuple[Stage, ...] = (Stage(0.0, 80, 8),)
    learning_rate: float = 1e-3
    """Rate at the start; it falls to learning_rate_end along a cosine."""
    learning_rate_end: float = 1e-6
    ema_decay: float = 0.999
    seed: int = 0
    precision: str = "bf16"
    """Arithmetic: bf16 (autocast with float32 weights and residuals) or fp32."""
    half_size_share: float = 0.3
    """Share of the patches taken from the image reduced by two, where JPEG traces vanish."""
    drawn_share: float = 0.0
    """Share of the patches drawn by `unetmm.train.drawn` instead of taken from images."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    validation: ValidationConfig | None = None
    card: dict[str, Any] = field(default_factory=dict)
    """Facts for the model card that the run itself does not know: task, licences, limits."""

    def __post_init__(self) -> None:
        numbers = {f: getattr(self, f) for f in ("steps", "seed", "checkpoint_every")}
        wrong = {k: v for k, v in numbers.items() if not isinstance(v, int) or v < (k != "seed")}
        if wrong:
            raise ValueError(f"needs whole numbers, at least 1 (seed 0): found {wrong}")
        if not isinstance(self.data, tuple) or not self.data:
            raise ValueError(f"data takes a list of folders: found {self.data!r}")
        if self.precision not in ("bf16", "fp32"):
            raise ValueError(f"precision is bf16 or fp32: found {self.precision!r}")
        if not self.stages or self.stages[0].start != 0:
            raise ValueError("stages: the first one starts at 0.0")
        if self.data_shares and len(self.data_shares) != len(self.data):
            raise ValueError(
                f"{len(self.data)} folders of data, but {len(self.data_shares)} data_shares"
            )

        self._check_target()

    def _check_target(self) -> None:
        """A net that enlarges or sharpens is to give the picture as it was before."""
        noise = self.noise
        if self.net.output_scale == 1 and noise.blur is None:
            return
        kinds = set(noise.mixture.shares) if noise.mixture else set()
        changing = sorted(kinds - KEEPING_KINDS) + ["micrograph"] * bool(noise.micrograph)
        if changing:
            raise ValueError(
                f"noise: {', '.join(changing)} change the clean picture, which a net that enlarges "
                f"or sharpens should give; use {', '.join(sorted(KEEPING_KINDS))}"
            )

    def facts(self) -> dict[str, Any]:
        """Facts as JSON holds them that a run may not change on its way; its length may change."""
        chosen: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        noise = chosen["noise"]
        # Runs of older versions do not know these.
        newer = {"mixture": None, "blur": None, "rounded_share": 0.0, "averaged_share": 0.0}
        for name, default in newer.items():
            if noise[name] == default:
                del noise[name]
        return {name: chosen[name] for name in _FIXED}

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
            noise=_noise(table.pop("noise", {})),
            validation=(
                ValidationConfig(**table.pop("validation")) if "validation" in table else None
            ),
            stages=tuple(
                Stage(**s)
                for s in table.pop("stages", [{"start": 0.0, "patch_px": 80, "batch": 8}])
            ),
            **_with_tuples(table),
        )
    except (tomllib.TOMLDecodeError, TypeError, ValueError, KeyError) as error:
        raise ShapeError(f"training config {path} cannot be used: {error}") from error


def _noise(table: dict[str, Any]) -> NoiseConfig:
    kinds = {"camera": CameraNoise, "micrograph": MicrographNoise, "blur": BlurConfig}
    nested: dict[str, Any] = {
        k: kinds[k](**_with_tuples(table.pop(k))) for k in kinds if k in table
    }
    if "mixture" in table:
        nested["mixture"] = MixtureNoise(table.pop("mixture"))
    return NoiseConfig(**table, **nested)


def _with_tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
