"""Noise that neighbours share: blurred, smeared along rows, demosaiced, resampled.

Source: ours, but for the Bayer mosaic, see `camera`. Isotropic blur stands for what interpolation,
registration and noise reduction leave; smearing along rows for the slow amplifier of a scanner, a
low-pass of first order in time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.quality.metrics import LUMA
from unetmm.train.noise.camera import BALANCE, bayer_mask, demosaic
from unetmm.train.noise.sensor import Pair, Patch, spread
from unetmm.train.noise.spectrum import log_uniform, smeared_field

BLUR_PX = (0.25, 4.0)
"""Span of the blur's standard deviation, drawn log-uniformly."""
COMMON_BLUR_PX = (0.25, 2.0)
"""Span of the blur of noise that colours have in common, drawn likewise."""
ENLARGED = (1.0, 2.5)
"""Span of the factors that images are enlarged by."""
TURN_DEG = 4.0
"""Largest angle that a registered image is turned by."""
LAG_MAX = 0.5
"""Largest share that a slow amplifier carries over from one pixel to the next."""


def blurred(clean: Patch, rng: np.random.Generator) -> Pair:
    """Noise blurred alike in all directions; what the blur takes of its level is given back."""
    sigma = log_uniform(rng, BLUR_PX)
    field = smeared_field(clean.shape, (sigma, sigma), rng)
    return clean + spread(clean, rng, 40 / 255) * field, clean


def in_common(clean: Patch, rng: np.random.Generator) -> Pair:
    """Noise that all colours have in common, white or blurred: of a grey picture saved in colours,
    of film, of a camera that keeps brightness alone.
    """
    sigma = log_uniform(rng, COMMON_BLUR_PX) if rng.random() < 0.5 else 0.0
    field = smeared_field((1, *clean.shape[1:]), (sigma, sigma), rng)
    of = clean if rng.random() < 0.5 else clean.mean(0, keepdims=True)  # tinted, or alike in all
    return clean + spread(of, rng, 40 / 255) * field, clean


def along_rows(clean: Patch, rng: np.random.Generator) -> Pair:
    """Noise smeared along rows, seldom along columns; in half the cases the picture as well."""
    if rng.random() < 0.5:
        noisy = clean + spread(clean, rng) * rng.standard_normal(clean.shape, np.float32)
        return slow_amplifier(noisy, rng), clean
    sigma = log_uniform(rng, BLUR_PX)
    across = rng.random() < 0.8
    field = smeared_field(clean.shape, (0.0, sigma) if across else (sigma, 0.0), rng)
    return clean + spread(clean, rng, 40 / 255) * field, clean


def slow_amplifier(image: Patch, rng: np.random.Generator) -> Patch:
    """(..., h, w) where each pixel carries something of those before it in its row.

    The response is exponential, or of two pixels alone; the mean is kept.
    """
    share = rng.uniform(0, LAG_MAX)
    taps = 2 if rng.random() < 0.5 else 6
    weights = share ** np.arange(taps) if taps > 2 else np.array([1 - share, share])
    weights = (weights / weights.sum()).astype(np.float32)
    w = image.shape[-1]
    before = np.pad(image, [(0, 0)] * (image.ndim - 1) + [(taps - 1, 0)], mode="symmetric")
    parts = [k * before[..., taps - 1 - i : taps - 1 - i + w] for i, k in enumerate(weights)]
    smeared: Patch = np.sum(parts, axis=0, dtype=np.float32)
    return smeared


def mosaic(clean: Patch, rng: np.random.Generator) -> Pair:
    """Noise of a Bayer mosaic after bilinear demosaicing and white balance, of its luma for grey.

    In half the cases the picture itself went through the mosaic too, so that edges show it.
    """
    c, h, w = clean.shape
    colour = clean if c == 3 else np.repeat(clean, 3, axis=0)
    balance = np.array([rng.uniform(*BALANCE), 1.0, rng.uniform(*BALANCE)], np.float32)
    sensed = spread(colour, rng) * rng.standard_normal((3, h, w), np.float32)
    noise = sensed * np.sqrt(balance)[:, None, None]
    mask = bayer_mask(h, w, rng)
    if rng.random() < 0.5:
        noisy = demosaic((colour + noise) * mask)
    else:
        noisy = colour + demosaic(noise * mask)
    if c == 1:
        noisy = np.tensordot(LUMA.astype(np.float32), noisy, axes=1)[None]
    return noisy.astype(np.float32), clean


def resampled(pair: Pair, rng: np.random.Generator) -> Pair:
    """A part of the noisy image enlarged to the patch, at times turned; its target alike.

    Bilinear, bicubic or Lanczos interpolation as Pillow does it; twofold in a third of the cases.
    """
    from PIL import Image

    h, w = pair[0].shape[-2:]
    factor = 2.0 if rng.random() < 1 / 3 else rng.uniform(*ENLARGED)
    if rng.random() < 0.25:
        return _turned(pair, factor, rng)
    methods = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    method = methods[int(rng.choice(3, p=(0.5, 0.35, 0.15)))]
    height, width = h / factor, w / factor
    top, left = rng.uniform(0, h - height), rng.uniform(0, w - width)
    if rng.random() < 0.5:  # whole pixels: the patch begins where an enlarged image does
        top, left = np.floor(top), np.floor(left)
    box = (left, top, left + width, top + height)

    def enlarged(channel: Patch) -> NDArray[np.float32]:
        return np.asarray(Image.fromarray(channel).resize((w, h), method, box), np.float32)

    noisy, target = (np.stack([enlarged(c) for c in image]) for image in pair)
    return noisy, target


def _turned(pair: Pair, factor: float, rng: np.random.Generator) -> Pair:
    """A part of both images, turned about its middle and shifted by part of a pixel."""
    from PIL import Image

    h, w = pair[0].shape[-2:]
    angle = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG))
    cos, sin = np.cos(angle), np.sin(angle)
    # The turned part has to lie inside the patch, and a pixel away from its edge.
    factor = max(factor, (cos + abs(sin)) * (1 + 4 / min(h, w)))
    a, b = cos / factor, sin / factor
    middle_x, middle_y = w / 2 + rng.uniform(-0.5, 0.5), h / 2 + rng.uniform(-0.5, 0.5)
    place = (a, b, middle_x - a * w / 2 - b * h / 2, -b, a, middle_y + b * w / 2 - a * h / 2)
    cubic = rng.random() < 0.4
    method = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR

    def turned(channel: Patch) -> NDArray[np.float32]:
        image = Image.fromarray(channel)
        done = image.transform((w, h), Image.Transform.AFFINE, place, method)
        return np.asarray(done, np.float32)

    noisy, target = (np.stack([turned(c) for c in image]) for image in pair)
    return noisy, target
