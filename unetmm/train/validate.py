"""Images that a run is not trained on, cut into the same patches every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unetmm.errors import ShapeError
from unetmm.quality.metrics import fit_affine
from unetmm.train.config import TrainConfig, ValidationConfig
from unetmm.train.data import PatchSampler
from unetmm.train.degrade import Patches, degrade
from unetmm.train.images import load_images, read_training_image

VALIDATION_SEED = 20_000_003
"""Seed of the validation patches, far from the step numbers, which seed the training patches."""


class Validation:
    """Fixed pairs of noisy and clean patches, and a net's PSNR on them."""

    def __init__(self, noisy: Patches, clean: Patches) -> None:
        self.noisy, self.clean = noisy, clean

    def psnr_db(self, net: nn.Module, device: torch.device | str = "cpu") -> float:
        """Mean PSNR over the patches, as range 0 to 1 has it."""
        values = []
        with torch.inference_mode():
            for noisy, clean in zip(self.noisy, self.clean, strict=True):
                output = net(torch.from_numpy(noisy)[None].to(device))[0].float().cpu().numpy()
                error = float(np.mean(np.square(output - clean, dtype=np.float64)))
                values.append(-10 * np.log10(max(error, 1e-10)))
        return float(np.mean(values))


def make_validation(config: TrainConfig, images: list[NDArray[np.uint8]]) -> Validation | None:
    """The validation of a run, or None if its config asks for none.

    images: those held out of the training data, used where the config names no folder.

    Raises
    ------
    ImageError
        If a folder holds no image.
    ShapeError
        If noisy and clean images do not fit each other.
    """
    chosen = config.validation
    if chosen is None:
        return None
    rng = np.random.default_rng((config.seed, VALIDATION_SEED))
    if chosen.noisy is not None:
        return _from_pairs(chosen, config.net.in_channels, rng)
    if chosen.clean is not None:
        images = load_images([chosen.clean], config.net.in_channels)
    sampler = PatchSampler(images, config.half_size_share)
    clean = sampler.batch(rng, chosen.patches, chosen.patch_px)
    return Validation(*degrade(clean, config.noise, rng, config.net.output_scale))


def _from_pairs(
    chosen: ValidationConfig, channels: int, rng: np.random.Generator
) -> Validation | None:
    assert chosen.noisy is not None and chosen.clean is not None, "checked by the config"
    from unetmm.quality.testsets import list_pairs

    pairs = list_pairs(Path(chosen.noisy), Path(chosen.clean))
    found = []
    for i in range(chosen.patches):
        noisy, clean = (read_training_image(p, channels) for p in pairs[i % len(pairs)])
        if noisy is None or clean is None or noisy.shape != clean.shape:
            raise ShapeError(
                f"{pairs[i % len(pairs)][0]}: it and its clean partner must have one size and "
                f"{channels} channels"
            )
        gain, offset = fit_affine(clean, noisy) if chosen.affine else (1.0, 0.0)
        h, w, size = *noisy.shape[:2], min(chosen.patch_px, *noisy.shape[:2])
        y, x = int(rng.integers(h - size + 1)), int(rng.integers(w - size + 1))
        cut = np.s_[y : y + size, x : x + size]
        target = gain * clean[cut].astype(np.float32) + np.float32(offset)
        found.append([a.transpose(2, 0, 1) / np.float32(255) for a in (noisy[cut], target)])
    sizes = {pair[0].shape for pair in found}
    if len(sizes) > 1:
        raise ShapeError(
            f"{chosen.noisy}: some images are smaller than the validation patches of "
            f"{chosen.patch_px} px; give a smaller patch_px in [validation]"
        )
    noisy_patches, clean_patches = (
        np.stack(p).astype(np.float32) for p in zip(*found, strict=True)
    )
    return Validation(noisy_patches, clean_patches)
