"""What a worker is told of a share, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unetmm.errors import UnetmmError
from unetmm.io.places import Place
from unetmm.options import Options
from unetmm.plan.share import Share
from unetmm.run.report import Report

OutputState = str | None
"""Inode and time of an output, or its version; None if it is not there."""


@dataclass(frozen=True)
class ShareTask:
    """What a worker is told: all it needs to do one share."""

    path: Place
    """Path of the image."""
    output: Place
    """Path of the restored image."""
    options: Options
    """Options of the run; budget and cores are those of the worker."""
    share: Share
    """Part of the run to do."""
    before: OutputState
    """State of the output before the run, to tell a finished run from one that is not begun."""
    run: str
    """Name of the run, with which the names of its events begin."""
    devices: tuple[str, ...] = ()
    """Devices of the workers, by the numbers that are their names; empty: that of the options."""


@dataclass(frozen=True)
class Failure:
    """An error that another try would not mend, in a form that travels."""

    kind: type[UnetmmError]
    """Class of the error."""
    message: str
    """Text of the error."""
    facts: dict[str, Any]
    """Attributes of the error, by name."""

    def to_error(self) -> UnetmmError:
        return self.kind(self.message, **self.facts)


ShareResult = Report | Failure | None
"""Result of a share; None: stopped, or the output was finished already."""
