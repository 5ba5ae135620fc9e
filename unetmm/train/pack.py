"""Decoded training images in one file, for machines without image libraries.

    python -m unetmm.train.pack training/small-rgb.toml -o runs/packs/small-rgb.safetensors
    python -m unetmm.train training/small-rgb.toml --folder runs/small-rgb \\
        --pack runs/packs/small-rgb.safetensors

The second command needs torch, numpy and safetensors only, and gives the same weights as training
on the folders.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.train.config import TrainConfig, load_train_config
from unetmm.train.images import data_groups, load_images

Images = list[NDArray[np.uint8]]


def save_pack(config: TrainConfig, path: Path) -> list[Images]:
    """Write all images of a run into one file, which appears whole or not at all.

    Returns the images, by group of folders as `data_groups` has them.

    Raises
    ------
    ImageError
        If a folder holds no image.
    """
    from safetensors.numpy import save_file

    groups = [
        load_images(folders, config.net.in_channels, config.exclude)
        for folders in data_groups(config)
    ]
    tensors = {
        f"{g:02}.{i:06}": image for g, images in enumerate(groups) for i, image in enumerate(images)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    try:
        save_file(tensors, aside, {"unetmm.pack": _contents(config)})
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return groups


def load_pack(config: TrainConfig, path: Path) -> list[Images]:
    """The images of a run, by group, as they were packed.

    Raises
    ------
    ImageError
        If the file is no pack, or one of other data.
    """
    from safetensors import SafetensorError, safe_open

    groups: list[Images] = [[] for _ in data_groups(config)]
    try:
        with safe_open(path, "numpy") as file:
            contents = (file.metadata() or {}).get("unetmm.pack")
            if contents != _contents(config):
                raise ImageError(
                    f"{path}: holds other images than {config.name} asks for; pack them anew with "
                    f"python -m unetmm.train.pack"
                )
            for name in sorted(file.keys()):
                groups[int(name.split(".")[0])].append(file.get_tensor(name))
    except (OSError, SafetensorError) as error:
        raise ImageError(f"{path}: is no pack of training images ({error})") from error
    return groups


def _contents(config: TrainConfig) -> str:
    """What decides which images are in a pack, and in which order."""
    return json.dumps([data_groups(config), list(config.exclude), config.net.in_channels])


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack the images of one training config."""
    parser = argparse.ArgumentParser(prog="python -m unetmm.train.pack")
    parser.add_argument("config", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    groups = save_pack(load_train_config(chosen.config), chosen.output)
    size = chosen.output.stat().st_size
    count = sum(len(images) for images in groups)
    sys.stdout.write(f"{chosen.output}: {count} images, {size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
