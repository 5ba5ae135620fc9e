"""One image or many in one process, as the command line names them."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import typer

from unetmm.io.formats import find_format
from unetmm.io.omezarr.plates import PlateLayout
from unetmm.io.open import count_images
from unetmm.io.places import Place, to_place
from unetmm.models.choice import is_auto
from unetmm.plan.share import Share
from unetmm.sizes import default_budget_bytes
from unetmm_cli import display
from unetmm_cli.batch.inputs import (
    PIPE,
    Found,
    find,
    is_alone,
    other_kinds,
    without_set_parts,
)
from unetmm_cli.batch.many import Many
from unetmm_cli.batch.naming import check_is_folder
from unetmm_cli.batch.one import restore_one
from unetmm_cli.batch.pages import check_pages
from unetmm_cli.batch.pipes import is_pipe, named_stdin, restore_to_stdout, spool_folder, take_stdin
from unetmm_cli.batch.placing import Item, is_folder, make_items, with_all_series
from unetmm_cli.batch.plates import plate_items, plate_of
from unetmm_cli.display.batch import other_files, parts_of_sets, slices_apart
from unetmm_cli.files import check_written
from unetmm_cli.options.choices import Choices
from unetmm_cli.signals import stop_on_signal


def restore_all(inputs: list[str], output: str, choices: Choices) -> None:
    """Restore one image into a file, or several into a folder.

    Raises
    ------
    UnetmmError
        If a single image fails, or no image is found.
    typer.Exit
        With FAILED_EXIT if some of several failed.
    """
    if choices.input.watches:
        _watch(inputs, output, choices)
        return
    with ExitStack() as stack:
        piped = PIPE in inputs
        stdin = take_stdin(stack.enter_context(spool_folder())) if piped else b""
        stack.enter_context(named_stdin(stdin))
        found = find(inputs, stdin)
        if is_pipe(output):
            if len(found) != 1:
                raise typer.BadParameter("-o - takes one image, not several")
            restore_to_stdout(found[0][0], choices)
        elif (plate := plate_of(found, output)) is not None:
            _restore_plate(plate, found[0][0], output, choices)
        elif is_alone(found, inputs, stdin) and not is_folder(output):
            _check_one_series(found[0][0], choices)
            restore_one(found[0][0], to_place(output), choices)
        else:
            _restore_several(inputs, found, output, choices, stdin)


def _restore_several(
    inputs: list[str], found: list[Found], output: str, choices: Choices, stdin: Path | bytes
) -> None:
    _check_several(choices)
    found = _told_apart(inputs, found, choices)
    if len(found) > 1:
        check_is_folder(output, len(found))
    items = make_items(inputs, found, to_place(output), choices)
    items = with_all_series(items) if choices.input.takes_all_series else items
    _hint_at_series(items, choices)
    check_pages(len(items), choices)
    check_written(choices.written, [path for item in items for path in (item.input, item.output)])
    share, choices = choices.output.share, choices.changed(share=None)
    first = items[0].input if items else None
    if share is not None:
        items = share_of(items, share)
    piped = stdin if isinstance(stdin, Path) else None
    many = Many(_with_budget(choices), share is not None, piped, first, len(items))
    _restore_items(items, many)


def _hint_at_series(items: list[Item], choices: Choices) -> None:
    """Say that slices of a series, which lie in files of their own, get models of their own."""
    how, told = choices.restoration, choices.reporting
    if how.same_model or not is_auto(how.model) or told.quiet:
        return
    dicom = find_format("dicom")
    suffixes = dicom.suffixes if dicom else ()
    folders = Counter(i.input.parent for i in items if i.input.suffix.lower() in suffixes)
    if most := max(folders.values(), default=0):
        slices_apart(most, told.as_json)


def _restore_plate(plate: PlateLayout, path: Place, output: str, choices: Choices) -> None:
    """Restore all images of a plate into another."""
    _check_several(choices)
    check_pages(len(plate.images), choices)
    items = plate_items(plate, path, output, choices)
    share, choices = choices.output.share, choices.changed(share=None, format="ome-zarr")
    first = items[0].input if items else None
    items = items if share is None else share_of(items, share)
    many = Many(_with_budget(choices), share is not None, None, first, len(items))
    _restore_items(items, many)


def _check_one_series(path: Place, choices: Choices) -> None:
    """Refuse one output for several images of a file."""
    if choices.input.takes_all_series and (count := count_images(path)) > 1:
        raise typer.BadParameter(f"--series all: {path} holds {count} images; give -o FOLDER/")


def _told_apart(inputs: list[str], found: list[Found], choices: Choices) -> list[Found]:
    """Each image once, however many files it has; what is left out is said."""
    kept, parts = without_set_parts(found)
    told = choices.reporting
    if not told.quiet:
        other_files(other_kinds(inputs), told.as_json)
        parts_of_sets(parts, told.as_json)
    return kept


def _watch(inputs: list[str], output: str, choices: Choices) -> None:
    from unetmm_cli.batch.watching import watch

    _check_several(choices)
    check_pages(None, choices)
    if is_pipe(output) or PIPE in inputs:
        raise typer.BadParameter("--watch takes folders and writes into one; leave out -")
    folder = to_place(output)
    check_written(choices.written, [folder])
    watch(inputs, folder, choices, Many(_with_budget(choices)))


def _check_several(choices: Choices) -> None:
    if choices.output.save_calibration is not None:
        raise typer.BadParameter(
            "--save-calibration takes one image and the name of its output, not several images"
        )


def _with_budget(choices: Choices) -> Choices:
    """One budget for all images, or it would shrink with every one that is in memory.

    Where others compute it is that of each of them, not of this machine.
    """
    if choices.is_distributed:
        return choices
    budget_bytes = choices.restoration.mem_budget or default_budget_bytes()
    return choices.changed(mem_budget=budget_bytes)


def _restore_items(items: list[Item], many: Many) -> None:
    told = many.choices.reporting
    display.show_logs(told.quiet, told.as_json)
    try:
        with stop_on_signal() as stop:
            for item in items:
                many.do(item, stop)
    finally:
        many.write_report()
    many.summarise()


def _size_bytes(path: Place) -> int:
    return path.stat().st_size if isinstance(path, Path) and path.is_file() else 0


def share_of(items: list[Item], share: Share) -> list[Item]:
    """A share of a batch: the largest files first, each to the share with the least so far."""
    sizes = {i.input: _size_bytes(i.input) for i in items}
    loads = [0] * share.count
    chosen: set[Place] = set()
    for item in sorted(items, key=lambda i: (-sizes[i.input], str(i.output))):
        least = loads.index(min(loads))
        loads[least] += sizes[item.input] + 1
        if least == share.index:
            chosen.add(item.output)
    return [item for item in items if item.output in chosen]
