"""Run the commands in the models' cards, and compare what they give with the cards' figures.

    python benchmarks/cards.py tiny-rgb --only Kodak24

Exit code 1 if a figure differs in its last digit.
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

from unetmm.weights import Model, load_model, zoo_models

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


def compare(model: Model, name: str) -> bool:
    """Show one set's figures beside those of the card."""
    started = time.monotonic()
    means = regenerate(model.card["quality_commands"][name])
    found = f"{figures(means, 'psnr_db', '.2f')} dB", figures(means, "ssim", ".4f")
    told = model.card["quality"][name], model.card["quality_ssim"][name]
    verdict = "as in the card" if found == told else f"the card has {told[0]}, {told[1]}"
    seconds = time.monotonic() - started
    print(f"{model.name} {name}: {found[0]}, {found[1]}: {verdict} ({seconds:.0f} s)", flush=True)
    return found == told


def main() -> int:
    """Regenerate the figures of some models, or of all."""
    parser = argparse.ArgumentParser(prog="cards.py")
    parser.add_argument("models", nargs="*", default=sorted(zoo_models()))
    parser.add_argument("--only", help="the set with this name")
    arguments = parser.parse_args()
    models = [load_model(name) for name in arguments.models]
    wanted = [(m, s) for m in models for s in m.card["quality"] if arguments.only in (None, s)]
    same = [compare(model, name) for model, name in wanted]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
