"""Idle connections that help with a transfer of another one, and can be borrowed all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from ..session.link import Link
from ..system.clock import now
from .events import State
from .slots import PooledConnection, Slots


class Host(Protocol):
    """What is needed of the pool."""

    slots: Slots[Link]

    def settle(self, member: PooledConnection[Link], at: float) -> None:
        """Somebody has left it."""


@contextlib.contextmanager
def guests(host: Host, link: Link, most: int) -> Iterator[Sequence[Link]]:
    """Up to so many idle ones besides `link`, which are not closed for their age meanwhile."""
    members = [each for each in host.slots.idle(most) if each.connection is not link]
    for member in members:
        member.guests += 1
    try:
        yield [member.connection for member in members]
    finally:
        at = now()
        for member in members:
            member.guests -= 1
            member.last_used = at
            if member.state is State.AVAILABLE:
                host.settle(member, at)
