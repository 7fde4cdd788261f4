"""What was found: figures with their ratios and goals, ready for the table and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .measure import Samples

OURS = "sshmux"
MUX = "sshmux mux"  # the same with engine="mux"
OWN = (OURS, MUX)
BARE = "bare ssh"
FLOOR = "floor"
ASYNCSSH = "asyncssh"

_FACTORS = {"ms": 1e3, "µs": 1e6, "s": 1.0, "KiB": 1 / 1024, "MiB": 1 / 1024**2}


@dataclass(frozen=True)
class Goal:
    """A limit to the ratio to a peer, or with `peer=None` to a value of our own, in the unit.

    It is the most for a cost, and the least for a rate.
    """

    limit: float
    peer: str | None = None
    who: str = OURS


@dataclass(frozen=True)
class Verdict:
    """What became of a goal. Nothing is `found` when one of the two did not take part."""

    goal: str
    found: float | None
    met: bool | None


@dataclass(frozen=True)
class Figure:
    """One thing that was measured of everybody.

    Parameters:
        unit: of `values`, which are in seconds or bytes; a unit with "/s" is a rate, whose values
            are the seconds that `amount` took.
        facts: what was counted and must be so, by what it says.
    """

    key: str
    title: str
    unit: str
    values: Mapping[str, Samples]
    goals: Sequence[Goal] = ()
    amount: float = 1.0
    facts: Mapping[str, bool] = field(default_factory=dict)
    note: str = ""

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")

    def ratio(self, who: str, peer: str) -> Samples:
        """Of costs, or of rates: as the figure is shown."""
        ours, theirs = self.values[who], self.values[peer]
        return theirs.per(ours) if self.is_rate else ours.per(theirs)

    def shown(self, who: str) -> Samples:
        samples = self.values[who]
        if self.is_rate:
            return Samples(tuple(self.amount / value for value in samples.values))
        return samples.times(_FACTORS.get(self.unit, 1.0))

    @property
    def own(self) -> list[str]:
        return [who for who in OWN if who in self.values]

    def peers_of(self, who: str) -> list[str]:
        """Whom it is compared with. Of our two engines, the newer one with the older."""
        return [peer for peer in self.values if peer != who and (who, peer) != OWN]

    def verdicts(self) -> Iterator[Verdict]:
        for goal in self.goals:
            yield self._verdict(goal)
        for what, true in self.facts.items():
            yield Verdict(what, None, true)

    def _verdict(self, goal: Goal) -> Verdict:
        limit = f"{'≥' if self.is_rate else '≤'} {goal.limit:g}"
        said = f"{limit} x {goal.peer}" if goal.peer else f"{limit} {self.unit}"
        said = f"{goal.who} {said}"
        if goal.who not in self.values or (goal.peer and goal.peer not in self.values):
            return Verdict(said, None, None)
        samples = self.ratio(goal.who, goal.peer) if goal.peer else self.shown(goal.who)
        found = samples.median
        return Verdict(said, found, found >= goal.limit if self.is_rate else found <= goal.limit)

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "unit": self.unit,
            "better": "more" if self.is_rate else "less",
            "ratios": {
                who: {peer: _json(self.ratio(who, peer)) for peer in self.peers_of(who)}
                for who in self.own
            },
            "values": {who: _json(self.shown(who)) for who in self.values},
            "goals": [
                {"goal": each.goal, "found": each.found, "met": each.met}
                for each in self.verdicts()
            ],
            "note": self.note,
        }


def _json(samples: Samples) -> dict[str, Any]:
    return {
        "median": samples.median,
        "min": samples.low,
        "max": samples.high,
        "rounds": len(samples.values),
    }
