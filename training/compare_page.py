"""The write-up of `compare_skips.py` as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Protocol

from unetmm.calibrate.patches import PATCH_PX, PATCHES, WHOLE_PX
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.footprint import skip_bytes, stream_bytes
from unetmm.engine.layouts import make_layout
from unetmm.nets.config import NetConfig, nafnet32_config
from unetmm.nets.shapes import macs_per_px, parameter_count
from unetmm.quality.evaluate import SIGMAS
from unetmm.sizes import format_size
from unetmm.train.config import TrainConfig

TEST_SETS = {"kodak24": "Kodak24", "mcmaster": "McMaster"}
STRIP_PX, BAND_ROWS = 4096, 16
"""Strip width and band rows of the planned memory."""

Results = dict[str, Any]


class Run(Protocol):
    """What the page reads of a run; see compare_skips.Run."""

    @property
    def section(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def told(self) -> str: ...
    @property
    def config(self) -> TrainConfig: ...
    @property
    def in_plot(self) -> bool: ...
    @property
    def name(self) -> str: ...


def page(
    runs: Sequence[Run], results: Results, zoo: Sequence[tuple[str, str]], picture: str
) -> str:
    """All sections; what is not measured yet is named as missing."""
    sections = {s: [r for r in runs if r.section == s] for s in ("seeds", "ablations", "bodies")}
    lines = [
        *_opening(runs, results, [name for name, _ in zoo]),
        *_seeds(sections["seeds"], results),
        *_cost([sections["seeds"][0].config.net, sections["seeds"][1].config.net]),
        *_plot(picture),
        *_short(sections["ablations"], results, "Ablations", ABLATIONS),
        *_short(sections["bodies"], results, "Another body", BODIES),
        *_statistics(zoo, results),
    ]
    return "\n".join(lines) + "\n"


ABLATIONS = (
    "UNet-- with one thing changed. E' at 1/2, 1/4 and 1/8 holds the same number of floats, in "
    "fewer or more channels. The last two change its size."
)
BODIES = (
    "MSIAM and IEM on a plain U-Net: double 3x3 convolutions with ReLU, max-pooling, transposed "
    "convolutions, skips concatenated; as UNet-- the expanded maps take the place of the skips. An "
    "enhancing block is a double convolution here. This body has no row stream, and is measured "
    "by forwards on whole images."
)


def _opening(runs: Sequence[Run], results: Results, zoo: list[str]) -> list[str]:
    base = runs[0].config
    stage = base.stages[0]
    missing = [n for n in [*(r.name for r in runs), *zoo] if n not in results]
    return [
        "# UNet-- against NAFNet",
        "",
        f"Nets {base.net.width} channels wide, trained alike: {stage.batch} crops of "
        f"{stage.patch_px} px a step, white Gaussian noise of sigma 0 to {base.noise.sigma_max:g}, "
        f"one blind model each, averaged weights. PSNR in dB at sigma "
        f"{' / '.join(map(str, SIGMAS))}. `python training/compare_skips.py` trains what is "
        f"missing and makes this page, `--page-only` the page alone.",
        "",
        f"**Missing: {', '.join(missing)}.**" if missing else "All runs are finished.",
        "",
    ]


def _seeds(runs: list[Run], results: Results) -> list[str]:
    kinds = list(dict.fromkeys(r.kind for r in runs))
    finished = {kind: [r for r in runs if r.kind == kind and r.name in results] for kind in kinds}
    total = len(runs) // len(kinds)
    rows = [
        [kind, f"{len(found)} of {total}", *_seed_cells([results[r.name] for r in found])]
        for kind, found in finished.items()
    ]
    pairs = _pairs(finished, results)
    if pairs:
        rows.append([f"{kinds[1]} - {kinds[0]}", f"{len(pairs)} pairs", *_seed_cells(pairs, "+")])
    return [
        "## Three seeds",
        "",
        f"{runs[0].config.steps:,} steps. Mean over the seeds and, after +-, half the range from "
        f"the worst to the best; the difference is taken seed by seed.",
        "",
        *_table(["net", "seeds", *TEST_SETS.values()], rows),
        *_overall(pairs),
        "",
    ]


def _pairs(finished: dict[str, list[Run]], results: Results) -> list[dict[str, list[float]]]:
    """The second kind less the first, of every seed that both have finished."""
    first, second = ({r.config.seed: results[r.name] for r in f} for f in finished.values())
    return [
        {
            s: [b - a for a, b in zip(first[seed][s], second[seed][s], strict=True)]
            for s in TEST_SETS
        }
        for seed in first
        if seed in second
    ]


def _overall(pairs: list[dict[str, list[float]]]) -> list[str]:
    if not pairs:
        return []
    means = [_mean(pair) for pair in pairs]
    return ["", f"Over both sets and all levels UNet-- differs by {_spread(means, '+')} dB."]


def _seed_cells(found: list[dict[str, list[float]]], sign: str = "") -> list[str]:
    if not found:
        return ["missing"] * len(TEST_SETS)
    return [
        " / ".join(
            _spread(list(values), sign) for values in zip(*(f[s] for f in found), strict=True)
        )
        for s in TEST_SETS
    ]


def _spread(values: list[float], sign: str = "") -> str:
    mean = format(statistics.fmean(values), f"{sign}.2f")
    half_range = (max(values) - min(values)) / 2
    return f"{mean} +- {half_range:.2f}" if len(values) > 1 else mean


def _mean(by_set: dict[str, list[float]]) -> float:
    """Mean over all sets and levels."""
    return statistics.fmean(db for s in TEST_SETS for db in by_set[s])


def _cost(ours: list[NetConfig]) -> list[str]:
    paper = nafnet32_config()
    nets = [ours[0], ours[1], paper, paper.with_aggregate()]
    names = ["ours, NAFNet", "ours, UNet--", "NAFNet-32", "NAFNet-32 as UNet--"]
    change = ours[1].skip_floats_per_px / ours[0].skip_floats_per_px - 1
    rows = [
        [name, *_sizes(net), _change(net), *_stream(net)]
        for name, net in zip(names, nets, strict=True)
    ]
    head = ["net", "parameters", "kMAC/px", "floats/px", "change"]
    return [
        "## Cost",
        "",
        f"Kept for the decoder: **{_percent(float(change))}**, counted as the paper does, in "
        f"floats per image pixel that a whole-image forward keeps from encoder to decoder: "
        f"C (1 + 1/2 + 1/4 + 1/8) for the skips of a net C wide, C / 8 for E'. The stream is what "
        f"one strip of {STRIP_PX:,} px holds in bands of {BAND_ROWS} rows, its peak; of it the "
        f"last column waits for the decoder.",
        "",
        *_table([*head, "stream", "of it for the decoder"], rows),
        "",
    ]


def _sizes(net: NetConfig) -> list[str]:
    kept = f"{float(net.skip_floats_per_px):g}"
    return [f"{parameter_count(net):,}", f"{macs_per_px(net) / 1000:.1f}", kept]


def _change(net: NetConfig) -> str:
    if net.aggregate is None:
        return "-"
    return _percent(float(net.skip_floats_per_px / net.with_plain_skips().skip_floats_per_px - 1))


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _stream(net: NetConfig) -> list[str]:
    """Peak memory of a strip, and what of it waits for the decoder."""
    layout = make_layout(net, BAND_ROWS)
    sizes = stream_bytes(layout, STRIP_PX, LANES), skip_bytes(layout, STRIP_PX, LANES)
    return [format_size(n) for n in sizes]


def _plot(picture: str) -> list[str]:
    return [
        "## Quality against what is kept",
        "",
        f"![PSNR over floats kept for the decoder]({picture})",
        "",
        "Kodak24, sigma 25. Each colour is one section of this page; those trained for fewer steps "
        "cannot be compared with the others. The finest IEM without the image is left out.",
        "",
    ]


def _short(runs: list[Run], results: Results, title: str, about: str) -> list[str]:
    first = runs[0]
    base = results.get(first.name)
    rows = []
    for run in runs:
        found = results.get(run.name)
        quality = ["missing"] * len(TEST_SETS) + ["-"]
        if found is not None:
            quality = [" / ".join(f"{db:.2f}" for db in found[s]) for s in TEST_SETS]
            quality += [f"{_mean(found) - _mean(base):+.2f}" if base and run is not first else "-"]
        net = run.config.net
        rows.append([run.told, *quality, *_sizes(net), _stream(net)[1]])
    head = ["net", *TEST_SETS.values(), f"to {first.told}", "parameters", "kMAC/px", "floats/px"]
    return [
        f"## {title}",
        "",
        f"{first.config.steps:,} steps, one seed each; how far seeds lie apart is above. {about} "
        f"The difference is the mean over both sets and all levels.",
        "",
        *_table([*head, "waits in the stream"], rows),
        "",
    ]


def _statistics(zoo: Sequence[tuple[str, str]], results: Results) -> list[str]:
    rows = []
    for name, test_set in zoo:
        found = results.get(name)
        cells = ["missing"] * 3
        if found is not None:
            ways = found["frozen"], found["global"]
            cells = [" / ".join(f"{db:.3f}" for db in way) for way in ways]
            apart = (f - g for f, g in zip(*ways, strict=True))
            cells.append(" / ".join(f"{db:+.3f}" for db in apart))
        rows.append([name, test_set, *cells])
    return [
        "## Frozen against global channel attention",
        "",
        f"Weights of the zoo, nothing trained. Frozen: the row stream, with averages of half of "
        f"{PATCHES} patches of {PATCH_PX} px, as every run on images of this size has it; those up "
        f"to {WHOLE_PX} px (7 of Set12) are calibrated as a whole. Global: the reference forward "
        f"with averages over the whole image.",
        "",
        *_table(["model", "set", "frozen", "global", "difference"], rows),
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
