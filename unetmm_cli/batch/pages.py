"""The pages that `--report-html` asks for: input and output side by side when a run has ended."""

from __future__ import annotations

from pathlib import Path

import typer

from unetmm.errors import ImageError, UnetmmError
from unetmm.io.formats import RECORDLESS_SUFFIXES
from unetmm.io.places import Place
from unetmm_cli.display.batch import page_written
from unetmm_cli.options.choices import Choices

OPTION = "--report-html"
PAGE_SUFFIXES = (".html", ".htm")


def page_of(below: Path, choices: Choices) -> Path | None:
    """Where the page of an output goes; None where none is asked for.

    below : path of the output in the folder of all outputs, in which pages have the same.
    """
    target = choices.reporting.report_html
    if target is None or _is_page(target):
        return target
    return target / below.with_name(f"{below.name}.html")


def check_pages(count: int | None, choices: Choices) -> None:
    """Refuse one page for several images.

    count : of the images; None where more may come.

    Raises
    ------
    typer.BadParameter
        It says what to give instead.
    """
    target = choices.reporting.report_html
    if target is None or not _is_page(target) or count == 1:
        return
    images = "several images" if count is None else f"{count} images"
    raise typer.BadParameter(
        f"{OPTION} {target}: one page cannot show {images}; name a folder for their pages, as "
        f"{OPTION} {target.with_suffix('')}/"
    )


def check_page_place(page: Path | None, path: Place, output: Place, choices: Choices) -> None:
    """Refuse a page that could not be written in the end, before the run starts.

    The folder of many pages is made with the first.

    Raises
    ------
    ImageError
        It says why.
    """
    if page is None:
        return
    if (answer := choices.to_options().answer) is not None:
        raise ImageError(
            f"{output}: is to hold {answer.in_words}, which no page can compare with the image; "
            f"leave out {OPTION}"
        )
    of_part = choices.input.crop is not None or choices.input.selection is not None
    if of_part and output.suffix.lower() in RECORDLESS_SUFFIXES:
        raise ImageError(
            f"{output}: a {output.suffix} does not say which part of the input it is, so no page "
            f"can show both ({OPTION}); write a .tif or .ome.zarr"
        )
    from unetmm_cli.display.compare.making import check_target

    there = next(folder for folder in page.parents if folder.exists())
    if page != choices.reporting.report_html and there != page.parent:
        if not there.is_dir():
            raise ImageError(f"{there}: is a file, not a folder for pages ({OPTION})")
        return
    check_target(page, [path, output], overwrite=False, option=OPTION)


def write_page(page: Path | None, path: Place, output: Place, choices: Choices) -> None:
    """Write the page of an output that is whole, and say what it says.

    Raises
    ------
    ImageError
        If there can be none; the output is not touched.
    """
    if page is None:
        return
    from unetmm_cli.display.compare.making import PageSubject, write_comparison

    budget_bytes, told = choices.restoration.mem_budget, choices.reporting
    is_quiet = told.quiet or told.as_json
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        asked = PageSubject(path, output, page, budget_bytes=budget_bytes, is_quiet=is_quiet)
        verdict = write_comparison(asked).verdict
    except (UnetmmError, OSError) as error:
        raise ImageError(f"{page}: no page was made ({error}); {output} is whole") from error
    if not told.quiet:
        page_written(page, verdict, told.as_json)


def _is_page(target: Path) -> bool:
    return target.suffix.lower() in PAGE_SUFFIXES
