"""A finished run as a weight file: averaged weights, and a card with its figures measured here.

    python -m unetmm.train.export training/tiny-rgb.toml --folder runs/tiny-rgb \\
        -o weights/tiny-rgb.safetensors --evaluate CBSD68=../shared/data/eval/cbsd68
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from unetmm.errors import WeightsError
from unetmm.evaluate import SIGMAS, evaluate
from unetmm.nets.shapes import macs_per_px, parameter_count
from unetmm.train.checkpoint import load_checkpoint
from unetmm.train.config import TrainConfig, load_train_config
from unetmm.weights import Model, save_model


def export(
    config: TrainConfig, folder: Path, output: Path, test_sets: dict[str, Path]
) -> dict[str, Any]:
    """Write the averaged weights of a run with a filled card, which is returned.

    Raises
    ------
    WeightsError
        If the run has no checkpoint.
    """
    found = load_checkpoint(folder)
    if found is None:
        raise WeightsError(f"{folder}: no checkpoint of {config.name}; train it first")
    step, states = found
    tensors = {k: v.float().numpy() for k, v in states["ema"].items()}
    model = Model(config.name, config.net, {}, None, tensors)
    card = make_card(config, folder, step)
    means = {name: evaluate(model, path).means for name, path in test_sets.items()}
    levels = " / ".join(str(sigma) for sigma in SIGMAS)
    card["quality"] = {
        name: f"{' / '.join(f'{m.psnr_db:.2f}' for m in found)} dB" for name, found in means.items()
    }
    card["quality_ssim"] = {
        name: " / ".join(f"{m.ssim:.4f}" for m in found) for name, found in means.items()
    }
    card["quality_protocol"] = (
        f"white Gaussian noise, sigma {levels} of 255, neither clipped nor rounded, level unknown "
        f"to the model; PSNR over all pixels and channels"
    )
    card["quality_command"] = f"unetmm evaluate {config.name} FOLDER"
    save_model(output, config.net, tensors, card)
    return card


def make_card(config: TrainConfig, folder: Path, step: int) -> dict[str, Any]:
    """What a user should know of a model: from its config, its log and its config's [card]."""
    return {
        **config.card,
        "data": list(config.data),
        "noise": f"Gaussian, sigma 0 to {config.noise.sigma_max:g} of 255, not clipped; "
        f"Poisson-Gaussian in {config.noise.poisson_share:.0%} of the patches",
        "steps": step,
        "planned_steps": config.steps,
        "stages": [f"from {s.start:.0%}: {s.batch} x {s.patch_px} px" for s in config.stages],
        "seed": config.seed,
        "training_hours": round(_logged_seconds(folder) / 3600, 2),
        "parameters": parameter_count(config.net),
        "kmac_per_px": round(macs_per_px(config.net) / 1000, 1),
        "training_command": f"python -m unetmm.train training/{config.name}.toml "
        f"--folder runs/{config.name}",
    }


def _logged_seconds(folder: Path) -> float:
    """Wall time of all processes of a run; each starts its own clock."""
    log = folder.parent / f"{folder.name}.csv"
    if not log.exists():
        return 0.0
    total = previous = 0.0
    with log.open(newline="") as file:
        for _, _, seconds in csv.reader(file):
            elapsed = float(seconds)
            total += elapsed - previous if elapsed >= previous else elapsed
            previous = elapsed
    return total


def main() -> int:
    """Export one run."""
    parser = argparse.ArgumentParser(prog="python -m unetmm.train.export")
    parser.add_argument("config", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--evaluate", nargs="*", default=[], metavar="NAME=FOLDER")
    arguments = parser.parse_args()
    sets = {name: Path(path) for name, path in (s.split("=", 1) for s in arguments.evaluate)}
    card = export(load_train_config(arguments.config), arguments.folder, arguments.output, sets)
    for name, figures in card["quality"].items():
        sys.stdout.write(f"{name}: {figures}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
