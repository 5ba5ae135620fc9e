"""NAFNet against UNet-- of the same body, data, steps and seeds, written up as a page.

    python training/compare_skips.py --folder runs/compare

Six runs, one after the other, each resumable to the step: killed and started again, the script
goes on where it was. The page is written anew after every finished run, so it is always as whole
as the runs are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unetmm.evaluate import SIGMAS, evaluate
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import macs_per_px, parameter_count
from unetmm.sizes import format_size
from unetmm.stream.footprint import skip_bytes, stream_bytes
from unetmm.stream.lanes import LANES
from unetmm.stream.layout import make_layout
from unetmm.train.config import TrainConfig, load_train_config
from unetmm.train.loop import Progress, Trainer
from unetmm.weights import Model

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (1, 2, 3)
TEST_SETS = ("kodak24", "mcmaster")
STRIP_PX, BAND_ROWS = 4096, 16
"""Strip width and band rows of the planned memory."""


@dataclass(frozen=True)
class Run:
    """One net of one seed."""

    kind: str
    seed: int
    config: TrainConfig

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}"


def all_runs(base: TrainConfig) -> list[Run]:
    """Seed by seed, so that the two kinds can be compared as early as possible."""
    nets = {"nafnet": base.net.with_plain_skips(), "unetmm": base.net.with_aggregate()}
    return [
        Run(kind, seed, replace(base, name=f"{kind}-{seed}", net=net, seed=seed))
        for seed in SEEDS
        for kind, net in nets.items()
    ]


def train(run: Run, folder: Path, deadline: Iterator[float | None]) -> Trainer | None:
    """A finished run, or None if its time ended first."""
    trainer = Trainer(run.config, folder / run.name)

    def report(p: Progress) -> None:
        line = f"{run.name}: step {p.step}/{p.steps}  {p.psnr_db:.2f} dB  {p.seconds:.0f} s\n"
        sys.stderr.write(line)

    done = trainer.run(report, every=200, limit_s=next(deadline))
    return trainer if done else None


def measure(run: Run, trainer: Trainer, data: Path) -> dict[str, Any]:
    """PSNR on the test sets, {set: [dB a sigma]}."""
    tensors = {k: v.float().numpy() for k, v in trainer.ema.items()}
    model = Model(run.name, run.config.net, {}, None, tensors)
    return {s: [m.psnr_db for m in evaluate(model, data / s).means] for s in TEST_SETS}


def page(runs: list[Run], results: dict[str, Any]) -> str:
    """The write-up as Markdown."""
    base = runs[0].config
    nets = {run.kind: run.config.net for run in runs}
    finished = {kind: [r for r in runs if r.kind == kind and r.name in results] for kind in nets}
    seeds = " and ".join(f"{len(f)} of {len(SEEDS)} {kind}" for kind, f in finished.items())
    lines = [
        "# UNet-- against NAFNet",
        "",
        f"The same body (width {base.net.width}), data, steps ({base.steps:,} of "
        f"{base.stages[0].batch} x {base.stages[0].patch_px} px) and seeds; white Gaussian noise, "
        f"sigma 0 to {base.noise.sigma_max:g}, one blind model each. Runs finished: {seeds}. "
        f"`python training/compare_skips.py --folder runs/compare` makes this page.",
        "",
        "## Quality",
        "",
        f"PSNR in dB at sigma {' / '.join(map(str, SIGMAS))}, averaged weights: mean over the "
        f"seeds and, after +-, half the range between the best and the worst seed.",
        "",
        "| net | " + " | ".join(TEST_SETS) + " |",
        "|---" * (1 + len(TEST_SETS)) + "|",
        *(_quality_row(kind, finished[kind], results) for kind in nets if finished[kind]),
        "",
        "## Cost",
        "",
        "| net | parameters | kMAC/px | kept for the decoder, floats/px | stream, "
        f"{STRIP_PX} px wide | of it skips |",
        "|---|---|---|---|---|---|",
        *(_cost_row(kind, net) for kind, net in nets.items()),
        "",
        f"The stream is what one strip of {STRIP_PX} px holds in bands of {BAND_ROWS} rows.",
    ]
    return "\n".join(lines) + "\n"


def _quality_row(kind: str, finished: list[Run], results: dict[str, Any]) -> str:
    cells = []
    for test_set in TEST_SETS:
        by_sigma = zip(*(results[r.name][test_set] for r in finished), strict=True)
        cells.append(" / ".join(_spread(list(values)) for values in by_sigma))
    return f"| {kind} | " + " | ".join(cells) + " |"


def _spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.2f} +- {(max(values) - min(values)) / 2:.2f}"


def _cost_row(kind: str, net: NetConfig) -> str:
    layout = make_layout(net, BAND_ROWS)
    stream, skip = stream_bytes(layout, STRIP_PX, LANES), skip_bytes(layout, STRIP_PX, LANES)
    return (
        f"| {kind} | {parameter_count(net):,} | {macs_per_px(net) / 1000:.1f} | "
        f"{float(net.skip_floats_per_px):g} | {format_size(stream)} | {format_size(skip)} |"
    )


def write_aside(path: Path, text: str) -> None:
    """Replace a file at once."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def main() -> int:
    """Train and measure what is missing; exit code 75 when the time limit came first."""
    parser = argparse.ArgumentParser(prog="compare_skips.py")
    parser.add_argument("--folder", type=Path, required=True, help="checkpoints and results")
    parser.add_argument("--config", type=Path, default=ROOT / "training" / "compare.toml")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "unetmm-vs-nafnet.md")
    parser.add_argument("--limit-s", type=float, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    stored = arguments.folder / "results.json"
    results: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    runs = all_runs(load_train_config(arguments.config))
    deadline = time_left(arguments.limit_s)
    for run in runs:
        if run.name in results:
            continue
        trainer = train(run, arguments.folder, deadline)
        if trainer is None:
            return 75
        results[run.name] = measure(run, trainer, arguments.data)
        write_aside(stored, json.dumps(results, indent=1))
        write_aside(arguments.page, page(runs, results))
    write_aside(arguments.page, page(runs, results))
    return 0


def time_left(limit_s: float | None) -> Iterator[float | None]:
    """Seconds left, each time it is asked; None without a limit."""
    start = time.monotonic()
    while True:
        yield None if limit_s is None else max(0.0, limit_s - (time.monotonic() - start))


if __name__ == "__main__":
    sys.exit(main())
