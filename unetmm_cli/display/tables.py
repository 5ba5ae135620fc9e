"""Tables on stdout."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from unetmm_cli.display.text import flat

if TYPE_CHECKING:
    from rich.table import Table

PIPE_WIDTH = 120
"""Columns of tables where stdout is no terminal."""


def show_pairs(content: dict[str, Any]) -> None:
    """Names and values, one pair a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in content.items():
        table.add_row(Text(name, style="bold"), Text(flat(value), overflow="fold"))
    show_table(table)


def make_table(*columns: str, right: Iterable[str] = ()) -> Table:
    """A table without rows.

    right : columns whose values stand at the right.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def width() -> int:
    """Columns of what is shown: those of the terminal."""
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else PIPE_WIDTH


def show_table(table: Table) -> None:
    """A table on stdout, as wide as the terminal."""
    from rich.console import Console

    console = Console(width=width())
    console.print(table, markup=False, highlight=False)
