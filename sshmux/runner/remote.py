"""One cluster, as the runner talks to it: scripts on stdin, answers of a bounded size."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from typing import IO, Any, Protocol

from ..connection import Connection
from ..errors import JobError
from ..session.execution import ExecutionOptions, Scope
from ..session.link import Link
from ..session.process import ProcessTask

_MOST = 64 * 1024 * 1024  # bytes of an answer
_DEADLINE = 300.0  # seconds for a script; a submit command has 60
_SLOWEST = 64 * 1024  # bytes a second that what is sent may take as well
_SPARE = 2  # sessions that a connection must have besides one that stays open


class Lends(Protocol):
    """A manager, as far as it is needed."""

    def get_connection(
        self, cluster_id: Hashable, *, timeout: float | None = None
    ) -> contextlib.AbstractAsyncContextManager[Connection]:
        """Lends a connection."""


class Remote:
    """Runs scripts on a cluster.

    Attributes:
        commands: how many were run so far.
    """

    def __init__(self, manager: Lends, cluster_id: Hashable) -> None:
        self.cluster_id = cluster_id
        self.commands = 0
        self._manager = manager

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, borrowed."""
        async with self._manager.get_connection(self.cluster_id) as connection:
            yield connection

    async def script(self, text: str) -> str:
        """Runs a script by `sh`; what it wrote. Raises `JobError` where there is no end to it."""
        with tempfile.TemporaryFile() as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.seek(0)
            _, out = await self.run(["sh", "-s"], stdin=file)
        return out.decode("utf-8", "replace")

    async def run(
        self, words: Sequence[str], *, stdin: IO[bytes] | None = None
    ) -> tuple[int, bytes]:
        """Runs a command; its status, and what it wrote to stdout."""
        told = bytearray()
        task: asyncio.Task[int] | None = None

        def take(data: bytes) -> None:
            told.extend(data[: _MOST + 1 - len(told)])
            if len(told) > _MOST and task is not None:
                task.cancel()

        limit = _DEADLINE
        if stdin is not None:
            limit += os.fstat(stdin.fileno()).st_size / _SLOWEST
        async with self.connection() as connection:
            self.commands += 1
            task = asyncio.ensure_future(
                connection.relay(
                    list(words),
                    stdin=None if stdin is None else stdin.fileno(),
                    stdout=take,
                    stderr=_nothing,
                )
            )
            try:
                async with asyncio.timeout(limit):
                    status = await task
            except asyncio.CancelledError:
                if len(told) <= _MOST:
                    raise
                raise JobError(f"{self.cluster_id!r} tells more than {_MOST} bytes") from None
            except TimeoutError:
                raise JobError(
                    f"{self.cluster_id!r}: no answer within {limit:.0f} s; does its file system, "
                    "or its scheduler, hang?"
                ) from None
        return status, bytes(told)

    async def follow(self, text: str) -> Following | None:
        """Runs a script that stays, without keeping the connection from others.

        None where the connection may have too few sessions for that.
        """
        async with self.connection() as connection:
            link = connection.link
            if link.gate.limit <= _SPARE:
                return None
            self.commands += 1
            await link.learn_shell()
            following = Following(link, link.line(["sh", "-c", text], None, None))
            await following.begun()
            return following


class Following:
    """A script on a session of its own, which ends when it is closed, or the connection does."""

    def __init__(self, link: Link, line: str) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting = 0
        request = ExecutionOptions(line, stdout=self._take, live=True, feed=True)
        self._life = ProcessTask(link, request, Scope())
        self._life.task.add_done_callback(lambda _: self._pieces.put_nowait(b""))

    async def begun(self) -> None:
        """Waits until it runs. Raises what `Connection.run` raises."""
        await self._life.begin()

    def _take(self, data: bytes) -> None:
        self._waiting += len(data)
        self._pieces.put_nowait(data)
        if self._waiting > _MOST:
            self._life.task.cancel()  # nobody reads it as fast as it comes: it is followed anew

    async def read(self) -> bytes:
        """Some of what it wrote; nothing once it is over."""
        data = await self._pieces.get()
        self._waiting -= len(data)
        if not data:
            self._pieces.put_nowait(b"")
        return data

    async def close(self) -> None:
        """Ends it, on the remote too."""
        self._life.task.cancel()
        await asyncio.wait((self._life.task,))


def _nothing(_: bytes) -> None:
    """What scripts write to stderr is of no interest: they tell what matters on stdout."""


def facts(text: str) -> Mapping[str, Any]:
    """What `scripts.hello` told."""
    found: dict[str, Any] = {"schedulers": {}}
    for line in text.splitlines():
        word, _, value = line.partition(" ")
        if word in ("root", "user", "time"):
            found[word] = value
        elif word == "scheduler":
            name, _, version = value.partition(" ")
            found["schedulers"][name] = version
        elif word == "done":
            found["done"] = True
    return found
