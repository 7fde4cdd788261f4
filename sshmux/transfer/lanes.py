"""The ways over which one transfer goes at once: sessions of its connection, and of idle ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from ..errors import ConnectionReleased
from ..session.execution import Scope
from ..session.link import Link
from ..system.tasks import run_to_end
from .helpers import Helpers
from .remote import Remote

# Seconds for a session to tell that it has begun, two round trips included: then the way is so
# short that one channel's window moves a gigabit line's bytes, and several on one master would only
# be in each other's way.
_NEAR = 0.05


class Lanes:
    """A `Remote` for each stream; the first ones are of the transfer's own connection.

    They live by that connection: what goes over the others ends when it is given back.
    """

    def __init__(self, own: Remote, remotes: Sequence[Remote]) -> None:
        self.own = own
        self.remotes = remotes
        self.scope = own.scope
        self._tasks: list[asyncio.Task[None]] = []

    def is_own(self, remote: Remote) -> bool:
        """Whether it leads over the transfer's own connection: to the same host, surely."""
        return remote.link is self.own.link

    async def work(
        self, job: Callable[[Remote], Awaitable[None]], remotes: Sequence[Remote] | None = None
    ) -> None:
        """Does it on all of them at once. When one fails the others are ended first."""
        remotes = self.remotes if remotes is None else remotes

        async def one(remote: Remote) -> None:
            await job(remote)

        tasks = self._tasks = [asyncio.ensure_future(one(remote)) for remote in remotes]
        failed: list[BaseException] = []

        def note(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                failed.append(error)

        for task in tasks:
            task.add_done_callback(note)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await run_to_end(self.end)
        if failed:
            raise failed[0]
        if any(task.cancelled() for task in tasks):
            self.scope.check()
            raise ConnectionReleased(f"the connection to {self.own.address} was given back")

    async def end(self) -> None:
        """Ends what goes on, as the connection does when it is given back."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@contextlib.asynccontextmanager
async def lanes(own: Remote, helpers: Helpers | None, streams: int) -> AsyncIterator[Lanes]:
    """As many as there is room for without waiting, up to `streams`, and at least one."""
    link = own.link
    if streams > 1:
        own.scope.check()
        await link.learn_shell()  # which the first session does in any case
    near = link.quickest < _NEAR
    if near:  # then it is processors that count: for each master one, and one for its other end
        streams = min(streams, max(1, (os.cpu_count() or 1) // 2))
    if streams == 1:
        yield Lanes(own, [own])
        return
    with contextlib.ExitStack() as stack:
        others: Sequence[Link] = ()
        if helpers is not None:
            others = stack.enter_context(helpers.guests(link, streams - 1))
        made = Lanes(own, [])
        # Whoever borrows one of the idle ones finds a place on it, and so do the caller's commands.
        most = 1 if near else streams
        room = {each: min(most, max(0, each.gate.free - 1)) for each in (link, *others)}
        room[link] = max(room[link], 1)
        counts = dict.fromkeys(room, 0)
        while sum(counts.values()) < streams:
            able = [each for each in room if counts[each] < room[each]]
            if not able:
                break
            counts[min(able, key=lambda each: counts[each])] += 1
        made.remotes = [own, *(Remote(link, own.scope) for _ in range(counts.pop(link) - 1))]
        for each, count in counts.items():
            made.remotes += [Remote(each, Scope()) for _ in range(count)]
        link.attachments.add(made)
        try:
            yield made
        finally:
            link.attachments.discard(made)
