"""What was found: figures with their ratios and goals, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .measure import Samples

OURS = "sshmux"
BARE = "bare ssh"
ASYNCSSH = "asyncssh"

_FACTORS = {"ms": 1e3, "µs": 1e6, "s": 1.0, "KiB": 1 / 1024, "MiB": 1 / 1024**2}


@dataclass(frozen=True)
class Goal:
    """At most this: a ratio to a peer, or with `peer=None` a value of our own, in the unit."""

    limit: float
    peer: str | None = None

    def __str__(self) -> str:
        return f"≤ {self.limit:.2f} x {self.peer}" if self.peer else f"≤ {self.limit:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Parameters:
        unit: of `values`, which are in seconds or bytes; a unit with "/s" is a rate, whose values
            are the seconds that `amount` took.
        facts: what was counted and must be so, by what it says.
    """

    key: str
    title: str
    unit: str
    values: Mapping[str, Samples]
    goal: Goal | None = None
    amount: float = 1.0
    facts: Mapping[str, bool] = field(default_factory=dict)
    note: str = ""

    def ratio(self, peer: str) -> Samples:
        """Our cost divided by the peer's: below 1, sshmux is the cheaper one."""
        return self.values[OURS].per(self.values[peer])

    def shown(self, who: str) -> Samples:
        samples = self.values[who]
        if self.unit.endswith("/s"):
            return Samples(tuple(self.amount / value for value in samples.values))
        return samples.times(_FACTORS.get(self.unit, 1.0))

    @property
    def met(self) -> bool | None:
        """Whether goal and facts hold; None when there is neither."""
        verdicts = list(self.facts.values())
        if self.goal is not None:
            found = self.ratio(self.goal.peer) if self.goal.peer else self.shown(OURS)
            verdicts.append(found.median <= self.goal.limit)
        return all(verdicts) if verdicts else None

    @property
    def peers(self) -> list[str]:
        return [who for who in self.values if who != OURS]

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "goal": str(self.goal) if self.goal else None,
            "met": self.met,
            "ratios": {who: _json(self.ratio(who)) for who in self.peers if OURS in self.values},
            "unit": self.unit,
            "values": {who: _json(self.shown(who)) for who in self.values},
            "facts": dict(self.facts),
            "note": self.note,
        }


def _json(samples: Samples) -> dict[str, Any]:
    return {
        "median": samples.median,
        "min": samples.low,
        "max": samples.high,
        "rounds": len(samples.values),
    }


def show(console: Console, figures: Sequence[Figure]) -> None:
    """Ratios first; then what they were made from."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("what")
    table.add_column("ratio: sshmux ÷ peer", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    table.add_column("median (lowest to highest)", no_wrap=True)
    for figure in figures:
        ratios = [
            f"{_spread(figure.ratio(who), 2)} {who}"
            for who in figure.peers
            if OURS in figure.values
        ]
        values = [f"{who} {_value(figure, who)}" for who in figure.values]
        facts = [f"{'✓' if true else '✗'} {what}" for what, true in figure.facts.items()]
        what = "\n".join([figure.title, *(f"[dim]{line}[/]" for line in figure.note.splitlines())])
        table.add_row(what, "\n".join(ratios), _verdict(figure), "\n".join(values + facts))
        table.add_section()
    console.print(table)


def _value(figure: Figure, who: str) -> str:
    samples = figure.shown(who)
    digits = 0 if samples.median >= 100 else 1 if samples.median >= 10 else 2
    return f"{_spread(samples, digits)} {figure.unit}"


def _spread(samples: Samples, digits: int) -> str:
    if len(samples.values) == 1:
        return f"{samples.median:.{digits}f}"
    low, high = f"{samples.low:.{digits}f}", f"{samples.high:.{digits}f}"
    return f"{samples.median:.{digits}f} ({low}…{high})"


def _verdict(figure: Figure) -> str:
    met = figure.met
    if met is None:
        return ""
    goal = str(figure.goal) if figure.goal else "counted"
    return f"{goal}\n[green]met[/]" if met else f"{goal}\n[bold red]not met[/]"
