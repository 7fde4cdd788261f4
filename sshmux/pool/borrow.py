"""Borrowing: the wait for a connection, and the block in which it is used."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Protocol

from ..connection import Connection
from ..session.link import Link
from ..system.clock import now
from ..transfer.helpers import Helpers
from .slots import PooledConnection

_FRAMES = 12  # of the borrower's stack are kept
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Waiting:
    """One borrower in the queue."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[PooledConnection[Link]] = loop.create_future()
        self.task = asyncio.current_task()

    def offer(self, member: PooledConnection[Link]) -> bool:
        """Takes the connection, unless the borrower has been cancelled."""
        if self.future.done():
            return False
        self.future.set_result(member)
        return True

    def fail(self, error: Exception) -> None:
        """Ends the wait with an error."""
        if not self.future.done():
            self.future.set_exception(error)

    def withdraw(self) -> PooledConnection[Link] | None:
        """Ends the wait from the borrower's side. Returns what had been handed over by then."""
        if self.future.done() and not self.future.cancelled() and not self.future.exception():
            return self.future.result()
        self.future.cancel()
        return None


class Lender(Helpers, Protocol):
    """What a borrow needs of the pool."""

    def take(self) -> PooledConnection[Link] | None:
        """A connection that is free now."""

    async def wait(self, timeout: float | None) -> PooledConnection[Link]:
        """A connection, waited for."""

    def borrowed(self, borrow: Borrow) -> None:
        """A borrow begins."""

    def returned(self, borrow: Borrow, member: PooledConnection[Link]) -> None:
        """A borrow ends."""


class Borrow:
    """`async with manager.get_connection(…) as connection`: used once."""

    __slots__ = (
        "_connection",
        "_entered",
        "_frames",
        "_lender",
        "_member",
        "_pool",
        "_timeout",
        "since",
        "task",
        "warned",
    )

    def __init__(self, lender: Callable[[], Lender], timeout: float | None) -> None:
        self._lender = lender
        self._timeout = timeout
        self.warned = self._entered = False

    async def __aenter__(self) -> Connection:
        if self._entered:
            raise RuntimeError("this get_connection() was entered already: call it anew each time")
        pool = self._pool = self._lender()
        self._entered = True
        member = pool.take()
        if member is None:
            member = await pool.wait(self._timeout)
        self._member = member
        self.task = asyncio.current_task()
        self.since = now()
        self._frames = _stack(sys._getframe(1))
        pool.borrowed(self)
        self._connection = Connection(member.connection, helpers=pool)
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._connection._release()
        finally:
            self._pool.returned(self, self._member)

    def stack(self) -> str:
        """Where it was borrowed, as a traceback shows it."""
        summary = traceback.StackSummary.from_list(
            (code.co_filename, line, code.co_name, None) for code, line in reversed(self._frames)
        )
        return "".join(summary.format())


def _stack(frame: object) -> list[tuple[CodeType, int]]:
    """The borrower's frames, innermost first; formatting them waits until somebody wants to see."""
    found: list[tuple[CodeType, int]] = []
    current = frame
    while current is not None and len(found) < _FRAMES:
        found.append((current.f_code, current.f_lineno))  # type: ignore[attr-defined]
        current = current.f_back  # type: ignore[attr-defined]
    return found
