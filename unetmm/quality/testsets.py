"""Test sets: folders of images, listed, read and checked before anything is measured on them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError, ShapeError
from unetmm.intensities.stored import to_dtype
from unetmm.io.formats import IMAGE_SUFFIXES
from unetmm.io.image import Box, ImageInfo
from unetmm.io.open import open_source
from unetmm.io.places import is_zarr
from unetmm.models.weights import Model
from unetmm.quality.metrics import LUMA, WINDOW_PX

Pixels = NDArray[Any]

RGB_SAMPLES = 3
"""Number of samples of a colour pixel without opacity."""
PAIR_FOLDERS = ("noisy", "clean")
"""Names of the two folders of a set of pairs."""


def pair_folders(folder: Path) -> tuple[Path, Path] | None:
    """(noisy, clean) folders inside `folder`, or None if it is a plain folder of images."""
    noisy, clean = (folder / name for name in PAIR_FOLDERS)
    return (noisy, clean) if noisy.is_dir() and clean.is_dir() else None


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name.

    Those that cannot be read, as a GIF, are listed too, and refused later rather than passed over:
    a mean over fewer images than the set has would be compared with others' means all the same.

    Raises
    ------
    ImageError
        If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: is not a folder; give a folder of images")
    visible = (p for p in folder.iterdir() if not p.name.startswith("."))
    found = [
        p for p in visible if p.suffix.lower() in IMAGE_SUFFIXES and (is_zarr(p) or not p.is_dir())
    ]
    if not found:
        raise ImageError(f"{folder}: holds no image; give a folder of PNG, JPEG or TIFF files")
    return sorted(found, key=lambda p: p.name)


def list_pairs(noisy_folder: Path, clean_folder: Path) -> list[tuple[Path, Path]]:
    """(noisy, clean) files of equal names, sorted by name.

    Raises
    ------
    ImageError
        If a folder is missing or empty, or an image has no partner.
    """
    noisy = {p.name: p for p in list_images(noisy_folder)}
    clean = {p.name: p for p in list_images(clean_folder)}
    lonely = sorted(noisy.keys() ^ clean.keys())
    if lonely:
        names = ", ".join(lonely[:3]) + (", ..." if len(lonely) > 3 else "")
        raise ImageError(
            f"{noisy_folder} and {clean_folder}: {len(lonely)} images are in one folder only "
            f"({names}); give two folders with the same file names"
        )
    return [(noisy[name], clean[name]) for name in noisy]


def read_image(path: Path, channels: int) -> Pixels:
    """A whole image (height, width, channels) without alpha, dtype as stored; colour becomes grey
    where one channel is asked for.

    Raises
    ------
    ImageError
        If it cannot be read, or has values that are not finite.
    """
    with closing(open_source(path)) as source:
        info = source.info
        pixels: Pixels = source.read((0, 0, 0), Box(0, 0, info.height, info.width))
    pixels = pixels[..., : info.samples - info.alpha]
    if channels == 1 and pixels.shape[-1] == RGB_SAMPLES:
        pixels = to_grey(pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError(f"{path}: has NaN or infinite values, which cannot be compared")
    return pixels


def to_grey(pixels: Pixels) -> Pixels:
    """RGB (h, w, 3) -> grey (h, w, 1) of the same dtype, as MATLAB's rgb2gray; integers rounded."""
    grey = (pixels @ LUMA.astype(np.float64))[..., None]
    return to_dtype(grey, pixels.dtype)


def add_white_noise(clean: Pixels, sigma: int, seed: tuple[int, ...]) -> NDArray[np.float64]:
    """`clean` with Gaussian noise of standard deviation `sigma`, not clipped."""
    noisy: NDArray[np.float64] = clean + np.random.default_rng(seed).normal(0.0, sigma, clean.shape)
    return noisy


def check_image(path: Path, model: Model, least_px: int = WINDOW_PX) -> ImageInfo:
    """Metadata of an image that the model can be measured on; reads no pixel.

    least_px: height and width that it has at least.
    """
    with closing(open_source(path)) as source:
        info = source.info
    channels, samples = model.config.in_channels, info.samples - info.alpha
    if len(info.planes) > 1:
        raise ShapeError(
            f"{path}: has {len(info.planes)} planes in axes {info.axes}; give images of one plane"
        )
    if channels != samples and not (channels == 1 and samples == RGB_SAMPLES):
        raise ShapeError(
            f"{path}: model {model.name} takes {channels} channels, the image has {samples}; "
            f"{'use a mono model' if samples == 1 else f'give images of {channels} channels'}"
        )
    if min(info.height, info.width) < least_px:
        raise ShapeError(
            f"{path}: is {info.height} x {info.width} px, too small for SSIM; give images of at "
            f"least {least_px} x {least_px} px"
        )
    return info


def check_integers(info: ImageInfo, path: Path) -> None:
    """Refuse images without a full scale, which becomes 255: integers alone have one."""
    if info.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: is {info.dtype}; noise is added to uint8 or uint16 images")


def check_pair(noisy: ImageInfo, clean: ImageInfo, path: Path, affine: bool) -> None:
    sizes = [(i.height, i.width, i.samples - i.alpha) for i in (noisy, clean)]
    if sizes[0] != sizes[1]:
        raise ShapeError(f"{path}: is {sizes[0]}, its clean partner {sizes[1]}; give equal sizes")
    if noisy.dtype != clean.dtype and not affine:
        raise ShapeError(
            f"{path}: is {noisy.dtype}, its clean partner {clean.dtype}; fit gain and offset "
            f"(affine) to compare them"
        )
