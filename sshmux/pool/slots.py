"""The book of one pool: who is where, and what is to be done. Pure: no I/O, no loop, no clock.

Every change of a pooled connection's state goes through `PooledConnection.move`, and only the
transitions drawn here exist::

    CREATED → IN_USE ⇄ AVAILABLE → STALE | UNHEALTHY → CLOSED
    (and from anywhere to CLOSED, when the master dies)
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ..config import PoolConfig
from ..system.clock import now
from .events import State

_ALLOWED: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.IN_USE, State.AVAILABLE, State.CLOSED}),
    State.IN_USE: frozenset({State.AVAILABLE, State.UNHEALTHY, State.STALE, State.CLOSED}),
    State.AVAILABLE: frozenset({State.IN_USE, State.STALE, State.UNHEALTHY, State.CLOSED}),
    State.STALE: frozenset({State.CLOSED}),
    State.UNHEALTHY: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
_AGE_JITTER = 0.1  # a connection's own max_age is up to this part shorter


class Usable(Protocol):
    """All that the book asks of a connection."""

    @property
    def usable(self) -> bool:
        """Whether a session may be opened on it now."""


C = TypeVar("C", bound=Usable)
Observer = Callable[["PooledConnection[C]", State, State, str], None]


@dataclass(eq=False)
class PooledConnection(Generic[C]):
    """A connection in the pool.

    Attributes:
        connection: the connection itself.
        cluster_id: whose it is.
        created_at, last_used: seconds since the epoch.
        in_use: whether anybody has borrowed it.
        health_check_failures: failed checks in a row.
        slot: the number of its slot, never given twice in one pool.
        interactive_login: only a user can log in again, who had to for it, or with dial="never":
            neither age nor idleness ends it.
        borrowers: how many have borrowed it (`sessions_per_connection`).
        uses: how often it was borrowed.
        guests: transfers of other connections that use it while it is idle; it can be borrowed.
    """

    connection: C
    cluster_id: Hashable
    created_at: float = field(default_factory=now)
    last_used: float = field(default_factory=now)
    in_use: bool = False
    health_check_failures: int = 0
    slot: int = field(default=0, kw_only=True)
    interactive_login: bool = field(default=False, kw_only=True)
    borrowers: int = field(default=0, init=False)
    uses: int = field(default=0, init=False)
    guests: int = field(default=0, init=False)
    state: State = field(default=State.CREATED, init=False)
    age_jitter: float = field(default=0.0, kw_only=True, repr=False)
    observer: Observer[C] | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if self.in_use:
            self.borrowers, self.state = 1, State.IN_USE

    def mark_used(self, at: float | None = None) -> None:
        """Somebody borrows it."""
        self.last_used = now() if at is None else at
        self.borrowers += 1
        self.uses += 1
        self.in_use = True
        if self.state is not State.IN_USE:
            self.move(State.IN_USE, "borrowed")

    def mark_available(self, at: float | None = None) -> None:
        """A borrower gives it back; it is available when it was the last one."""
        self.last_used = now() if at is None else at
        self.borrowers = max(0, self.borrowers - 1)
        self.in_use = self.borrowers > 0
        if not self.in_use and self.state in (State.IN_USE, State.CREATED):
            self.move(State.AVAILABLE, "given back")

    def is_stale(self, max_age: float, at: float | None = None) -> bool:
        """Whether it is older than `max_age` seconds, and may be replaced for that."""
        return (
            not self.interactive_login and (now() if at is None else at) - self.created_at > max_age
        )

    def is_idle_too_long(self, max_idle: float, at: float | None = None) -> bool:
        """Whether nobody has used it for more than `max_idle` seconds, and it may be closed."""
        if self.is_busy or self.interactive_login:
            return False
        return (now() if at is None else at) - self.last_used > max_idle

    @property
    def is_busy(self) -> bool:
        """Whether it must not be closed: somebody has borrowed it, or is its guest."""
        return self.in_use or self.guests > 0

    @property
    def is_closed(self) -> bool:
        """Whether it has left the pool, or is leaving."""
        return self.state in (State.STALE, State.UNHEALTHY, State.CLOSED)

    def move(self, new: State, reason: str) -> None:
        """The one place where a state changes."""
        old = self.state
        if new not in _ALLOWED[old]:
            raise ValueError(f"a pooled connection cannot go from {old.value} to {new.value}")
        self.state = new
        if self.observer is not None:
            self.observer(self, old, new, reason)


class Waiter(Protocol[C]):
    """Somebody who waits for a connection."""

    def offer(self, member: PooledConnection[C]) -> bool:
        """Hands it over. False when the waiter has gone: then it was not taken."""

    def fail(self, error: Exception) -> None:
        """Ends the wait with an error."""


@dataclass(frozen=True)
class Expired(Generic[C]):
    """A member that has to leave, and why."""

    member: PooledConnection[C]
    state: State
    reason: str


class Slots(Generic[C]):
    """Members, dials under way, members being closed, and waiters in order."""

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        self.members: list[PooledConnection[C]] = []
        self.dialling = 0
        self.closing = 0
        self.replacing = 0  # unhealthy members to be dialled anew, wanted or not
        self.waiters: deque[Waiter[C]] = deque()
        self._next_slot = 1

    def __repr__(self) -> str:
        in_use = sum(member.in_use for member in self.members)
        return (
            f"<Slots {in_use} in use, {len(self.members) - in_use} available, "
            f"{self.dialling} dialling, {self.closing} closing, {len(self.waiters)} waiting>"
        )

    @property
    def taken(self) -> int:
        """Slots that count against `pool_size`: a master that is still leaving counts, too."""
        return len(self.members) + self.dialling + self.closing

    def reserve(self) -> int:
        """Takes a slot for a dial, before the first await. Returns its number."""
        self.dialling += 1
        self.replacing = max(0, self.replacing - 1)
        number, self._next_slot = self._next_slot, self._next_slot + 1
        return number

    def dialled(self, member: PooledConnection[C]) -> None:
        """The dial worked."""
        self.dialling -= 1
        member.age_jitter = random.random() * _AGE_JITTER  # noqa: S311 - not for secrets
        self.members.append(member)

    def failed(self) -> None:
        """The dial did not."""
        self.dialling -= 1

    def dials_wanted(self, masters: int | None = None, dials: int | None = None) -> int:
        """How many dials to start now: for waiters that no dial under way will serve.

        Parameters:
            masters: the most there may be; None for `pool_size`.
            dials: the most that may be under way; None for `max_parallel_dials`.
        """
        masters = self.config.pool_size if masters is None else masters
        dials = self.config.max_parallel_dials if dials is None else dials
        uncovered = len(self.waiters) - self.dialling * self.config.sessions_per_connection
        wanted = max(0, math.ceil(uncovered / self.config.sessions_per_connection))
        return max(
            0,
            min(
                max(wanted, self.replacing),
                masters - self.taken,
                dials - self.dialling,
            ),
        )

    def lendable(self) -> PooledConnection[C] | None:
        """The member to lend next: the least busy one, then the one used last.

        Used last first, so that a pool that is larger than its work lets the rest grow idle.
        """
        free = [
            member
            for member in self.members
            if member.borrowers < self.config.sessions_per_connection and not member.is_closed
        ]
        while free:
            best = min(free, key=lambda member: (member.borrowers, -member.last_used))
            if best.connection.usable:  # looks at the file system: asked of the best one only
                return best
            free.remove(best)
        return None

    def idle(self, most: int) -> list[PooledConnection[C]]:
        """Up to so many that nobody uses, the one used last first."""
        found = [each for each in self.members if each.state is State.AVAILABLE]
        found.sort(key=lambda member: (member.guests, -member.last_used))
        return [each for each in found if each.connection.usable][: max(0, most)]

    def take(self, at: float) -> PooledConnection[C] | None:
        """Lends a member at once, unless somebody waits already or none is free."""
        if self.waiters:
            return None
        member = self.lendable()
        if member is not None:
            member.mark_used(at)
        return member

    def hand_over(self, at: float) -> None:
        """Lends free members to waiters, first come, first served."""
        while self.waiters:
            member = self.lendable()
            if member is None:
                return
            if self.waiters.popleft().offer(member):
                member.mark_used(at)

    def fail_waiters(self, error: Callable[[], Exception]) -> None:
        """Ends every wait, each with an error of its own."""
        while self.waiters:
            self.waiters.popleft().fail(error())

    def remove(self, member: PooledConnection[C]) -> bool:
        """Takes a member out of the book. False when it had left before."""
        if member not in self.members:
            return False
        self.members.remove(member)
        return True

    def unusable(self) -> list[PooledConnection[C]]:
        """Members that can be lent no more: dead, or their socket is gone."""
        return [member for member in self.members if not member.connection.usable]

    def expired(self, at: float) -> list[Expired[C]]:
        """Members that are due to leave at the time `at`. Nothing in use ever is."""
        found = []
        for member in self.members:
            if member.is_busy or member.is_closed:
                continue
            if member.is_stale(self._max_age(member), at):
                found.append(Expired(member, State.STALE, "older than max_age"))
            elif member.is_idle_too_long(self.config.max_idle, at):
                found.append(Expired(member, State.STALE, "idle for longer than max_idle"))
        return found

    def overdue(self, member: PooledConnection[C], at: float) -> str | None:
        """Why a member that was just given back has to leave, if it has to."""
        if not member.connection.usable:
            return "it cannot be used any more"
        if member.health_check_failures >= self.config.max_health_failures:
            return "it failed its health checks"
        if member.is_stale(self._max_age(member), at):
            return "older than max_age"
        return None

    def next_expiry(self) -> float | None:
        """When `expired` will next find somebody, if nothing changes until then."""
        return min(
            (
                min(
                    member.created_at + self._max_age(member),
                    member.last_used + self.config.max_idle,
                )
                for member in self.members
                if not member.is_busy and not member.interactive_login
            ),
            default=None,
        )

    def _max_age(self, member: PooledConnection[C]) -> float:
        return self.config.max_age * (1 - member.age_jitter)
