"""Signatures of commands, from which Typer makes options: shared, changed and hidden ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from typing import Annotated, Any, get_args, get_type_hints

Command = Callable[..., None]
"""Function that Typer makes a command of."""


def parameters_of(command: Command) -> list[inspect.Parameter]:
    """The parameters of a command with their annotations as objects, by keyword only."""
    hints = get_type_hints(command, include_extras=True)
    return [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name])
        for p in inspect.signature(command).parameters.values()
    ]


def with_parameters(wrapper: Command, parameters: list[inspect.Parameter]) -> Command:
    """A function that tells Typer these parameters instead of its own."""
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapper.__wrapped__  # type: ignore[attr-defined]
    return wrapper


def changed_option(hint: Any, **settings: Any) -> Any:
    """The annotation of an option with other settings, such as `hidden`."""
    kind, option = get_args(hint)
    option = copy(option)
    for name, value in settings.items():
        setattr(option, name, value)
    return Annotated[kind, option]
