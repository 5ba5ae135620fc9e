"""Tells a Python user how far a run is: a function of theirs, or a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from unetmm.errors import ShapeError
from unetmm.extras import need
from unetmm.run.report import Progress

ProgressChoice = bool | Callable[[Progress], None]
"""Choice of a bar (True), nothing (False), or a function that takes what is to be told."""


@contextmanager
def telling(choice: ProgressChoice) -> Iterator[Callable[[Progress], None]]:
    """A function to tell; the bar goes away with the block.

    Raises
    ------
    MissingPackageError
        If a bar is asked for, and tqdm is not installed.
    ShapeError
        If it is neither True, False nor a function.
    """
    if not callable(choice) and not isinstance(choice, bool):
        raise ShapeError(f"asked for progress={choice!r}; give True, False or a function")
    if not isinstance(choice, bool):
        yield choice
        return
    if not choice:
        yield lambda progress: None
        return
    need(
        "tqdm",
        "progress=True",
        'pip install "unetmm[notebook]", or give a function: progress=print',
    )
    from tqdm.auto import tqdm

    with tqdm(unit="px", unit_scale=True, leave=False) as bar:

        def tell(progress: Progress) -> None:
            bar.total = progress.total_px
            if not bar.desc.startswith(progress.phase):
                bar.set_description(progress.phase)
            bar.update(progress.done_px - bar.n)
            if progress.done_px == progress.total_px:
                bar.refresh()

        yield tell
