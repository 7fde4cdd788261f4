"""How figures and tables are shown to users."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 4096  # columns of a table that goes into a pipe: nothing is cut there


def console() -> Console:
    """The terminal; or plain, wide text where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE, color_system=None)


def table(*columns: str) -> Table:
    """A table without frames. Columns that begin with '>' hold numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        number = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if number else "left", overflow="fold")
    return made


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
