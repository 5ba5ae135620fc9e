"""The page of which metadata which outputs keep, from the table that losses are named by.

python benchmarks/metadata_page.py docs/reference/metadata.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from unetmm.io.formats import FORMATS
from unetmm.io.keeping import KINDS

HEAD = """# Which metadata outputs keep

What an input says and its output does not keep is named when the output is begun, in one line:
`not kept: XMP, gain map`. `--report` has the same names as `not_kept`, and `unetmm info IMAGE`
says them before a run. All of it comes from one table, which this page shows too; it is written by
`python benchmarks/metadata_page.py docs/reference/metadata.md`.

A number stands for the note below. A dash means that the format does not keep it, which is said.
What OME-Zarr keeps, `.ozx` and `--format geozarr` keep too.

"""
TAIL = """
## What has no row

- Tags of a TIFF that belong to a vendor, chunks of a PNG that are not marked as safe to copy, and
  segments of a JPEG that nobody knows are named one by one: `TIFF tag CZ_SEM`, `chunk caBX`,
  `APP4`. So are further images, frames and thumbnails, gain maps, depth maps and videos of phones,
  and Photoshop's layers.
- Where XMP says that a gain map, another picture or a video lies in the file, those words are taken
  out, for an output does not have them.
- EXIF, IPTC and XMP are those of the input but for orientation and sizes, which are the output's.
  A thumbnail shows the old pixels, so PNG and JPEG get a new one, and other formats none.
- GDAL's statistics and histograms of the old pixels are left out.
- Of a selection (`--channels`, `--planes`) and of a crop, settings of ImageJ and regions of
  interest are left out, which is said as well.
"""


def make_page() -> str:
    """The whole page."""
    written = [f for f in FORMATS if f.store is not None and f.name not in ("ozx", "geozarr")]
    titles = [format.title for format in written]
    notes: dict[str, int] = {}
    lines = [
        f"| what | of | {' | '.join(titles)} |",
        "|---" * (2 + len(titles)) + "|",
    ]
    for kind in KINDS:
        cells = []
        for format in written:
            how = kind.kept.get(format.name)
            if how is None:
                cells.append("-")
            elif how == "as it is":
                cells.append("yes")
            else:
                cells.append(f"yes, {notes.setdefault(how, len(notes) + 1)}")
        lines.append(f"| {kind.name} | {kind.found_in} | {' | '.join(cells)} |")
    listed = [f"{number}. {how[0].upper()}{how[1:]}." for how, number in notes.items()]
    return HEAD + "\n".join([*lines, "", *listed]) + "\n" + TAIL


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(make_page(), encoding="utf-8")
