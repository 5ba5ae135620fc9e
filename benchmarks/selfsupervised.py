"""One noisy image, the same minutes: Noise2Void from random weights against `unetmm adapt`.

    OMP_NUM_THREADS=1 nice -n 10 python benchmarks/selfsupervised.py --minutes 3

Minutes are those of one core (CPU time of the process), so that a busy machine changes nothing but
the wall time. A finished run is a row of the CSV and is not done again; the table of
docs/howto/adapt.md between its two marks is made from the CSV.

Both learn by the same loss on the same blocks of the image; from random weights the learning rate
is higher (RATE, falling to 0 along a cosine over the minutes), and the average at the end is taken
as it is, as no estimate of the error tells such a net when to stop. The clean image serves for the
figures alone.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unetmm.io.open import open_source
from unetmm.models.weights import Model, load_model
from unetmm.nets.config import NetConfig
from unetmm.nets.nafnet import build_net
from unetmm.options import Options
from unetmm.quality.evaluate import model_on_stored, score_pair
from unetmm.quality.testsets import read_image
from unetmm.train.adapt import EMA_DECAY, LEAST_GAIN, AdaptOptions, adapt
from unetmm.train.blocks import BATCH, POOL, BlockReader
from unetmm.train.noise_measure import measure_noise
from unetmm.train.selfsupervised import blind_spot_loss

ROOT = Path(__file__).resolve().parent.parent
IMAGES = (
    "fmd/confocal_fish_3.png",
    "hagen/mito-confocal.png",
    "w2s/004_1.png",
    "hagen/actin-20x-noise1.png",
    "bacteria_u16/myxo.png",
)
STARTS = ("random", "tiny-mono", "micrograph-tiny")
RATE, WARM_UP_STEPS = 1e-3, 50
BEGIN, END = "<!-- benchmarks/selfsupervised.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """One image from one start."""

    image: str
    start: str
    noisy_db: float
    before_db: float
    """PSNR of the start as it is; of the noisy image where the start is random."""
    after_db: float
    kept: str
    """Answer to whether `unetmm adapt` would have written the net; empty for random weights."""
    steps: int
    best_step: int
    cpu_s: float
    ended_by: str


class CpuClock(threading.Event):
    """Set once the process has used so many seconds of CPU time from now on."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self.start, self.limit_s = time.process_time(), limit_s

    @property
    def share(self) -> float:
        return (time.process_time() - self.start) / self.limit_s

    def is_set(self) -> bool:
        return self.share >= 1


def from_random(noisy: Path, config: NetConfig, clock: CpuClock) -> tuple[Model, int]:
    """Noise2Void on one image with a fresh net, and its number of steps."""
    torch.manual_seed(0)
    net = build_net(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = build_net(config)
    average.load_state_dict(net.state_dict())
    with closing(open_source(noisy)) as source:
        reader = BlockReader(source, config, seed=0)
        stream = reader.training_blocks()
        size = min(POOL, len(reader.grid) - len(reader.held_out_indices))
        pool = np.stack([next(stream) for _ in range(size)])
    reach = measure_noise(np.concatenate([pool, reader.held_out])).reach
    optimiser = torch.optim.Adam(net.parameters(), RATE, (0.9, 0.99))
    rng, generator, steps = np.random.default_rng(0), torch.Generator().manual_seed(0), 0
    while not clock.is_set():
        rate = RATE * min(1.0, (steps + 1) / WARM_UP_STEPS)
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * min(1.0, clock.share)))
        batch = torch.from_numpy(_augmented(pool, rng)).to(memory_format=torch.channels_last)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = blind_spot_loss(net, batch, generator, reach)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        steps += 1
        decay = min(EMA_DECAY, steps / (steps + 10))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), net.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
    tensors = {k: v.detach().numpy().copy() for k, v in average.state_dict().items()}
    return Model("random", config, {}, None, tensors), steps


