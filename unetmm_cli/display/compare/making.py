"""The page of two images made and written: for `unetmm compare`, and at the end of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetmm.errors import ImageError
from unetmm.io.places import Place
from unetmm.provenance.record import read_record
from unetmm.quality.trust.pair import Layer, Pair, open_pair, why_not_judged
from unetmm.quality.trust.report import verdict_line
from unetmm.quality.trust.trust import Trust, strength_of, trust_pair
from unetmm.sizes import format_size
from unetmm_cli.display.compare.build import Built, Chosen, build
from unetmm_cli.display.compare.page import Comparison, make_page, tiles_beside, tiles_in_page
from unetmm_cli.display.compare.pyramid import QUALITY, EmbeddedTiles, FolderTiles
from unetmm_cli.display.lines import looked_at
from unetmm_cli.display.preview.content import size_text
from unetmm_cli.files import check_page, write_text

MARK = "unetmm compare"
"""Words near the beginning of every page."""
EMBEDDED_PX = 2**21
"""Most pixels of a plane whose tiles are put into the page itself."""
MOST_JUDGED_PX = 24 * 10**6
"""Most pixels that the figures are of."""
PAGE_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class PageSubject:
    """What a page is about, and where it goes."""

    input: Place
    """Image before."""
    output: Place
    """Image that was made of it."""
    page: Path
    """File of the page; tiles of large images go into a folder beside it."""
    reference: Place | None = None
    """Image that shows the truth, if there is one."""
    channel: int = 0
    """Channel that is shown, from 0."""
    row: int | None = None
    """Row whose values are drawn; None for the middle one."""
    budget_bytes: int | None = None
    """Memory that making it may take; None for half of what is free."""
    is_quiet: bool = False
    """Whether nothing is shown of how far it is."""

    def on_progress(self) -> Callable[[int, int], None] | None:
        """Shows how far it is."""
        return None if self.is_quiet else looked_at()


@dataclass(frozen=True)
class Written:
    """What a page says in short."""

    verdict: str
    """Verdict on the output, or why there is none, in a line."""
    judged: Trust | None
    """Figures behind it; None where there is none."""


def write_comparison(subject: PageSubject) -> Written:
    """Make the page of two images.

    Raises
    ------
    UnetmmError
        If the images cannot be read, do not fit, or need more memory than they may take.
    """
    with ExitStack() as stack:
        pair = open_pair(stack, subject.input, subject.output, subject.reference, enlarges=True)
        chosen, layer = _chosen(pair, subject)
        record = read_record(subject.output)
        judged, shown, verdict = None, None, why_not_judged(pair, record)
        if not verdict:
            strength, most = strength_of(record), MOST_JUDGED_PX
            judged = trust_pair(pair, strength, subject.budget_bytes, most, subject.on_progress())
            shown, verdict = judged.layers[pair.layers.index(layer)], verdict_line(judged)
        made = _Making(subject, pair, chosen)
        built, tiles, words = made.tiles()
        facts = _facts(pair, chosen, built, words)
    names = (subject.input.name, subject.output.name)
    found = Comparison(*names, facts, built, verdict, judged, shown, record)
    write_text(subject.page, make_page(found, tiles))
    return Written(verdict, judged)


def check_target(page: Path, images: Iterable[Place], overwrite: bool, option: str = "-o") -> None:
    """Refuse a page that cannot be written, or whose place something else has.

    Raises
    ------
    ImageError
        If it is such a one.
    """
    if page.suffix.lower() not in PAGE_SUFFIXES:
        raise ImageError(f"{page}: a comparison is a page; name it .html")
    check_page(page, images, MARK, "comparison", overwrite, option)
    folder = tiles_folder(page)
    if folder.exists() and not (folder / MARK.replace(" ", "-")).exists():
        raise ImageError(f"{folder}: exists and holds no tiles of a comparison; move it away")


def tiles_folder(page: Path) -> Path:
    """The folder of a page's tiles."""
    return page.with_name(f"{page.stem}_files")


def _chosen(pair: Pair, subject: PageSubject) -> tuple[Chosen, Layer]:
    """The plane that is shown, in the middle of times and depths, and its first layer."""
    info, channel, row = pair.before.info, subject.channel, subject.row
    if channel >= info.length("C"):
        raise ImageError(f"--channel {channel}: there are {info.length('C')}, counted from 0")
    if row is not None and row >= info.height:
        raise ImageError(f"--row {row}: the image has {info.height} rows, counted from 0")
    layer = next(one for one in pair.layers if one.before == (channel, 0))
    t, z = info.length("T") // 2, info.length("Z") // 2
    return Chosen((t, channel, z), (t, layer.after[0], z)), layer


class _Making:
    """Makes the tiles of a page, in it or beside it."""

    def __init__(self, subject: PageSubject, pair: Pair, chosen: Chosen) -> None:
        self.subject, self.pair, self.chosen = subject, pair, chosen

    def tiles(self) -> tuple[Built, dict[str, Any], str]:
        """What was built, what the script has to know, and where the tiles are in words."""
        info = self.pair.before.info
        if info.height * info.width <= EMBEDDED_PX:
            return self._embedded()
        return self._beside()

    def _embedded(self) -> tuple[Built, dict[str, Any], str]:
        store = EmbeddedTiles()
        built = self._build(store, None)
        folder = tiles_folder(self.subject.page)
        if folder.exists():
            shutil.rmtree(folder)
        return built, tiles_in_page(built, store.tiles), "within this page, without loss"

    def _beside(self) -> tuple[Built, dict[str, Any], str]:
        folder = tiles_folder(self.subject.page)
        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir()
            (aside / MARK.replace(" ", "-")).touch()
            store = FolderTiles(aside)
            built = self._build(store, self.subject.on_progress())
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        words = (
            f"in the folder {folder.name} beside this page ({format_size(store.bytes)}), as JPEG "
            f"of quality {QUALITY}; move both together"
        )
        return built, tiles_beside(built, folder.name, store.suffix), words

    def _build(
        self, store: EmbeddedTiles | FolderTiles, on_rows: Callable[[int, int], None] | None
    ) -> Built:
        subject = self.subject
        row, budget = subject.row, subject.budget_bytes
        return build(self.pair, self.chosen, row, store, budget, on_rows)


def _facts(pair: Pair, chosen: Chosen, built: Built, tiles: str) -> list[tuple[str, str]]:
    """What is known of the images, and of what is shown."""
    rows = [("Before", size_text(pair.before.info)), ("After", size_text(pair.after.info))]
    if len(pair.before.info.planes) > 1:
        t, c, z = chosen.before
        rows.append(("Shown", f"time {t}, channel {c}, depth {z}"))
    rows.append(("Tiles", f"all pixels of it, {tiles}"))
    return rows
