"""The page of what is read and what is refused: a line a file, and what became of the copies."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from pathlib import Path

from formats_copies import COPY_BYTES, FACTS, TARGETS, Copy

FINE = ("exact", "refused")
"""States of a file or of a copy that are as they should be."""
SUMMED_UP = "microscopy"
"""Folder in which a line stands for all files of a kind that are read exactly."""


@dataclass
class Judgement:
    """What became of a file."""

    state: str
    """Verdict: exact, refused, differs, traceback, hung, crashed."""
    what: str = ""
    """Words on what the file holds."""
    line: str = ""
    """Words on why it is not exact."""
    copies: dict[str, Copy] = field(default_factory=dict)
    """Kind of copy -> what became of it."""

    def within(self, root: Path) -> Judgement:
        """The same without the folder of the data in its words."""
        self.line = self.line.replace(f"{root}/", "")
        return self


Results = list[tuple[Path, Judgement]]
"""Every file, below the folder of the data, and what became of it."""


def make_page(results: Results) -> list[str]:
    """Lines of the page."""
    counts = collections.Counter(found.state for _, found in results)
    total = len(results)
    lines = [
        "# What is read, and what is refused",
        "",
        f"{total} files of other people's making, read by random boxes: {counts['exact']} are bit",
        "for bit what tifffile, Pillow, imagecodecs, NumPy or zarr read as a whole, and",
        f"{counts['refused']} are refused in one line (CMYK, damaged, ...); "
        f"{total - counts['exact'] - counts['refused']} gave anything else.",
        "Written by `python benchmarks/formats.py DATA_FOLDER docs/reference/formats.md`.",
        "",
        *copies_section(results),
        "## Files",
        "",
        "| file | what it is | result |",
        "|---|---|---|",
    ]
    summed: collections.Counter[tuple[str, str]] = collections.Counter()
    for name, found in results:
        if name.parts[0] == SUMMED_UP and found.state == "exact":
            summed[f"{name.parent}/*{name.suffix}", found.what.split(" ")[0]] += 1
            continue
        text = f"{found.state}: {found.line}" if found.line else found.state
        lines.append(f"| {name} | {' '.join(found.what.split())} | {text.replace('|', '/')} |")
    lines += [
        f"| {name} | {what}, {count} file{'s' * (count > 1)} | exact |"
        for (name, what), count in sorted(summed.items())
    ]
    return lines


KEPT = """\
### What else is kept, and what is lost

- Of a selection (`--channels`, `--planes`, `--rgb-bands`) the metadata of the chosen bands,
  channels and planes are kept: GDAL's scales, offsets, units and items of bands, OME's channels
  and planes. Regions of interest of OME-XML are not.
- GDAL's mask of valid pixels inside a GeoTIFF is copied into a GeoTIFF as it is, up to 4 MiB as
  stored, and so is one in a `.msk`; elsewhere it is left out, with a warning. The pixels that it
  excludes stay as they are and influence nothing.
- What is not measured is known by GDAL's nodata tag (one value, or several that commas separate:
  one a band where there are as many), `.aux.xml`, masks, opacity 0, and in Zarr by `_FillValue`,
  `missing_value`, `valid_range`, `valid_min` and `valid_max`. `--nodata` overrides. A Zarr's own
  fill value counts only in Zarr 2 as xarray writes it. TIFF and OME-Zarr outputs state the values.
- A thumbnail that comes before the image of a TIFF is passed over. A set of OME-TIFF files is one
  image, whichever of them is named.
- Of several images in a TIFF the largest is read, of scenes of a CZI or LIF the first, with a
  warning that lists them; `--series N` reads another. Of an animated PNG the first frame is read,
  and of a JPEG with further pictures (gain maps, stereo) the first; the others are named as lost.
- OME-XML that is cut off, not closed, or that counts fewer channels than it lists is put right
  where that is certain, with a warning; else the warning says what is not known.
- Of an OME-TIFF that holds fewer planes than it describes, the first complete time points (depths
  or channels if there is one time) are read, with a warning; planes that are missing in between
  read as nodata or 0.
- Which other metadata each format keeps is in [metadata.md](metadata.md); what is lost is named.
- A GeoTIFF without a resolution stays without one. `.npy` holds no metadata at all.
"""
"""Remarks that the judge does not make; said by hand."""


def copies_section(results: Results) -> list[str]:
    """What became of the copies, by format, and of the metadata."""
    kinds = list(TARGETS)
    states = {kind: collections.Counter[str]() for kind in kinds}
    lost = {kind: collections.Counter[str]() for kind in kinds}
    for _, found in results:
        for kind, copy in found.copies.items():
            states[kind][copy.state if copy.state in FINE else "differs"] += 1
            lost[kind].update(copy.lost)
    copied_files = sum(bool(found.copies) for _, found in results)
    lines = [
        "## Copies",
        "",
        f"{copied_files} of the files that are read (all of at most {COPY_BYTES // 10**6} MB),",
        "each written unchanged in every format and read again. Refused: what it cannot hold.",
        "PNG has no pixels whose 0 is white, that are stored turned or multiplied by alpha: it",
        "holds them as they are shown.",
        "",
        f"| | {' | '.join(kinds)} |",
        f"|---|{'---|' * len(kinds)}",
    ]
    rows = {
        "equal, bit for bit": [states[kind]["exact"] for kind in kinds],
        "refused": [states[kind]["refused"] for kind in kinds],
        "differ": [states[kind]["differs"] for kind in kinds],
        **{f"lost: {name}": [lost[kind][name] for kind in kinds] for name in FACTS},
    }
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in rows.items()]
    return [*lines, "", KEPT]
