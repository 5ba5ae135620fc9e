"""Noise of all kinds in one training: each sample gets one kind, and at times what files do to it.

A kind takes a clean patch, (c, h, w) with black 0 and white 1, and a generator; it gives the noisy
patch and its target. Kinds that treat a noisy image (resampled, JPEG, rows ...) begin with a basic
one: white, photons, a camera's or a micrograph's.

Source: mixing degradations at random is of Zhang et al., Practical Blind Denoising via Swin-Conv-
UNet and Data Synthesis (2022); noise through a camera's pipeline of Guo et al., Toward
Convolutional Blind Denoising of Real Photographs (2019), section 3.1. The kinds and their levels
are ours; where those works chain several in any order, a sample here has one, and then its file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unetmm.quality.metrics import LUMA
from unetmm.train.config import CameraNoise, MicrographNoise, MixtureNoise
from unetmm.train.noise.camera import add_camera_noise
from unetmm.train.noise.grain import film, speckle
from unetmm.train.noise.lines import electrons, rows, stripes
from unetmm.train.noise.micrograph import make_micrograph
from unetmm.train.noise.sensor import Pair, Patch, photons, white
from unetmm.train.noise.smeared import along_rows, blurred, in_common, mosaic, resampled
from unetmm.train.noise.spectrum import blur_image
from unetmm.train.noise.stored import compressed, in_8_bit, quantised

Kind = Callable[[Patch, np.random.Generator], Pair]

CAMERA = CameraNoise(1.0)
MICROGRAPH = MicrographNoise(1.0)
DIM = MicrographNoise(1.0, photons=(0.4, 6.0), background=3.0, read_electrons=(0.3, 4.0))
"""Micrographs of little signal on a pedestal."""
SOFT_SHARE = 0.3
"""Share of the samples whose picture is blurred before its noise, as optics that oversample do."""
SOFT_PX = (0.5, 2.5)
COMPRESSED_SHARE, STORED_SHARE = 0.15, 0.35
"""Shares of the samples of smeared and other lasting kinds that end as JPEG, and in 8 bits."""


def camera(clean: Patch, rng: np.random.Generator) -> Pair:
    """A camera's noise; of grey patches that of its brightness."""
    if len(clean) == 3:
        return add_camera_noise(clean, CAMERA, rng), clean
    noisy = add_camera_noise(np.repeat(clean, 3, axis=0), CAMERA, rng)
    return np.tensordot(LUMA, noisy, axes=1)[None].astype(np.float32), clean


def micrograph(clean: Patch, rng: np.random.Generator) -> Pair:
    """A dim micrograph on the scale that a run would choose."""
    return make_micrograph(clean, MICROGRAPH, rng)


def dim(clean: Patch, rng: np.random.Generator) -> Pair:
    """A micrograph of few photons on a pedestal."""
    return make_micrograph(clean, DIM, rng)


def untouched(clean: Patch, rng: np.random.Generator) -> Pair:
    """No noise: clean images are to stay as they are."""
    return in_8_bit((clean, clean)) if rng.random() < 0.5 else (clean, clean)


def _basic(clean: Patch, rng: np.random.Generator) -> Pair:
    """The noise under what is done to a noisy image."""
    choice = rng.random()
    if choice < 0.3:
        return photons(clean, rng)
    if choice < (0.7 if len(clean) == 1 else 0.45):
        return micrograph(clean, rng)
    if choice < 0.8 and len(clean) == 3:
        return camera(clean, rng)
    return white(clean, rng)


def _slight(clean: Patch, rng: np.random.Generator) -> Pair:
    """Weak noise, or none."""
    sigma = np.float32(max(0.0, rng.uniform(-5, 20)) / 255)
    return clean + sigma * rng.standard_normal(clean.shape, np.float32), clean


def _after(effect: Callable[[Pair, np.random.Generator], Pair], first: Kind = _basic) -> Kind:
    """A kind that first adds noise and then treats the noisy image."""
    return lambda clean, rng: effect(first(clean, rng), rng)


KINDS: dict[str, Kind] = {
    "white": white,
    "photons": photons,
    "camera": camera,
    "micrograph": micrograph,
    "dim": dim,
    "blurred": blurred,
    "in_common": in_common,
    "along_rows": along_rows,
    "mosaic": mosaic,
    "resampled": _after(resampled),
    "compressed": _after(compressed),
    "artefacts": _after(compressed, _slight),
    "quantised": _after(quantised, _slight),
    "rows": _after(rows),
    "stripes": _after(stripes),
    "electrons": electrons,
    "speckle": speckle,
    "film": film,
    "clean": untouched,
}
"""All kinds, by the names that a config's shares use."""
SOFT_KINDS = frozenset({"blurred", "along_rows", "resampled", "compressed", "rows", "stripes"})
"""Kinds whose picture is at times blurred first; those of micrographs do so themselves."""
LASTING_KINDS = frozenset(
    "photons blurred in_common along_rows mosaic resampled rows stripes electrons speckle "
    "film".split()
)
"""Kinds whose samples at times end in a file of 8 bits, or as JPEG."""


def add_mixture(
    clean: Patch, mixture: MixtureNoise, rng: np.random.Generator
) -> tuple[Patch, Patch]:
    """(b, c, h, w) in [0, 1] -> noisy patches and targets; each sample draws its kind by share."""
    names = sorted(mixture.shares)
    shares = np.array([mixture.shares[name] for name in names])
    chosen = rng.choice(len(names), len(clean), p=shares / shares.sum())
    pairs = [one_sample(patch, names[i], rng) for patch, i in zip(clean, chosen, strict=True)]
    noisy, target = (np.stack(images) for images in zip(*pairs, strict=True))
    return noisy, target


def one_sample(clean: Patch, kind: str, rng: np.random.Generator) -> Pair:
    """(c, h, w) with noise of one kind, and its target."""
    if kind in SOFT_KINDS and rng.random() < SOFT_SHARE:
        clean = np.clip(blur_image(clean, rng.uniform(*SOFT_PX)), 0, 1)
    pair = KINDS[kind](clean, rng)
    if kind in LASTING_KINDS:
        fate = rng.random()
        if fate < COMPRESSED_SHARE:
            pair = compressed(pair, rng)
        elif fate < COMPRESSED_SHARE + STORED_SHARE:
            pair = in_8_bit(pair)
    return pair
