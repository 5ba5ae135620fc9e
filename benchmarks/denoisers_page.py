"""The page that denoisers.py writes: the measured tables, and published figures beside ours."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unetmm.models.weights import load_model

LABELS = {
    "universal-tiny-rgb": "`universal-tiny-rgb`",
    "micrograph-tiny": "`micrograph-tiny`",
    "tiny-rgb": "`tiny-rgb`",
    "tiny-mono": "`tiny-mono`",
    "bm3d": "(C)BM3D",
    "bm3d-told": "(C)BM3D, told",
    "bm3d-vst": "BM3D, Anscombe",
    "nlm": "NLM",
    "nlm-vst": "NLM, Anscombe",
}

PUBLISHED = """\
## Published figures

PSNR in dB at sigma 15 / 25 / 50, whole sets. Ours and Restormer's: one model, level unknown to it.
One model that is told the level: FFDNet, DRUNet; BM3D is told it too. One model for each level:
DnCNN, IRCNN, SwinIR. The figures are those of the DRUNet, SwinIR and Restormer papers, taken from
notes; look them up there before quoting them.

| method | CBSD68 | Kodak24 | McMaster |
|---|---|---|---|
| `small-rgb` (7.6 M parameters, 120 kMAC/px) | {small-rgb} |
| `tiny-rgb` (1.9 M parameters, 30 kMAC/px) | {tiny-rgb} |
| `tiny-rgb-clean`, trained without data of non-commercial or unstated terms | {tiny-rgb-clean} |
| CBM3D | 33.52 / 30.71 / 27.38 | 34.28 / 31.68 / 28.46 | 34.06 / 31.66 / 28.51 |
| IRCNN | 33.86 / 31.16 / 27.86 | 34.69 / 32.18 / 28.93 | 34.58 / 32.18 / 28.91 |
| DnCNN | 33.90 / 31.24 / 27.95 | 34.60 / 32.14 / 28.95 | 33.45 / 31.52 / 28.62 |
| FFDNet | 33.87 / 31.21 / 27.96 | 34.63 / 32.13 / 28.98 | 34.66 / 32.35 / 29.18 |
| DRUNet | 34.30 / 31.69 / 28.51 | 35.31 / 32.89 / 29.86 | 35.40 / 33.14 / 30.08 |
| SwinIR | 34.42 / 31.78 / 28.56 | 35.34 / 32.89 / 29.79 | 35.61 / 33.20 / 30.22 |
| Restormer | 34.40 / 31.79 / 28.60 | 35.47 / 33.04 / 30.01 | 35.61 / 33.34 / 30.30 |

| method | Set12 | BSD68 |
|---|---|---|
| `tiny-mono` (1.9 M parameters, 29 kMAC/px) | {tiny-mono} |
| `tiny-mono-clean`, trained without data of non-commercial or unstated terms | {tiny-mono-clean} |
| BM3D | 32.37 / 29.97 / 26.72 | 31.08 / 28.57 / 25.60 |
| IRCNN | 32.76 / 30.37 / 27.12 | 31.63 / 29.15 / 26.19 |
| DnCNN | 32.86 / 30.44 / 27.18 | 31.73 / 29.23 / 26.23 |
| FFDNet | 32.75 / 30.43 / 27.32 | 31.63 / 29.19 / 26.29 |
| DRUNet | 33.25 / 30.94 / 27.90 | 31.91 / 29.48 / 26.59 |
| SwinIR | 33.36 / 31.01 / 27.91 | 31.97 / 29.50 / 26.58 |
| Restormer | 33.42 / 31.08 / 28.00 | 31.96 / 29.52 / 26.62 |

### How far DRUNet is, and what it had

`small-rgb` is {far-small-rgb} dB from DRUNet on CBSD68, `tiny-rgb` {far-rgb};
`tiny-mono` {far-mono} on Set12.

