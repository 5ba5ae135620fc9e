"""`unetmm compare`: two images on one page, and what to make of them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetmm_cli import display
from unetmm_cli.commands.trust import MemBudget, Reference, Restored, told
from unetmm_cli.files import check_page, page_beside, write_text
from unetmm_cli.options.arguments import AsJson, Input

if TYPE_CHECKING:
    from unetmm.io.places import Place
    from unetmm.quality.trust.pair import Layer, Pair
    from unetmm_cli.display.compare.build import Built, Chosen

MARK = "unetmm compare"
"""Words near the beginning of every page."""
EMBEDDED_PX = 2**21
"""Most pixels of a plane whose tiles are put into the page itself."""
MOST_JUDGED_PX = 24 * 10**6
"""Most pixels that the figures are of."""

Page = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE.html",
        help="Where to write the page, and of large images FILE_files/ with their tiles. By "
        "default NAME_compare.html beside the output. An older page of that name is replaced.",
    ),
]
Channel = Annotated[int, typer.Option(min=0, metavar="N", help="Channel that is shown, from 0.")]
Row = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Row whose values are drawn; by default the middle one."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file of that name that is no such page.")
]


def compare(
    input: Input,
    output: Restored,
    reference: Reference = None,
    page: Page = None,
    channel: Channel = 0,
    row: Row = None,
    mem_budget: MemBudget = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put two images on one page that opens in any browser, with a line to drag between them.

    Zooms from the whole image to single pixels, at any size. Shows differences, histograms, a
    profile, spectra, what unetmm trust says, and how the output was made. Needs no network.

    Example: unetmm compare scan.tif scan_dn.tif -o report.html
    """
    from unetmm.provenance.record import read_record
    from unetmm.quality.trust.pair import open_pair, why_not_judged
    from unetmm.quality.trust.report import as_dict, verdict_line
    from unetmm.quality.trust.trust import strength_of, trust_pair

    target = _target(output, page, [input, output], overwrite)
    with ExitStack() as stack:
        pair = open_pair(stack, input, output, reference, enlarges=True)
        chosen, layer = _chosen(pair, channel, row)
        record = read_record(output)
        judged, shown, verdict = None, None, why_not_judged(pair, record)
        if not verdict:
            judged = trust_pair(pair, strength_of(record), mem_budget, MOST_JUDGED_PX, told())
            shown, verdict = judged.layers[pair.layers.index(layer)], verdict_line(judged)
        names = (input.name, output.name)
        made = _Making(target, pair, chosen, row, mem_budget)
        built, tiles, words = made.tiles()
        facts = _facts(pair, chosen, built, words)
    from unetmm_cli.display.compare.page import Comparison, make_page

    found = Comparison(*names, facts, built, verdict, judged, shown, record)
    write_text(target, make_page(found, tiles))
    if as_json:
        facts_json = {"input": str(input), "output": str(output), "page": str(target)}
        figures = {"not_judged": verdict} if judged is None else as_dict(judged)
        display.result_json({**facts_json, **figures})
        return
    display.say(verdict)
    display.result(str(target))


def _target(output: Place, page: Path | None, images: list[Place], overwrite: bool) -> Path:
    """Where the page goes.

    Raises
    ------
    ImageError
        If it cannot be written there, or something else is there.
    """
    from unetmm.errors import ImageError

    if page is None:
        page = page_beside(output, "_compare")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ImageError(f"{page}: a comparison is a page; name it .html")
    check_page(page, images, MARK, "comparison", overwrite)
    folder = tiles_folder(page)
    if folder.exists() and not (folder / MARK.replace(" ", "-")).exists():
        raise ImageError(f"{folder}: exists and holds no tiles of a comparison; move it away")
    return page


def tiles_folder(page: Path) -> Path:
    """The folder of a page's tiles."""
    return page.with_name(f"{page.stem}_files")


def _chosen(pair: Pair, channel: int, row: int | None) -> tuple[Chosen, Layer]:
    """The plane that is shown, in the middle of times and depths, and its first layer."""
    from unetmm.errors import ImageError
    from unetmm_cli.display.compare.build import Chosen

    info = pair.before.info
    if channel >= info.length("C"):
        raise ImageError(f"--channel {channel}: there are {info.length('C')}, counted from 0")
    if row is not None and row >= info.height:
        raise ImageError(f"--row {row}: the image has {info.height} rows, counted from 0")
    layer = next(one for one in pair.layers if one.before == (channel, 0))
    t, z = info.length("T") // 2, info.length("Z") // 2
    return Chosen((t, channel, z), (t, layer.after[0], z)), layer


class _Making:
    """Makes the tiles of a page, in it or beside it."""

    def __init__(
        self, target: Path, pair: Pair, chosen: Chosen, row: int | None, budget: int | None
    ) -> None:
        self.target, self.pair, self.chosen = target, pair, chosen
        self.row, self.budget = row, budget

    def tiles(self) -> tuple[Built, dict[str, Any], str]:
        """What was built, what the script has to know, and where the tiles are in words."""
        info = self.pair.before.info
        if info.height * info.width <= EMBEDDED_PX:
            return self._embedded()
        return self._beside()

    def _embedded(self) -> tuple[Built, dict[str, Any], str]:
        from unetmm_cli.display.compare.build import build
        from unetmm_cli.display.compare.page import tiles_in_page
        from unetmm_cli.display.compare.pyramid import EmbeddedTiles

        store = EmbeddedTiles()
        built = build(self.pair, self.chosen, self.row, store, self.budget)
        folder = tiles_folder(self.target)
        if folder.exists():
            shutil.rmtree(folder)
        return built, tiles_in_page(built, store.tiles), "within this page, without loss"

    def _beside(self) -> tuple[Built, dict[str, Any], str]:
        from unetmm.sizes import format_size
        from unetmm_cli.display.compare.build import build
        from unetmm_cli.display.compare.page import tiles_beside
        from unetmm_cli.display.compare.pyramid import QUALITY, FolderTiles

        folder = tiles_folder(self.target)
        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir()
            (aside / MARK.replace(" ", "-")).touch()
            store = FolderTiles(aside)
            on_rows = told()
            built = build(self.pair, self.chosen, self.row, store, self.budget, on_rows)
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        words = (
            f"in the folder {folder.name} beside this page ({format_size(store.bytes)}), as JPEG "
            f"of quality {QUALITY}; move both together"
        )
        return built, tiles_beside(built, folder.name, store.suffix), words


def _facts(pair: Pair, chosen: Chosen, built: Built, tiles: str) -> list[tuple[str, str]]:
    """What is known of the images, and of what is shown."""
    from unetmm_cli.display.preview.content import size_text

    rows = [("Before", size_text(pair.before.info)), ("After", size_text(pair.after.info))]
    if len(pair.before.info.planes) > 1:
        t, c, z = chosen.before
        rows.append(("Shown", f"time {t}, channel {c}, depth {z}"))
    rows.append(("Tiles", f"all pixels of it, {tiles}"))
    return rows
