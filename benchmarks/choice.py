"""Which model `auto` takes for test images, and what a wrong choice costs.

    python benchmarks/choice.py --cases CASES --images 6 --only CC15

Each image is restored by every candidate, and the loss is that of the chosen one against the best
of them for this image, in dB. Sets are those of `real_noise.py`; white noise is rounded and clipped
to 8 bits, as files have it. The table goes to the standard output.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from real_noise import ROOT, SETS, SIGMAS, Places, TestSet

from unetmm.io.array import ArraySource, array_info
from unetmm.models.choice import candidate_names
from unetmm.options import Options
from unetmm.quality.evaluate import score_pair
from unetmm.quality.metrics import PEAK
from unetmm.quality.testsets import Pixels, read_image
from unetmm.run.loaded import Loaded
from unetmm.run.model import settle
from unetmm.run.of_array import restore_array


@dataclass(frozen=True)
class Found:
    """What `auto` took for one image, and how each candidate does."""

    image: str
    chosen: str
    reason: str
    psnr_db: dict[str, float]

    @property
    def loss_db(self) -> float:
        """What the choice costs against the best."""
        return max(self.psnr_db.values()) - self.psnr_db[self.chosen]


def images_of(test_set: TestSet, places: Places) -> Iterator[tuple[str, str, Pixels, Pixels]]:
    """Name of the set, of the image, and the noisy and the clean image of each."""
    channels = 1 if test_set.channels == "mono" else 3
    for path in places.images(test_set):
        if test_set.kind in ("pairs", "affine"):
            noisy = read_image(path, channels)
            clean = read_image(path.parent.parent / "clean" / path.name, channels)
            yield test_set.name, path.stem, noisy, clean
            continue
        clean = read_image(path, channels)
        for sigma in SIGMAS if test_set.kind == "white" else (0,):
            white = np.random.default_rng(sigma).standard_normal(clean.shape)
            noisy = np.clip(np.rint(clean + sigma * white), 0, PEAK).astype(np.uint8)
            name = f"{test_set.name} {sigma}" if sigma else test_set.name
            yield name, path.stem, noisy, clean


def look(name: str, noisy: Pixels, clean: Pixels, affine: bool) -> Found:
    """Choose for one image, and restore it by every candidate."""
    info, loaded = array_info(noisy.shape, noisy.dtype, "YXS"), Loaded()
    options = settle(Options(workers=1), ArraySource(noisy, info), loaded)
    assert options.choice is not None, "it was to be chosen"
    scores = {}
    for model in candidate_names(None, info):
        chosen = Options(model=model, workers=1, dtype="float32")
        restored = restore_array(noisy, chosen, "YXS").astype(np.float64)
        case = score_pair(Path(name), noisy, clean, affine, lambda _, found=restored: found)
        scores[model] = case.score.psnr_db
    return Found(name, options.choice.model, options.choice.reason, scores)


def main() -> int:
    """Look at the images of all sets and show a table."""
    parser = argparse.ArgumentParser(prog="choice.py")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cases", type=Path, help="folder of correlated pairs")
    parser.add_argument("--only", help="sets whose name has this in it")
    parser.add_argument("--images", type=int, default=6, help="of each set, at most")
    parser.add_argument("--all", action="store_true", help="all images of each set")
    arguments = parser.parse_args()
    places = Places(arguments.data, arguments.cases, None if arguments.all else arguments.images)
    found: dict[str, list[Found]] = {}
    for test_set in SETS:
        if test_set.kind in ("halves", "drawn") or (
            arguments.only and arguments.only.lower() not in test_set.name.lower()
        ):
            continue
        for group, name, noisy, clean in images_of(test_set, places):
            one = look(name, noisy, clean, test_set.kind == "affine")
            found.setdefault(group, []).append(one)
            print(".", end="", file=sys.stderr, flush=True)
    print(f"\n{table(found)}")
    for group, ones in found.items():
        for one in ones:
            if one.loss_db > 0.1:
                scores = ", ".join(f"{k} {v:.2f}" for k, v in one.psnr_db.items())
                print(f"{group} {one.image}: {one.chosen}, {one.reason} ({scores})")
    return 0


def table(found: dict[str, list[Found]]) -> str:
    """A row for each set: PSNR of each candidate and of the choice, and what was chosen."""
    lines = ["| set | images | each candidate | `auto` | best of each image | chosen |"]
    lines.append("|---|---|---|---|---|---|")
    for group, ones in found.items():
        names = list(ones[0].psnr_db)
        each = ", ".join(f"{n} {np.mean([o.psnr_db[n] for o in ones]):.2f}" for n in names)
        taken = np.mean([o.psnr_db[o.chosen] for o in ones])
        best = np.mean([max(o.psnr_db.values()) for o in ones])
        counts = ", ".join(f"{n} {c}" for n, c in Counter(o.chosen for o in ones).items())
        lines.append(f"| {group} | {len(ones)} | {each} | {taken:.2f} | {best:.2f} | {counts} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
