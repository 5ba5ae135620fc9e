"""UNet-- against ordinary skips, and what of it does what, trained here and written up as a page.

    python training/compare_skips.py                          # whatever is missing, then the page
    python training/compare_skips.py --sections ablations bodies
    python training/compare_skips.py --page-only

One run after the other, each resumable to the step: killed and started again, the script goes on
where it was. Page and plot are written anew after every finished run and say what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_page import page
from compare_plot import plot
from numpy.typing import NDArray

from unetmm.models.weights import Model, load_model
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.quality.evaluate import Restore, evaluate
from unetmm.train.config import TrainConfig, load_train_config
from unetmm.train.loop import Trainer, TrainingProgress

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (1, 2, 3)
SHORT_STEPS = 3000
"""Steps of all runs but the seeds; each section compares runs of one length."""
TEST_SETS = ("kodak24", "mcmaster")
STATISTICS = {"tiny-rgb": "kodak24", "tiny-mono": "set12"}
"""Models of the zoo measured with frozen and with global channel attention, and on which set."""
FOLDERS = {"seeds": "compare", "ablations": "ablate", "bodies": "ablate", "statistics": "ablate"}
"""Sections, and where their runs lie."""

Results = dict[str, Any]
"""Figures in dB, one a sigma: run -> {test set -> [...]}, or zoo model -> {"frozen" and "global" ->
[...]}."""


@dataclass(frozen=True)
class Run:
    """One net of one seed."""

    section: str
    kind: str
    """Kind of the run; runs that differ in the seed alone are of one kind."""
    told: str
    """Name of the run on the page."""
    config: TrainConfig
    in_plot: bool = True

    @property
    def name(self) -> str:
        return self.config.name


def all_runs(base: TrainConfig) -> list[Run]:
    """Runs of all sections, section by section; others are compared with the first of a section."""
    return [*_seed_runs(base), *_ablations(base), *_bodies(base)]


def _seed_runs(base: TrainConfig) -> list[Run]:
    """Seed by seed, so that the two kinds can be compared as early as possible."""
    nets = {"nafnet": base.net.with_plain_skips(), "unetmm": base.net.with_aggregate()}
    return [
        Run("seeds", k, k, replace(base, name=f"{k}-{seed}", net=net, seed=seed))
        for seed in SEEDS
        for k, net in nets.items()
    ]


def _short(base: TrainConfig, section: str, name: str, told: str, net: NetConfig) -> Run:
    config = replace(base, name=name, net=net, seed=SEEDS[0], steps=SHORT_STEPS)
    return Run(section, name, told, config)


def _ablations(base: TrainConfig) -> list[Run]:
    """UNet-- first, the plain net second, then UNet-- with one thing changed."""
    ours = base.net.with_aggregate()
    e = ours.aggregate
    assert e is not None
    none = (0,) * ours.levels
    changed: list[tuple[str, str, AggregateConfig | None]] = [
        ("unetmm", "UNet--", e),
        ("nafnet", "ordinary skips", None),
        ("scale-2", "E' at 1/2", replace(e, scale=2, channels=e.channels // 4)),
        ("scale-8", "E' at 1/8", replace(e, scale=8, channels=e.channels * 4)),
        ("no-blocks", "no enhancing blocks", replace(e, enhance_blocks=none)),
        ("no-image", "finest IEM without the image", replace(e, reads_image=False)),
        ("half", "half of E'", replace(e, channels=e.channels // 2)),
        ("twice", "twice E'", replace(e, channels=e.channels * 2)),
    ]
    runs = [
        _short(base, "ablations", name, told, replace(ours, aggregate=aggregate))
        for name, told, aggregate in changed
    ]
    # Far below the others, it would press them into one line of the plot.
    return [replace(r, in_plot=r.kind != "no-image") for r in runs]


def _bodies(base: TrainConfig) -> list[Run]:
    """The plain U-Net first, then MSIAM and IEM on it."""
    levels = base.net.levels
    blocks = {"encoder_blocks": (1,) * levels, "decoder_blocks": (1,) * levels}
    plain = replace(base.net.with_plain_skips(), body="unet", middle_blocks=1, **blocks)
    aggregate = base.net.with_aggregate().aggregate
    assert aggregate is not None
    bare = replace(aggregate, enhance_blocks=(0,) * levels)
    changed = [
        ("unet", "U-Net", None),
        ("unet-bare", "U-Net as UNet--, no enhancing blocks", bare),
        ("unet-unetmm", "U-Net as UNet--", aggregate),
    ]
    return [
        _short(base, "bodies", name, told, replace(plain, aggregate=chosen))
        for name, told, chosen in changed
    ]


def train(run: Run, folder: Path, deadline: Iterator[float | None]) -> Trainer | None:
    """A finished run, or None if its time ended first."""
    trainer = Trainer(run.config, folder / run.name)

    def report(p: TrainingProgress) -> None:
        line = f"{run.name}: step {p.step}/{p.steps}  {p.psnr_db:.2f} dB  {p.seconds:.0f} s\n"
        sys.stderr.write(line)

    done = trainer.run(report, every=200, limit_s=next(deadline))
    return trainer if done else None


def measure(run: Run, trainer: Trainer, data: Path) -> dict[str, list[float]]:
    """PSNR on the test sets, {set: [dB a sigma]}."""
    tensors = {k: v.float().numpy() for k, v in trainer.ema.items()}
    model = Model(run.name, run.config.net, {}, None, tensors)
    return {s: [m.psnr_db for m in evaluate(model, data / s).means] for s in TEST_SETS}


def measure_statistics(name: str, data: Path) -> dict[str, list[float]]:
    """A model of the zoo with its channel attention frozen by calibration, and taken globally."""
    model, folder = load_model(name), data / STATISTICS[name]
    ways = {"frozen": None, "global": of_whole_image(model)}
    found = {way: evaluate(model, folder, restore=r) for way, r in ways.items()}
    return {way: [m.psnr_db for m in evaluation.means] for way, evaluation in found.items()}


def of_whole_image(model: Model) -> Restore:
    """A model's reference forward: whole images of 0 to 255, channel attention by their means."""
    net = model.net

    def restore(noisy: NDArray[np.float64]) -> NDArray[np.float64]:
        x = torch.from_numpy((noisy / 255).astype(np.float32)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            out = net(x.contiguous(memory_format=torch.channels_last))[0]
        return np.asarray(out.permute(1, 2, 0).numpy(), np.float64) * 255

    return restore


def load_results(runs_folder: Path) -> Results:
    """What has been measured, of all sections."""
    found: Results = {}
    for folder in dict.fromkeys(FOLDERS.values()):
        path = runs_folder / folder / "results.json"
        found |= json.loads(path.read_text()) if path.exists() else {}
    return found


def store(folder: Path, name: str, measured: dict[str, list[float]]) -> None:
    """Add to a folder's results, which another process may have added to as well."""
    path = folder / "results.json"
    results: Results = json.loads(path.read_text()) if path.exists() else {}
    write_aside(path, json.dumps({**results, name: measured}, indent=1))


def write_page(path: Path, runs: Sequence[Run], results: Results) -> None:
    """The page, and beside it the plot it shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = path.with_suffix(".svg")
    write_aside(picture, plot(runs, results))
    write_aside(path, page(runs, results, tuple(STATISTICS.items()), picture.name))


def write_aside(path: Path, text: str) -> None:
    """Replace a file at once."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def time_left(limit_s: float | None) -> Iterator[float | None]:
    """Seconds left, each time it is asked; None without a limit."""
    start = time.monotonic()
    while True:
        yield None if limit_s is None else max(0.0, limit_s - (time.monotonic() - start))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="compare_skips.py")
    parser.add_argument("--sections", nargs="+", choices=FOLDERS, default=list(FOLDERS))
    parser.add_argument("--page-only", action="store_true", help="train and measure nothing")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="checkpoints and results")
    parser.add_argument("--config", type=Path, default=ROOT / "training" / "compare.toml")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "unetmm-vs-nafnet.md")
    parser.add_argument("--steps", type=int, default=None, help="of every run, for a trial")
    parser.add_argument("--limit-s", type=float, default=None)
    return parser.parse_args()


def main() -> int:
    """Train and measure what is missing; exit code 75 when the time limit came first."""
    arguments = parse()
    torch.set_num_threads(1)
    runs = all_runs(load_train_config(arguments.config))
    if arguments.steps is not None:
        runs = [replace(r, config=replace(r.config, steps=arguments.steps)) for r in runs]
    deadline = time_left(arguments.limit_s)
    todo = [] if arguments.page_only else arguments.sections
    folders = {section: arguments.runs / folder for section, folder in FOLDERS.items()}
    for section in todo:
        folders[section].mkdir(parents=True, exist_ok=True)
    for name in STATISTICS if "statistics" in todo else ():
        if name not in load_results(arguments.runs):
            store(folders["statistics"], name, measure_statistics(name, arguments.data))
    for run in runs:
        if run.section not in todo or run.name in load_results(arguments.runs):
            continue
        trainer = train(run, folders[run.section], deadline)
        if trainer is None:
            return 75
        store(folders[run.section], run.name, measure(run, trainer, arguments.data))
        write_page(arguments.page, runs, load_results(arguments.runs))
    write_page(arguments.page, runs, load_results(arguments.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
