"""Options that have another name than they had: the former name still works, but no help shows it.

A shard is a file of a Zarr, a part of a run is a share. A worker is a process, what a run computes
on are cores. The shares of a job array are its tasks.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any

import typer

from unetmm_cli.options.signatures import (
    Command,
    changed_option,
    parameters_of,
    with_parameters,
)

FORMER_NAMES = {"share": "shard", "cores": "workers", "tasks": "nodes"}
"""Option -> its former name."""
CONTEXT = "context_of_former_names"
"""Name of the parameter that holds what the command line gave; it is no option."""


def with_former_names(command: Command) -> Command:
    """Give a command the former name of each of its options that has one, as a hidden option."""
    parameters = parameters_of(command)
    renamed = {p.name: FORMER_NAMES[p.name] for p in parameters if p.name in FORMER_NAMES}
    hidden = [_hidden(p, renamed[p.name]) for p in parameters if p.name in renamed]
    context = inspect.Parameter(CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

    @wraps(command)
    def wrapper(**values: Any) -> None:
        given = values.pop(CONTEXT)
        for name, former in renamed.items():
            value = values.pop(former)
            if not _is_given(given, former):
                continue
            if _is_given(given, name):
                raise typer.BadParameter(
                    f"--{former} is the former name of --{name}: give one of them"
                )
            values[name] = value
        command(**values)

    return with_parameters(wrapper, [*parameters, *hidden, context])


def _hidden(parameter: inspect.Parameter, name: str) -> inspect.Parameter:
    """The same option under another name that no help shows."""
    annotation = changed_option(parameter.annotation, hidden=True)
    return parameter.replace(name=name, annotation=annotation)


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether the command line has an option, be it with its default value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
