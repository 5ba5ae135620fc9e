"""Noise of whole rows and columns: readout, stripes of satellites, charging under electrons.

Sources: offsets of rows as in Wei et al., A Physics-based Noise Formation Model for Extreme
Low-light Raw Denoising (2020), section 3; gains and offsets of a detector for each column as in
Carfantan and Idier, Statistical Linear Destriping of Satellite-Based Pushbroom-Type Images (2010).
The lines of charging are ours, drawn after what they look like.
"""

from __future__ import annotations

import numpy as np

from unetmm.train.noise.sensor import Pair, Patch, in_range
from unetmm.train.noise.smeared import slow_amplifier
from unetmm.train.noise.spectrum import log_uniform

ROW_SIGMA = (0.5 / 255, 14 / 255)
"""Span of the standard deviation of rows' offsets, drawn log-uniformly."""
STRIPE_GAIN, STRIPE_OFFSET = 0.05, 8 / 255
"""Largest standard deviations of a detector's gain about 1, and of its offset."""
SCAN_WIDTHS = (6, 8, 10, 16)
"""Numbers of detectors of a scanning mirror, after which their pattern comes again."""
ELECTRONS = (3.0, 300.0)
"""Span of the electrons at white, drawn log-uniformly."""


def rows(pair: Pair, rng: np.random.Generator) -> Pair:
    """An offset for each row, or for each column, that all channels share or each has by itself."""
    noisy, target = pair
    c, h, w = noisy.shape
    channels = 1 if rng.random() < 0.5 else c
    shape = (channels, h, 1) if rng.random() < 0.6 else (channels, 1, w)
    offsets = log_uniform(rng, ROW_SIGMA) * rng.standard_normal(shape)
    return (noisy + offsets).astype(np.float32), target


def stripes(pair: Pair, rng: np.random.Generator) -> Pair:
    """Columns (or rows) whose detectors differ in gain and offset, at times periodically."""
    noisy, target = pair
    c, h, w = noisy.shape
    length = w if (down := rng.random() < 0.5) else h
    count = int(rng.choice(SCAN_WIDTHS)) if rng.random() < 0.4 else length
    repeats = -(-length // count)
    gain = 1 + rng.uniform(0, STRIPE_GAIN) * rng.standard_normal((c, count))
    offset = rng.uniform(0, STRIPE_OFFSET) * rng.standard_normal((c, count))
    gain, offset = (np.tile(v, repeats)[:, :length] for v in (gain, offset))
    where = np.s_[:, None, :] if down else np.s_[:, :, None]
    return (noisy * gain[where] + offset[where]).astype(np.float32), target


def electrons(clean: Patch, rng: np.random.Generator) -> Pair:
    """A scanning electron microscope: grain of few electrons, slow detector, drift, charging.

    Counts multiplied at random as in Timischl et al., A statistical model of signal-noise in
    scanning electron microscopy (2012): Poisson electrons, each with a random yield.
    """
    at_white = log_uniform(rng, ELECTRONS)
    background = 0.3 * rng.random()
    counts = rng.poisson(at_white * (np.maximum(clean, 0) + background)).astype(np.float64)
    if rng.random() < 0.5:  # each electron sets free an exponentially distributed charge
        counts = rng.gamma(np.maximum(counts, 1e-9))
    noise = (counts / at_white - background - clean).astype(np.float32)
    if rng.random() < 0.6:
        noise = slow_amplifier(noise, rng)
    noisy = clean + noise
    if rng.random() < 0.4:
        noisy = noisy + _drift(clean.shape[-2], rng)
    if rng.random() < 0.4:
        noisy = noisy + _charging(clean.shape, rng)
    return in_range((noisy.astype(np.float32), clean))


def _drift(height: int, rng: np.random.Generator) -> Patch:
    """Offsets (h, 1) of rows of which each remembers the one before."""
    memory, value = rng.uniform(0.0, 0.8), 0.0
    steps = rng.uniform(0, 8 / 255) * rng.standard_normal(height) * np.sqrt(1 - memory**2)
    offsets = np.empty(height, np.float32)
    for i, step in enumerate(steps):
        value = memory * value + step
        offsets[i] = value
    return offsets[:, None]


def _charging(shape: tuple[int, ...], rng: np.random.Generator) -> Patch:
    """Streaks (h, w) that begin somewhere in a row, are one or two rows high and fade out."""
    h, w = shape[-2:]
    lines = np.zeros((h, w), np.float32)
    distance_from_left = np.arange(w)
    for _ in range(int(rng.integers(1, max(2, h // 12)))):
        y, x = int(rng.integers(h)), int(rng.integers(-w // 2, w))
        strength = rng.uniform(0.03, 0.3) * (1 if rng.random() < 0.7 else -1)
        fading_px = log_uniform(rng, (5.0, 200.0))
        distance = distance_from_left - x
        streak = np.where(distance >= 0, np.exp(-np.maximum(distance, 0) / fading_px), 0.0)
        lines[y : y + int(rng.integers(1, 3))] += (strength * streak).astype(np.float32)
    return lines
