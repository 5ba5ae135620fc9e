"""Images that come into folders are restored as they come, one by one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import typer

from unetmm.errors import UnetmmError
from unetmm.io.open import open_source
from unetmm.io.places import Place, RemotePath, to_place
from unetmm_cli import display
from unetmm_cli.batch.inputs import expand
from unetmm_cli.batch.many import Many
from unetmm_cli.batch.placing import Item, place, with_extension
from unetmm_cli.display.batch import watching
from unetmm_cli.options.choices import Choices
from unetmm_cli.signals import stop_on_signal

LOOK_S = 1.0
"""Time between two looks at the folders, in seconds."""
State = tuple[int, int, int]
"""Number of files of an image, their bytes, and their newest time in ns."""


def watch(inputs: list[str], output: Place, choices: Choices, many: Many) -> None:
    """Restore what is in the folders and what comes, until a signal or a long pause.

    Raises
    ------
    typer.BadParameter
        If the inputs are no folders, or the output is one of them or within one.
    typer.Exit
        With FAILED_EXIT if some images failed.
    Interrupted
        If a signal stopped the restoration of an image midway.
    """
    _check(inputs, output, choices)
    told, pause_s = choices.reporting, choices.input.watch_for
    display.show_logs(told.quiet, told.as_json)
    folder = _Folder(inputs, output, many)
    if not told.quiet:
        watching(inputs, told.as_json)
    try:
        with stop_on_signal() as stop:
            while not stop.is_set():
                waiting = folder.look(stop)
                quiet_s = time.monotonic() - folder.changed
                if pause_s is not None and not waiting and quiet_s > pause_s:
                    break
                stop.wait(LOOK_S)
        folder.give_up()
    finally:
        many.write_report()
    many.summarise()


def _check(inputs: list[str], output: Place, choices: Choices) -> None:
    if choices.output.share is not None or choices.is_distributed:
        raise typer.BadParameter(
            "--watch is for one process: leave out --share and clusters, and name one GPU"
        )
    for text in inputs:
        path = to_place(text)
        if isinstance(path, RemotePath) or not path.is_dir():
            raise typer.BadParameter(f"--watch takes folders; {text} is none")
        if isinstance(output, Path) and path.resolve() in (
            output.resolve(),
            *output.resolve().parents,
        ):
            raise typer.BadParameter(
                f"--watch: {output} lies within {text}, so outputs would be taken for new images"
            )


@dataclass
class _Folder:
    """The watched folders, and what was seen of them so far."""

    inputs: list[str]
    """Folders that are watched."""
    output: Place
    """Folder that outputs go to."""
    many: Many
    """Restorer that takes images and counts them."""
    changed: float = field(default_factory=time.monotonic)
    """Time on the monotonic clock when an image last came, grew or was restored, in seconds."""
    _states: dict[Place, State] = field(default_factory=dict)
    """Image -> what the last look saw of it."""
    _handled: set[Place] = field(default_factory=set)
    """Images that were restored or have failed."""
    _refused: dict[Place, tuple[Item, str]] = field(default_factory=dict)
    """Images that have stopped growing but cannot be read, each with the reason."""
    _made_of: list[Place] = field(default_factory=list)
    """Images that outputs were made of, one file of each set."""
    _taken: dict[Place, Place] = field(default_factory=dict)
    """Output -> image that it was made from."""

    def look(self, stop: threading.Event) -> bool:
        """Restore what is complete: unchanged since the last look, and openable.

        Returns whether an image was seen that only the next look can tell to be complete.
        """
        waiting = False
        found = [f for f in expand(self.inputs) if f[0] not in self._handled]
        for path, below in found:
            if stop.is_set():
                return waiting
            state = _state(path)
            if state is None:
                continue
            if self._states.get(path) != state:
                self._states[path], self.changed = state, time.monotonic()
                self._refused.pop(path, None)
                waiting = True
            elif path not in self._refused:
                self._take(place([(path, below)], self.output, self.many.choices)[0], stop)
        return waiting

    def _take(self, item: Item, stop: threading.Event) -> None:
        try:
            source = open_source(item.input)
            source.close()
        except (UnetmmError, OSError) as error:
            self._refused[item.input] = item, str(error)
            return
        self._handled.add(item.input)
        parts = source.info.metadata.reading.other_files
        if any(str(path.resolve()) in parts for path in self._made_of):
            return  # a part of an image that is restored already
        self._made_of.append(item.input)
        if self._taken.get(item.output, item.input) is not item.input:
            apart = with_extension(item.input, item.output, self.many.choices.output.suffix)
            page = item.page and item.page.with_name(f"{apart}.html")
            item = replace(item, output=item.output.with_name(apart), page=page)
        other = self._taken.setdefault(item.output, item.input)
        if other is not item.input:
            self.many.fail(item, f"{item.output}: is the output of {other} already")
        else:
            self.many.do(item, stop)
        self.changed = time.monotonic()

    def give_up(self) -> None:
        """Count what never became readable as failed."""
        for item, reason in self._refused.values():
            self.many.fail(item, reason)


def _state(path: Place) -> State | None:
    """What changes while an image is being written; None if it is gone again."""
    assert isinstance(path, Path), "folders hold files"
    try:
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        stats = [p.stat() for p in files]
    except OSError:
        return None
    return len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)
