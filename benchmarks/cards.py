"""Run the commands in the models' cards, and compare what they give with the cards' figures.

    python benchmarks/cards.py tiny-rgb --only Kodak24

Exit code 1 if a figure differs in its last digit. With `--update` the cards take what was found,
after a change that moves the figures of all models alike.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from unetmm.models.weights import Model, load_model, save_model, zoo_models

ROOT = Path(__file__).resolve().parent.parent


def regenerate(command: str) -> list[dict[str, Any]]:
    """The means of an evaluation, from the command line of a card."""
    program, *arguments = shlex.split(command)
    assert program == "unetmm", command
    full = [sys.executable, "-m", "unetmm_cli", *arguments, "--json"]
    done = subprocess.run(full, capture_output=True, text=True, check=True, cwd=ROOT)
    means: list[dict[str, Any]] = json.loads(done.stdout)["means"]
    return means


def figures(means: list[dict[str, Any]], measure: str, style: str) -> str:
    """Means as cards have them: one figure a noise level, or before and after."""
    restored = " / ".join(format(m[measure], style) for m in means)
    if means[0]["sigma"] is not None:
        return restored
    before = measure.replace("psnr_db", "psnr_before_db").replace("ssim", "ssim_before")
    return f"{format(means[0][before], style)} -> {restored}"


def measure(model: Model, name: str) -> tuple[str, str]:
    """PSNR and SSIM of one set, shown beside those of the card."""
    started = time.monotonic()
    means = regenerate(model.card["quality_commands"][name])
    found = f"{figures(means, 'psnr_db', '.2f')} dB", figures(means, "ssim", ".4f")
    told = told_figures(model, name)
    verdict = "as in the card" if found == told else f"the card has {told[0]}, {told[1]}"
    seconds = time.monotonic() - started
    print(f"{model.name} {name}: {found[0]}, {found[1]}: {verdict} ({seconds:.0f} s)", flush=True)
    return found


def told_figures(model: Model, name: str) -> tuple[str, str]:
    """PSNR and SSIM of one set in the card."""
    return model.card["quality"][name], model.card["quality_ssim"][name]


def update(model: Model, found: dict[str, tuple[str, str]]) -> None:
    """Write the weight file anew with these figures in its card."""
    card = dict(model.card)
    card["quality"] = card["quality"] | {name: psnr for name, (psnr, _) in found.items()}
    card["quality_ssim"] = card["quality_ssim"] | {name: ssim for name, (_, ssim) in found.items()}
    save_model(zoo_models()[model.name], model.config, model.tensors, card)


def main() -> int:
    """Regenerate the figures of some models, or of all."""
    parser = argparse.ArgumentParser(prog="cards.py")
    parser.add_argument("models", nargs="*", default=sorted(zoo_models()))
    parser.add_argument("--only", help="the set with this name")
    parser.add_argument("--update", action="store_true", help="write what was found into the card")
    arguments = parser.parse_args()
    is_same = True
    for model in map(load_model, arguments.models):
        names = [s for s in model.card["quality"] if arguments.only in (None, s)]
        found = {name: measure(model, name) for name in names}
        differing = {n: f for n, f in found.items() if f != told_figures(model, n)}
        is_same = is_same and not differing
        if differing and arguments.update:
            update(model, differing)
    return 0 if is_same or arguments.update else 1


if __name__ == "__main__":
    sys.exit(main())
