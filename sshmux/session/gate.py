"""How many sessions a connection may have at once, and who is next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..errors import fresh_copy


class SessionGate:
    """The places of one connection: first come, first served, and a limit that can be learned.

    One of the server's places is kept free of commands, for checks and for ending a command that
    ran too long: when all are taken by commands that hang, none of them could be ended.
    """

    def __init__(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions
        self.inside = 0
        self.left = 0  # how many have left so far
        self._queue: deque[asyncio.Future[None]] = deque()
        self._closed: Exception | None = None
        self._control = asyncio.Lock()
        self.on_full: Callable[[], object] | None = None  # called when somebody has to wait

    def __repr__(self) -> str:
        return f"<SessionGate {self.inside} of {self.limit}, {len(self._queue)} waiting>"

    @property
    def limit(self) -> int:
        """Places for commands."""
        return max(1, self.max_sessions - 1)

    @property
    def free(self) -> int:
        """Places that can be had without waiting."""
        return max(0, self.limit - self.inside - len(self._queue))

    @property
    def control(self) -> asyncio.Lock:
        """The place that is kept; whoever holds the lock may use it."""
        return self._control

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue)

    def check(self) -> None:
        """Raises what `close()` was given, once it was called."""
        if self._closed is not None:
            raise fresh_copy(self._closed)

    def enter_now(self) -> bool:
        """Takes a place if one is free and nobody waits for it."""
        self.check()
        if self._queue or self.inside >= self.limit:
            return False
        self.inside += 1
        return True

    async def enter(self) -> None:
        """Takes a place, waiting for one if need be."""
        if self.enter_now():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        if self.on_full is not None:
            self.on_full()
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # the place was handed over as the wait was cancelled
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def leave(self) -> None:
        """Gives a place back, to whoever waits longest."""
        self.inside -= 1
        self.left += 1
        self._admit()

    def refused(self, since: int = -1) -> bool:
        """Learns from the server's refusal, to be called by the refused while still inside.

        Parameters:
            since: `left` as it was before the attempt; -1 if that is not known.

        Returns False when no other session of ours was open meanwhile: then trying again will
        not help.
        """
        others = self.inside - 1 + self._control.locked()
        if others < 1:
            return since not in (-1, self.left)
        self.max_sessions = max(1, min(self.max_sessions, others))
        return True

    def close(self, error: Exception) -> None:
        """Turns away everybody who waits, and whoever comes later, with `error`."""
        self._closed = error
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(fresh_copy(error))

    def _admit(self) -> None:
        while self._queue and self.inside < self.limit:
            turn = self._queue.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)
