"""One large file over several sessions at once: each channel of SSH has a window of its own.

The pieces go to their places in the part, which takes its place when all of them are there: what
`files` does with one session. Which file it is, and in which state, is told by the first session
and asked for by all others: a pool's connections may lead to different hosts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from ..errors import SessionRefused, SourceChanged
from . import reports
from .files import position, threads
from .lanes import Lanes
from .options import TransferOptions
from .pieces import MIB, Piece
from .remote import Remote, ScriptResult


class Job:
    """The pieces of one file, and how far they are.

    Parameters:
        path: the file here, whose descriptor is `file`.
        flags: with which it is opened again for each piece.
    """

    def __init__(
        self, lanes: Lanes, source: str, target: str, path: str, file: int, flags: int
    ) -> None:
        self.lanes = lanes
        self.source = source
        self.target = target
        self.queue: deque[Piece] = deque()
        self.done = 0
        self._path = path
        self.file = file
        self._flags = flags | os.O_CLOEXEC
        self._moving: dict[int, Piece] = {}

    def position(self) -> int:
        """How many bytes have been moved so far."""
        now = self.done
        for file, piece in self._moving.items():
            now += min(max(position(file) - piece.start, 0), piece.length)
        return now

    async def move(self) -> None:
        """Moves all that is in the queue."""
        await self.lanes.work(self.take)
        if self.queue:  # what those left behind that lead to another host
            own = [each for each in self.lanes.remotes if self.lanes.is_own(each)]
            await self.lanes.work(self.take, own)

    async def begin(self, first: Callable[[], Awaitable[None]], told: asyncio.Event) -> None:
        """Moves all of it, when only the first session can tell what there is to do.

        Parameters:
            first: what the first one does; the others begin once `told` is set.
        """
        waiting = [first]

        async def work(lane: Remote) -> None:
            if waiting:
                await waiting.pop()()
            else:
                await told.wait()
                await self.take(lane)

        await self.lanes.work(work)
        if self.queue:
            await self.move()

    async def take(self, remote: Remote) -> None:
        """Moves one piece of the queue after the other."""
        while self.queue:
            piece = self.queue.popleft()
            try:
                said = await self.one(piece, partial(self.session, remote, piece))
            except SessionRefused:
                self.queue.appendleft(piece)
                if remote is self.lanes.remotes[0]:
                    raise
                return  # the server takes fewer: the others do it
            if "other" in said.words and not self.lanes.is_own(remote):
                self.queue.appendleft(piece)
                return
            self.check(said)

    async def one(
        self, piece: Piece, session: Callable[[int], Awaitable[ScriptResult]]
    ) -> ScriptResult:
        """Moves a piece, with a descriptor that has a position of its own."""
        file = os.open(self._path, self._flags)
        try:
            if not os.path.samestat(os.fstat(file), os.fstat(self.file)):
                raise self.changed(f"{self._path} was replaced")
            os.lseek(file, piece.start, os.SEEK_SET)
            self._moving[file] = piece
            said = await session(file)
            if said.status == 0:
                self.check_moved(piece, position(file) - piece.start)
                self.done += piece.length
            return said
        finally:
            self._moving.pop(file, None)
            os.close(file)

    def check(self, said: ScriptResult) -> None:
        """Raises the error for a session that did not do what it should."""
        if "other" in said.words or "changed" in said.words:
            raise self.changed("the file changed meanwhile")
        if said.status != 0:
            raise reports.failure(said.stderr, said.status, self.source, self.target)

    def changed(self, why: str) -> SourceChanged:
        """The error for a file that does not stay as it is."""
        return SourceChanged(f"{self.source} to {self.target}: {why}")

    async def session(self, remote: Remote, piece: Piece, file: int) -> ScriptResult:
        """Moves a piece from where the descriptor is, or to there."""
        raise NotImplementedError

    def check_moved(self, piece: Piece, moved: int) -> None:
        """Raises the error for a session that has moved something else."""
        if moved < piece.length:
            raise self.changed(f"{moved} of {piece.length} bytes of a piece: the file was cut")


def divisible(lanes: Lanes, options: TransferOptions) -> bool:
    """Whether it may go in pieces: of a file that changes nobody can say what belongs together."""
    return len(lanes.remotes) > 1 and options.atomic and not options.accepts


def told_sums(data: bytes, count: int) -> list[str]:
    """Checksums that a remote told: all of them, or none."""
    sums = data.decode("ascii", "replace").split()
    return sums if len(sums) == count else []


async def checksums(file: int, chunk: int, count: int) -> list[str]:
    return await threads.run(partial(_sums, os.dup(file), chunk, count))


def _sums(file: int, chunk: int, count: int) -> list[str]:
    sums = []
    try:
        for number in range(count):
            found = hashlib.sha256()
            for at in range(number * chunk, (number + 1) * chunk, MIB):
                found.update(os.pread(file, MIB, at))
            sums.append(found.hexdigest())
    finally:
        os.close(file)
    return sums