| | `tiny-rgb` | `small-rgb` | DRUNet |
|---|---|---|---|
| parameters | 1.9 million | 7.6 million | 32.6 million |
| arithmetic, kMAC/px | 29.8 | 120.4 | 2,120 (counted from its layers) |
| training images | 762 | 750 | about 8,700 |
| steps | 36,000 of 8 x 80 or 4 x 128 px | 40,068 of 8 x 160 px | about 800,000 of 16 x 128 px |
| pixels seen | 2.0 billion | 8.2 billion | about 210 billion |
| training | 1.8 h of one CPU core | 6.7 minutes of one H200 | days of GPUs |
| level of the noise | unknown to it | unknown to it | told |

DRUNet's training: Zhang et al., Plug-and-Play Image Restoration with Deep Denoiser Prior (2021),
from memory; look it up there before quoting it.
"""

DRUNET_DB = {
    "small-rgb": (34.30, 31.69, 28.51),
    "tiny-rgb": (34.30, 31.69, 28.51),
    "tiny-rgb-clean": (34.30, 31.69, 28.51),
    "tiny-mono": (33.25, 30.94, 27.90),
    "tiny-mono-clean": (33.25, 30.94, 27.90),
}
"""PSNR of DRUNet on CBSD68 and Set12, the first sets of the cards, in dB."""


@dataclass(frozen=True)
class Row:
    """One image restored by one method."""

    test_set: str
    image: str
    sigma: str
    """White noise added, of 255; empty where the noise is real."""
    method: str
    told: str
    """Noise level that a classical method used, of 255."""
    psnr_before_db: float
    psnr_db: float
    ssim_before: float
    ssim: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.test_set, self.image, self.sigma, self.method


@dataclass(frozen=True)
class Table:
    """One table of the page: which sets, and which methods as columns."""

    title: str
    text: str
    sets: Sequence[str]
    methods: Sequence[str]
    noise: str = "real"


TABLES = (
    Table(
        "Photographs with real noise",
        "CBM3D is for white noise, which this is not: demosaicing and JPEG have made it smooth. "
        "*Told*: the level is the rms difference of the pair itself, which nobody knows in "
        "practice.",
        ("CC15", "PolyU", "CC15, a part"),
        ("universal-tiny-rgb", "tiny-rgb", "bm3d-told", "bm3d"),
    ),
    Table(
        "Micrographs",
        "Clean images fitted to the noisy ones by gain and offset. *Anscombe*: the generalised "
        "transform to noise of variance 1 and its exact unbiased inverse around the method, with "
        "gain and offset of the noise fitted to the image's own blocks.",
        ("W2S", "Hagen", "FMD", "Bacteria"),
        ("micrograph-tiny", "tiny-mono", "bm3d", "bm3d-vst", "nlm", "nlm-vst"),
    ),
    Table(
        "White noise, as a check of the comparison",
        "Published for BM3D on Set12 at sigma 25: 29.97 dB; the code here is the authors' later "
        "package. BM3D is told the level, the nets are not.",
        ("Set12", "CBSD68"),
        ("tiny-mono", "tiny-rgb", "bm3d-told"),
        "white",
    ),
)

PROTOCOL = """\
## Protocol

- PSNR over all pixels and channels as `unetmm evaluate` measures it: clipped to the limits of the
  pixel type, not rounded; a mean is one over images. Every row of a table is of the same images.
- Of a set too large for the time a classical method takes, images are taken in a seeded order; the
  table says how many. All rows: `benchmarks/denoisers.csv`.
- Noise level: Chen, Zhu, Heng (2015), from the eigenvalues of 8 x 8 patches, steps of 3 px.
- BM3D 4.0.3 of the registry (Makinen, Azzari, Foi; for non-commercial use only, not part of this
  project), its usual profile; colour in its opponent space. Non-local means of scikit-image 0.26,
  fast mode, patches of 7 px, search of 11 px, h = 0.8 sigma (better than 0.6 on four of the images
  here, so chosen with a look at the answer).
