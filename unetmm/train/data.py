"""The images of a training run, and random patches cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.train.config import TrainConfig
from unetmm.train.drawn import draw_picture
from unetmm.train.images import data_groups, load_images
from unetmm.train.pack import load_pack


def load_groups(config: TrainConfig) -> list[list[NDArray[np.uint8]]]:
    """The images of each group of folders, from the run's pack where it has one.

    Raises
    ------
    ImageError
        If a folder holds no image of the net's channels, or the pack is of other data.
    """
    if config.pack is not None:
        return load_pack(config, Path(config.pack))
    channels = config.net.in_channels
    return [load_images(folders, channels, config.exclude) for folders in data_groups(config)]


def make_sampler(config: TrainConfig) -> Images:
    """The patches of a training run, and the images it holds out for validation.

    Raises
    ------
    ImageError
        As `load_groups`.
    """
    shares = config.data_shares or (1.0,)
    held_out: list[NDArray[np.uint8]] = []
    kept: list[NDArray[np.uint8]] = []
    probabilities = []
    for share, images in zip(shares, load_groups(config), strict=True):
        count = _held_out_count(config, share / sum(shares), len(images))
        taken = {(2 * i + 1) * len(images) // (2 * count) for i in range(count)}
        rest = [image for i, image in enumerate(images) if i not in taken]
        held_out += [images[i] for i in sorted(taken)]
        kept += rest
        probabilities.append(share / sum(shares) * _by_size(rest))
    sampler = PatchSampler(
        kept, config.half_size_share, np.concatenate(probabilities), config.drawn_share
    )
    return sampler, held_out


def _held_out_count(config: TrainConfig, share: float, images: int) -> int:
    """How many of a group's images are held out: its share of them, and never all."""
    chosen = config.validation
    if chosen is None or chosen.clean is not None:
        return 0
    if images < 2:
        raise ImageError(
            "the only image of a folder cannot be held out for validation as well; give more, or a "
            "folder of clean ones"
        )
    return min(images - 1, max(1, round(share * chosen.held_out)))


def _by_size(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    weights = np.array([np.sqrt(i.shape[0] * i.shape[1]) for i in images])
    return np.asarray(weights / weights.sum())


class PatchSampler:
    """Random patches; the same generator state gives the same patches.

    An image is drawn with probability proportional to the square root of its pixel count: large
    photographs hold more, but not proportionally more, that is new. `probability` replaces that.
    A share of the patches is drawn by code instead.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]],
        half_size_share: float,
        probability: NDArray[np.float64] | None = None,
        drawn_share: float = 0.0,
    ) -> None:
        self.images, self.half_size_share = images, half_size_share
        self.drawn_share = drawn_share
        self.probability = _by_size(images) if probability is None else probability

    def batch(self, rng: np.random.Generator, size: int, patch_px: int) -> NDArray[np.float32]:
        """(size, c, patch_px, patch_px), range [0, 1]."""
        indices = rng.choice(len(self.images), size, p=self.probability)
        return np.stack([self._drawn_or_cut(rng, self.images[i], patch_px) for i in indices])

    def _drawn_or_cut(
        self, rng: np.random.Generator, image: NDArray[np.uint8], patch_px: int
    ) -> NDArray[np.float32]:
        if self.drawn_share and rng.random() < self.drawn_share:
            return draw_picture(image.shape[-1], patch_px, rng)
        return self._patch(rng, image, patch_px)

    def _patch(
        self, rng: np.random.Generator, image: NDArray[np.uint8], patch_px: int
    ) -> NDArray[np.float32]:
        h, w, c = image.shape
        factor = 2 if min(h, w) >= 2 * patch_px and rng.random() < self.half_size_share else 1
        size = factor * patch_px
        image = np.pad(
            image, ((0, max(0, size - h)), (0, max(0, size - w)), (0, 0)), mode="symmetric"
        )
        y = int(rng.integers(image.shape[0] - size + 1))
        x = int(rng.integers(image.shape[1] - size + 1))
        patch = image[y : y + size, x : x + size].astype(np.float32) / 255
        patch = patch.reshape(patch_px, factor, patch_px, factor, c).mean((1, 3))
        patch = np.rot90(patch, int(rng.integers(4)))
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        return np.ascontiguousarray(patch.transpose(2, 0, 1), dtype=np.float32)


Images = tuple[PatchSampler, list[NDArray[np.uint8]]]
"""Sampler of the images that patches are cut from, and the images that are held out."""
