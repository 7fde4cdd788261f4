"""How figures and tables are shown to users."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Literal

import click

from ..text import cleaned, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_WIDE = 4096  # columns of a table that goes into a pipe: nothing is cut there


def console() -> Console:
    """The terminal; or plain, wide text where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE, color_system=None)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Prints words of ours. What they quote may be a stranger's: see `text.cleaned`."""
    click.echo(cleaned(text), err=err, nl=nl)


class LogFormatter(logging.Formatter):
    """The same for what is logged."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, or lines."""
        return cleaned(super().format(record))


def styled(text: str, style: str) -> Text:
    """A cell of a table, in colour. No text is ever taken for rich's markup."""
    from rich.text import Text

    return Text(one_line(text), style)


class Table:
    """A table without frames.

    Parameters:
        columns: their titles; those that begin with '>' hold numbers.
    """

    def __init__(self, *columns: str) -> None:
        from rich.table import Table as RichTable

        self._table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            side: Literal["left", "right"] = "right" if column.startswith(">") else "left"
            self._table.add_column(column.lstrip(">"), justify=side, overflow="fold")

    def add(self, *cells: str | Text) -> None:
        """A row; a cell is a text, or what `styled` makes of one."""
        texts = [styled(cell, "") if isinstance(cell, str) else cell for cell in cells]
        self._table.add_row(*texts)

    def show(self) -> None:
        """Prints it."""
        console().print(self._table)


def seconds(value: float | None) -> str:
    """5s, 12m, 3h, 2d."""
    if value is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if value >= 2 * size:
            return f"{value / size:.0f}{unit}"
    return f"{value:.0f}s"


def megabytes(value: int | None) -> str:
    """8.4 MB."""
    return "-" if value is None else f"{value / 1e6:.1f} MB"
