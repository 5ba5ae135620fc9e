"""Writes the pages of the reference that are made of the code: `python docs/make_reference.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

import unetmm
from unetmm_cli.app import PANELS, app, name_of

FOLDER = Path(__file__).parent / "reference"


def command_line() -> str:
    """Every command with its options, as its help says."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = ["# Command line", "", "`unetmm COMMAND --help` shows the same in a terminal."]
    for panel, functions in PANELS.items():
        for function in functions:
            lines += ["", f"## {name_of(function)}", "", f"*{panel}*", ""]
            lines += _command(commands[name_of(function)])
    return "\n".join(lines) + "\n"


def _command(command: Any) -> Iterator[str]:
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    prose, _, example = text.partition("Example: ")
    yield prose.strip()
    yield from ("", "```", example.strip(), "```", "")
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    rows = [_row(p) for p in shown if p.name != "help"]
    yield from ("| | value | |", "|---|---|---|", *rows)


def _row(parameter: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    is_option = parameter.param_type_name == "option"
    name = ", ".join(f"`{n}`" for n in names) if is_option else f"`{parameter.metavar}`"
    choices = get_args(parameter.type_descriptor.annotation)
    named = "|".join(map(str, choices)) if all(isinstance(c, str) for c in choices) else ""
    is_flag = getattr(parameter, "is_flag", False)
    value = "" if is_flag or not is_option else parameter.metavar or named
    value = ", ".join(f"`{word}`" for word in value.split("|") if word)
    help_text = re.sub(r"\s+", " ", getattr(parameter, "help", "") or "").replace("|", "\\|")
    default = parameter.default
    plain = isinstance(default, (int, float, str)) and not isinstance(default, bool)
    if is_option and plain and getattr(parameter, "show_default", True):
        help_text += f" Default: `{default}`."
    return f"| {name} | {value} | {help_text.replace('<', '&lt;')} |"


def python_api() -> str:
    """Every public name with its signature and what its docstring says."""
    lines = ["# Python", "", "`import unetmm`; names are loaded when they are first used."]
    for name in unetmm.__all__:
        found = getattr(unetmm, name)
        if name.startswith("__") or (inspect.isclass(found) and issubclass(found, Exception)):
            continue
        lines += ["", f"## {name}", "", "```text", *_signature(name, found), "```", ""]
        lines += ["```text", inspect.cleandoc(found.__doc__ or ""), "```"]
    lines += ["", "## Errors", "", "| error | |", "|---|---|"]
    for name in unetmm.__all__:
        found = getattr(unetmm, name)
        if inspect.isclass(found) and issubclass(found, Exception):
            first = inspect.cleandoc(found.__doc__ or "").partition("\n")[0]
            lines.append(f"| `{name}` | {first} |")
    return "\n".join(lines) + "\n"


def _signature(name: str, found: Any) -> Iterator[str]:
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        yield name
        return
    shown = (p for p in parameters if p.name != "self" and not p.name.startswith("_"))
    plain = (
        re.sub(r": '([^']*)'", r": \1", re.sub(r"<function .*>$", "...", str(p))) for p in shown
    )
    texts = [re.sub(r"\s+", " ", text) for text in plain]
    if len(", ".join(texts)) < 70:
        yield f"{name}({', '.join(texts)})"
        return
    yield f"{name}("
    yield from (f"    {text}," for text in texts)
    yield ")"


def man_page() -> str:
    """What `man unetmm` shows: every command with its options."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = ['.TH UNETMM 1 "" "unetmm" "User Commands"', ".SH NAME"]
    lines += ["unetmm \\- restore images too large for memory, within a memory budget"]
    lines += [".SH SYNOPSIS", ".B unetmm", "COMMAND [OPTIONS] ..."]
    for panel, functions in PANELS.items():
        lines += [f".SH {panel.upper()}"]
        for function in functions:
            lines += _man_command(commands[name_of(function)])
    lines += [".SH EXIT STATUS", ".TP", "0", "done", ".TP", "1", "an error, in one line", ".TP"]
    lines += ["2", "options that are not understood", ".TP", "3", "some of several images failed"]
    return "\n".join(lines) + "\n"


def _man_command(command: Any) -> Iterator[str]:
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    prose, _, example = text.partition("Example: ")
    yield from (f".SS unetmm {command.name}", *map(_plain, prose.strip().splitlines()))
    yield from (".PP", "Example:", ".B", _plain(example.strip()))
    for parameter in command.params:
        if parameter.name == "help" or getattr(parameter, "hidden", False):
            continue
        is_option = parameter.param_type_name == "option"
        names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.metavar]
        help_text = re.sub(r"\s+", " ", getattr(parameter, "help", "") or "")
        yield from (".TP", f".B {_plain(', '.join(map(str, names)))}", _plain(help_text))


def _plain(text: str) -> str:
    """Text that troff takes as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped or "\\&"


PAGES = {"command-line.md": command_line, "python.md": python_api, "unetmm.1": man_page}
"""Name of a page -> what makes it."""


def main() -> None:
    """Write all of them."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