- Seconds are the means for one image on one busy core: good for orders of magnitude only.
"""


def write_page(path: Path, rows: list[Row]) -> None:
    """Write the whole page."""
    by_key = {row.key: row for row in rows}
    parts = [
        "# Our nets beside classical denoisers",
        "",
        "`PYTHONPATH=SITE OMP_NUM_THREADS=1 nice -n 10 python benchmarks/denoisers.py` makes this "
        "page; SITE:\n`pip install --target SITE bm3d scikit-image`. PSNR in dB, SSIM below it.",
        "",
    ]
    for table in TABLES:
        parts += [f"## {table.title}", "", table.text, "", *_table(table, by_key), ""]
    parts += [PROTOCOL, _published()]
    path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _table(table: Table, rows: dict[tuple[str, str, str, str], Row]) -> list[str]:
    found = {key[0]: None for key in rows}
    methods = list(table.methods)
    white = table.noise == "white"
    lines = [
        "| set | images | noisy | " + " | ".join(LABELS[m] for m in methods) + " |",
        "|---" * (3 + len(methods)) + "|",
    ]
    comparisons = []
    for name in table.sets:
        if name not in found:
            continue
        levels = sorted({k[2] for k in rows if k[0] == name}, key=lambda s: int(s or 0))
        for sigma in levels:
            used = [m for m in methods if any(k[0] == name and k[3] == m for k in rows)]
            images = _common(rows, name, sigma, used)
            if not images:
                continue
            cells = {m: [rows[name, i, sigma, m] for i in images] for m in used}
            first = cells[used[0]]
            label = f"{name}, sigma {sigma}" if white else name
            lines.append(
                f"| {label} | {len(images)} | {_mean(first, before=True)} | "
                + " | ".join(_mean(cells[m]) if m in cells else "" for m in methods)
                + " |"
            )
            if not white and name != "CC15, a part":
                comparisons.append(_wins(name, used[0], cells))
    seconds = _seconds(rows, table)
    return [*lines, "", *filter(None, comparisons), "", *([seconds] if seconds else [])]


def _common(
    rows: dict[tuple[str, str, str, str], Row], name: str, sigma: str, methods: list[str]
) -> list[str]:
    """Images that every method has been measured on."""
    images = sorted({k[1] for k in rows if k[0] == name and k[2] == sigma})
    return [i for i in images if all((name, i, sigma, m) in rows for m in methods)]


def _mean(rows: list[Row], before: bool = False) -> str:
    psnr = statistics.fmean(r.psnr_before_db if before else r.psnr_db for r in rows)
    ssim = statistics.fmean(r.ssim_before if before else r.ssim for r in rows)
    return f"{psnr:.2f}<br>{ssim:.3f}"


def _wins(name: str, ours: str, cells: dict[str, list[Row]]) -> str:
    """On how many images our net is ahead of the best of the others, and by how much on average."""
    others = [m for m in cells if not m.startswith("tiny") and m != ours]
    if not others:
        return ""
    best = max(others, key=lambda m: statistics.fmean(r.psnr_db for r in cells[m]))
    gains = [a.psnr_db - b.psnr_db for a, b in zip(cells[ours], cells[best], strict=True)]
    start = f"- {name}: {LABELS[ours]} against {LABELS[best]}, the best of the others: "
    if len(gains) == 1:
        return f"{start}{gains[0]:+.2f} dB."
    return (
        f"{start}{statistics.fmean(gains):+.2f} dB on average ({min(gains):+.2f} to "
        f"{max(gains):+.2f}), ahead on {sum(g > 0 for g in gains)} of {len(gains)} images."
    )


def _seconds(rows: dict[tuple[str, str, str, str], Row], table: Table) -> str:
    parts = []
    for method in table.methods:
        times = [
            r.seconds for r in rows.values() if r.test_set in table.sets and r.method == method
        ]
        if times:
            parts.append(f"{LABELS[method]} {statistics.fmean(times):.2f}")
    return f"Seconds an image: {', '.join(parts)}." if parts else ""


def _published() -> str:
    text = PUBLISHED
    for name, theirs in DRUNET_DB.items():
        quality = load_model(name).card["quality"]
        figures = [q.removesuffix(" dB") for q in quality.values()]
        ours = (float(level) for level in figures[0].split(" / "))
        far = " / ".join(f"{b - a:.2f}" for a, b in zip(ours, theirs, strict=True))
        text = text.replace(f"{{{name}}}", " | ".join(figures))
        text = text.replace(f"{{far-{name.removeprefix('tiny-')}}}", far)
    return text
