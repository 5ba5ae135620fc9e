"""A finished run as a weight file: averaged weights, and a card with its figures measured here.

    python -m unetmm.train.export training/tiny-rgb.toml --folder runs/tiny-rgb \\
        -o weights/tiny-rgb.safetensors --evaluate CBSD68=../shared/data/eval/cbsd68

A folder with noisy/ and clean/ in it is measured as pairs.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from unetmm.errors import WeightsError
from unetmm.models.weights import Model, save_model
from unetmm.nets.shapes import macs_per_px, parameter_count
from unetmm.quality.evaluate import SIGMAS, evaluate, evaluate_pairs
from unetmm.quality.scores import Evaluation
from unetmm.quality.testsets import pair_folders
from unetmm.train.checkpoint import check_same_run, load_checkpoint
from unetmm.train.config import TrainConfig, load_train_config
from unetmm.train.history import log_path, read_rows, total_seconds


def export(
    config: TrainConfig,
    folder: Path,
    output: Path,
    test_sets: dict[str, Path],
    affine: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Write the averaged weights of a run with a filled card, which is returned.

    Parameters
    ----------
    test_sets : name -> folder of clean images, or with noisy/ and clean/ in it.
    affine : fit the clean images of pairs by gain and offset.
    command : that trained the run; that of the zoo's runs if not given.

    Raises
    ------
    WeightsError
        If the run has no checkpoint.
    ResumeError
        If its checkpoint is damaged, or of other data than the config's.
    """
    found = load_checkpoint(folder)
    if found is None:
        raise WeightsError(f"{folder}: no checkpoint of {config.name}; train it first")
    check_same_run(folder, config)
    step, states = found
    tensors = {k: v.float().numpy() for k, v in states["ema"].items()}
    card = make_card(config, folder, step, command)
    model = Model(config.name, config.net, card, None, tensors)
    card |= _quality(model, test_sets, affine)
    save_model(output, config.net, tensors, card)
    return card


def _quality(model: Model, test_sets: dict[str, Path], affine: bool) -> dict[str, Any]:
    """Measured figures and how they were measured, as entries of the card."""
    found: dict[str, Evaluation] = {}
    for name, path in test_sets.items():
        pairs = pair_folders(path)
        found[name] = evaluate_pairs(model, *pairs, affine) if pairs else evaluate(model, path)
    if not found:
        return {}
    levels = " / ".join(str(sigma) for sigma in SIGMAS)
    if model.task in DEGRADED:
        return _quality_of_task(model, test_sets, found)
    protocols = {
        "folders of clean images": f"white Gaussian noise, sigma {levels} of 255, neither clipped "
        f"nor rounded, level unknown to the model",
        "pairs": "real noise, noisy -> restored"
        + (", clean fitted to noisy by gain and offset" if affine else ""),
    }
    kinds = {"pairs" if e.seed is None else "folders of clean images" for e in found.values()}
    return {
        "quality": {name: f"{_figures(e, 'psnr', '.2f')} dB" for name, e in found.items()},
        "quality_ssim": {name: _figures(e, "ssim", ".4f") for name, e in found.items()},
        "quality_protocol": "; ".join(f"{k}: {protocols[k]}" for k in sorted(kinds))
        + "; PSNR over all pixels and channels",
        "quality_commands": {
            name: f"unetmm evaluate {model.name} {shlex.quote(str(test_sets[name]))}"
            + (" --affine" if affine and e.seed is None else "")
            for name, e in found.items()
        },
    }


DEGRADED = {
    "upscale": "made small by bicubic interpolation, 8 bits, PSNR of brightness Y without a border "
    "as wide as the scale: bicubic interpolation -> the model",
    "deblur": "blurred by a Gaussian of 1 and 1.6 px, a disk of radius 1.5 and 3 px, a motion of "
    "9 px, noise of 1 of 255, 8 bits, PSNR without a border: blurred -> the model",
}
"""Task -> how its models are measured."""


def _quality_of_task(
    model: Model, test_sets: dict[str, Path], found: dict[str, Evaluation]
) -> dict[str, Any]:
    """The same entries of a model that does something else than to denoise."""
    return {
        "quality": {name: f"{_figures(e, 'psnr', '.2f')} dB" for name, e in found.items()},
        "quality_ssim": {name: _figures(e, "ssim", ".4f") for name, e in found.items()},
        "quality_protocol": DEGRADED[model.task],
        "quality_commands": {
            name: f"unetmm evaluate {model.name} {shlex.quote(str(test_sets[name]))}"
            for name in found
        },
    }


def _figures(evaluation: Evaluation, measure: str, style: str) -> str:
    """One figure a noise level; for pairs, before and after."""
    before, after = ("psnr_before_db", "psnr_db") if measure == "psnr" else ("ssim_before", "ssim")
    restored = " / ".join(format(getattr(m, after), style) for m in evaluation.means)
    if evaluation.seed is not None:
        return restored
    return f"{format(getattr(evaluation.means[0], before), style)} -> {restored}"


def make_card(config: TrainConfig, folder: Path, step: int, command: str = "") -> dict[str, Any]:
    """Card of a model for its users: from its config, its log and its config's [card]."""
    return {
        **config.card,
        "data": list(config.data),
        "noise": config.noise.describe(),
        "steps": step,
        "planned_steps": config.steps,
        "stages": [f"from {s.start:.0%}: {s.batch} x {s.patch_px} px" for s in config.stages],
        "seed": config.seed,
        **({"started_from": config.init} if config.init else {}),
        **({"local": "constants in place of attention"} if config.local else {}),
        **({"drawn_share": config.drawn_share} if config.drawn_share else {}),
        **({"made_small_by": _reduced_by(config)} if config.net.output_scale > 1 else {}),
        "training_hours": round(total_seconds(read_rows(log_path(folder))) / 3600, 2),
        "parameters": parameter_count(config.net),
        "kmac_per_px": round(macs_per_px(config.net) / 1000, 1),
        "training_command": command
        or f"python -m unetmm.train training/{config.name}.toml --folder runs/{config.name}",
    }


def _reduced_by(config: TrainConfig) -> str:
    """How images were made small for a net that enlarges."""
    share = config.noise.averaged_share
    averaged = f"averaging in {share:.0%} of the patches, else " if share else ""
    return f"{averaged}bicubic interpolation"


def main() -> int:
    """Export one run."""
    parser = argparse.ArgumentParser(prog="python -m unetmm.train.export")
    parser.add_argument("config", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--evaluate", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--affine", action="store_true", help="fit clean images of pairs")
    arguments = parser.parse_args()
    sets = {name: Path(path) for name, path in (s.split("=", 1) for s in arguments.evaluate)}
    card = export(
        load_train_config(arguments.config),
        arguments.folder,
        arguments.output,
        sets,
        arguments.affine,
    )
    for name, figures in card.get("quality", {}).items():
        sys.stdout.write(f"{name}: {figures}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
