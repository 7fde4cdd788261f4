"""The figures for users: ratios first, then what they were made from, then the goals."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .figures import MUX, OURS, Figure, Verdict
from .measure import Samples


def show(console: Console, figures: Sequence[Figure]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what, and who", overflow="fold")
    for who in (OURS, MUX):
        table.add_column(f"ratio of\n{who}", no_wrap=True)
    table.add_column("median (lowest to highest)", no_wrap=True)
    for figure in figures:
        _add(table, figure)
        table.add_section()
    console.print(table)


def _add(table: Table, figure: Figure) -> None:
    table.add_row(f"[bold]{figure.title}[/]")
    notes = figure.note.splitlines()
    if figure.is_rate:
        notes.append("ratios of rates: more is better")
    for line in notes:
        table.add_row(f"[dim]{line}[/]")
    for who in figure.values:
        ratios = [
            _spread(figure.ratio(own, who), 2)
            if own in figure.values and who in figure.peers_of(own)
            else ""
            for own in (OURS, MUX)
        ]
        table.add_row(f"  {who}", *ratios, _value(figure, who))
    for verdict in figure.verdicts():
        table.add_row(f"  {_said(verdict)}")


def _said(verdict: Verdict) -> str:
    if verdict.met is None:
        return f"[yellow]? not measured:[/] {verdict.goal}"
    found = "" if verdict.found is None else f": {verdict.found:.{_digits(verdict.found)}f}"
    said = f"{verdict.goal}{found}"
    return f"[green]✓ met:[/] {said}" if verdict.met else f"[bold red]✗ not met:[/] {said}"


def _value(figure: Figure, who: str) -> str:
    samples = figure.shown(who)
    return f"{_spread(samples, _digits(samples.median))} {figure.unit}"


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def _spread(samples: Samples, digits: int) -> str:
    if len(samples.values) == 1:
        return f"{samples.median:.{digits}f}"
    low, high = f"{samples.low:.{digits}f}", f"{samples.high:.{digits}f}"
    return f"{samples.median:.{digits}f} ({low}…{high})"
