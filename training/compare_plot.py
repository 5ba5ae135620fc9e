"""The plot of `compare_skips.py` as plain SVG: quality over what is kept for the decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from compare_page import Results, Run

from unetmm.quality.evaluate import SIGMAS
from unetmm.train.curve import ticks

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 50
COLOURS = {"seeds": "#1f4e79", "ablations": "#c0392b", "bodies": "#4a7a3c"}
INK, GRID = "#333333", "#e6e6e6"
TEST_SET, SIGMA = "kodak24", 25
LABEL_PX = 13
"""Least distance between two labels, one above the other."""


@dataclass(frozen=True)
class Point:
    """One finished run."""

    floats_per_px: float
    psnr_db: float
    section: str
    label: str


def points(runs: Sequence[Run], results: Results) -> list[Point]:
    """Points of the finished runs that are to be shown; seeds of one kind get one label."""
    level = SIGMAS.index(SIGMA)
    labelled: set[tuple[str, str]] = set()
    found = []
    for run in runs:
        if not run.in_plot or run.name not in results:
            continue
        key = run.section, run.kind
        label = "" if key in labelled else run.told
        labelled.add(key)
        kept = float(run.config.net.skip_floats_per_px)
        found.append(Point(kept, results[run.name][TEST_SET][level], run.section, label))
    return found


def plot(runs: Sequence[Run], results: Results) -> str:
    """An SVG picture; axes without points as long as nothing is finished."""
    found = points(runs, results)
    kept = [float(r.config.net.skip_floats_per_px) for r in runs if r.in_plot]
    powers = range(math.floor(math.log2(min(kept))), math.ceil(math.log2(max(kept))) + 1)
    levels = ticks(min(p.psnr_db for p in found), max(p.psnr_db for p in found)) if found else []

    def x(floats: float) -> float:
        share = (math.log2(floats) - powers[0]) / (powers[-1] - powers[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT - 130)  # room for the last labels

    def y(psnr_db: float) -> float:
        share = (levels[-1] - psnr_db) / (levels[-1] - levels[0])
        return TOP + share * (HEIGHT - TOP - BOTTOM)

    end = x(2.0 ** powers[-1])
    lines = [_line(LEFT, y(v), end, y(v)) for v in levels]
    lines += [_line(x(2.0**p), TOP, x(2.0**p), HEIGHT - BOTTOM) for p in powers]
    texts = [_text(LEFT - 8, y(v) + 4, f"{v:g}", "end") for v in levels]
    texts += [_text(x(2.0**p), HEIGHT - BOTTOM + 18, f"{2.0**p:g}", "middle") for p in powers]
    texts += [
        _text(LEFT, 16, f"PSNR in dB, {TEST_SET}, sigma {SIGMA}", "start"),
        _text((LEFT + end) / 2, HEIGHT - 12, "floats kept for the decoder per image px", "middle"),
    ]
    texts += _legend(runs)
    marks = [
        f'<circle cx="{x(p.floats_per_px):.1f}" cy="{y(p.psnr_db):.1f}" r="4" '
        f'fill="{COLOURS[p.section]}" fill-opacity="0.75"/>'
        for p in found
    ]
    spread = _spread_labels([(x(p.floats_per_px), y(p.psnr_db)) for p in found if p.label])
    named = [p for p in found if p.label]
    marks += [
        _text(at_x + 8, at_y + 4, p.label, "start", COLOURS[p.section])
        for (at_x, at_y), p in zip(spread, named, strict=True)
    ]
    return "\n".join([_OPEN, *lines, *texts, *marks, "</svg>", ""])


_OPEN = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
    f'height="{HEIGHT}" font-family="sans-serif" font-size="12">\n'
    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
)


def _spread_labels(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same places, moved down where labels would lie on each other."""
    out = dict[int, tuple[float, float]]()
    taken: list[tuple[float, float]] = []
    for i in sorted(range(len(places)), key=lambda i: places[i][1]):
        at_x, at_y = places[i]
        for other_x, other_y in taken:
            if abs(other_x - at_x) < 120 and at_y - other_y < LABEL_PX:
                at_y = max(at_y, other_y + LABEL_PX)
        taken.append((at_x, at_y))
        out[i] = at_x, at_y
    return [out[i] for i in range(len(places))]


def _legend(runs: Sequence[Run]) -> list[str]:
    steps = {r.section: r.config.steps for r in runs}
    told = {"seeds": "three seeds", "ablations": "ablations", "bodies": "U-Net body"}
    return [
        _text(300 + 155 * i, 16, f"{told[s]}, {steps[s]:,} steps", "start", COLOURS[s])
        for i, s in enumerate(steps)
    ]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{GRID}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