def _augmented(pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    batch = pool[rng.integers(len(pool), size=BATCH)]
    batch = np.rot90(batch, int(rng.integers(4)), (2, 3))
    return np.ascontiguousarray(batch[..., ::-1] if rng.random() < 0.5 else batch)


def measure(data: Path, image: str, start: str, minutes: float) -> Row:
    """Train from one start on one image, and compare with its clean partner."""
    folder, name = image.split("/")
    noisy = data / folder / "noisy" / name
    clock = CpuClock(60 * minutes)
    if start == "random":
        config = load_model("tiny-mono").config
        model, steps = from_random(noisy, config, clock)
        cpu_s = time.process_time() - clock.start
        noisy_db, after = _psnr(data, image, model)
        return Row(image, start, noisy_db, noisy_db, after, "", steps, steps, cpu_s, "time")
    shipped = load_model(start)
    options = AdaptOptions(model=shipped, minutes=1e6)
    with closing(open_source(noisy)) as source:
        found = adapt(source, shipped, options, stop=clock)
    cpu_s = time.process_time() - clock.start
    noisy_db, before = _psnr(data, image, shipped)
    _, after = _psnr(data, image, Model(start, shipped.config, {}, None, found.tensors))
    kept = "yes" if found.gain >= LEAST_GAIN else "no"
    ended = found.ended_by.replace("a signal", "time")
    return Row(
        image, start, noisy_db, before, after, kept, found.steps, found.best_step, cpu_s, ended
    )


def _psnr(data: Path, image: str, model: Model) -> tuple[float, float]:
    """(noisy, restored) in dB, by the protocol of `unetmm evaluate --affine`."""
    folder, name = image.split("/")
    noisy, clean = (read_image(data / folder / kind / name, 1) for kind in ("noisy", "clean"))
    restore = model_on_stored(model, noisy.dtype, Options(workers=1))
    score = score_pair(Path(name), noisy, clean, True, restore).score
    return score.psnr_before_db, score.psnr_db


def table(rows: list[Row], minutes: float) -> str:
    """One line an image that all starts are finished for."""
    by = {(row.image, row.start): row for row in rows}
    lines = [
        f"{minutes:g} minutes of one core each; PSNR in dB, clean image fitted by gain and offset.",
        "",
        "| image | noisy | N2V from random weights | `tiny-mono` as shipped | adapted (kept) | "
        "`micrograph-tiny` as shipped | adapted (kept) |",
        "|---|---|---|---|---|---|---|",
    ]
    for image in IMAGES:
        if not all((image, start) in by for start in STARTS):
            continue
        random, *adapted = (by[image, start] for start in STARTS)
        cells = [f"{random.noisy_db:.2f}", f"{random.after_db:.2f}"]
        for row in adapted:
            cells += [f"{row.before_db:.2f}", f"{row.after_db:.2f} ({row.kept})"]
        lines.append(f"| {image} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_summary(by)])


def _summary(by: dict[tuple[str, str], Row]) -> list[str]:
    """How far each way is ahead of Noise2Void from random weights."""
    images = [i for i in IMAGES if all((i, start) in by for start in STARTS)]
    if not images:
        return ["No image is finished yet."]
    random = [by[i, "random"].after_db for i in images]
    ways = {f"`{s}` as shipped": [by[i, s].before_db for i in images] for s in STARTS[1:]}
    ways |= {
        f"`{s}` after `unetmm adapt`": [
            row.after_db if row.kept == "yes" else row.before_db
            for row in (by[i, s] for i in images)
        ]
        for s in STARTS[1:]
    }
    lines = ["Against N2V from random weights (what was not kept counts as it was shipped):", ""]
    for way, values in ways.items():
        gains = [a - b for a, b in zip(values, random, strict=True)]
        lines.append(
            f"- {way}: {sum(gains) / len(gains):+.2f} dB on average, better on "
            f"{sum(g > 0 for g in gains)} of {len(gains)}"
        )
    return lines


def write_table(page: Path, text: str) -> None:
    """Replace what is between the marks."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """Runs finished so far."""
    if not path.exists():
        return []
    kinds = {"float": float, "int": int, "str": str}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(**{f.name: kinds[str(f.type)](line[f.name]) for f in fields(Row)})
            for line in csv.DictReader(file)
        ]


def write_rows(path: Path, rows: list[Row]) -> None:
    """Replace the CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: round(v, 4) if isinstance(v, float) else v
                             for k, v in asdict(row).items()})  # fmt: skip


def main() -> int:
    """Do the next runs that are missing."""
    parser = argparse.ArgumentParser(prog="selfsupervised.py")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/microscopy")
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "selfsupervised.csv")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "adapt.md")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=10**6, help="runs at most")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows(arguments.csv)
    done = {(row.image, row.start) for row in rows}
    missing = [(i, s) for i in IMAGES for s in STARTS if (i, s) not in done]
    for image, start in missing[: arguments.runs]:
        row = measure(arguments.data, image, start, arguments.minutes)
        rows.append(row)
        write_rows(arguments.csv, rows)
        print(row, flush=True)
    write_table(arguments.page, table(rows, arguments.minutes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
