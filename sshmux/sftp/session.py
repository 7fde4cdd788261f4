"""One SFTP session: its beginning, and its ends."""

from __future__ import annotations

import asyncio
import contextlib

from ..errors import (
    ChannelOpenError,
    ConnectionLost,
    SFTPConnectionLost,
    SFTPError,
    SFTPNoConnection,
)
from ..errors import TimeoutError as Timeout
from ..session.execution import ExecutionOptions, Scope
from ..session.link import Link
from ..session.process import ProcessTask
from ..system.pipes import Writer
from .channel import Channel
from .fields import Malformed
from .messages import extensions, greeting
from .operations import Operations

_KEPT = 2048  # bytes of stderr that may say why
_REFUSED = (255, -1, None)  # what ssh, and the master, make of a channel without a status
_LEAVE = 2.0  # seconds for the server to end once its input has


class Session:
    """A session with an SFTP server: the subsystem of that name, or a command."""

    def __init__(self, link: Link, scope: Scope, command: str | None) -> None:
        self.address = link.config.address
        self._link = link
        self._subsystem = command is None
        self._said = b""  # on stderr
        self._leaving: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None  # with a server that says nothing
        self._silent = False
        self.channel = Channel(self._cancel)
        request = ExecutionOptions(
            "sftp" if command is None else command,
            stdout=self.channel.feed,
            stderr=self._hear,
            live=True,
            feed=True,
            subsystem=self._subsystem,
            # A command tells of its beginning: what is sent before may be for another program.
            greeting=greeting() if self._subsystem else b"",
            opened=self._opened,
        )
        self._life = ProcessTask(link, request, scope)
        self._life.task.add_done_callback(self._over)

    def _opened(self) -> None:
        """From now on the server has as long as a log-in has. (A place was waited for before.)"""
        if self._patience is None:
            timeout = self._link.config.timeout
            self._patience = self._link.loop.call_later(timeout, self._give_up)

    def _give_up(self) -> None:
        self._silent = True
        self._cancel()

    @property
    def state(self) -> str:
        """In a word."""
        return "open" if self.channel.closed is None else "closed"

    async def begin(self) -> Operations:
        """Waits until the server has introduced itself.

        Raises:
            ChannelOpenError: it has no SFTP, or something else speaks in its place.
            sshmux.TimeoutError: nothing has spoken within the `timeout` of a log-in.
            What `Connection.run` raises.
        """
        try:
            execution = await self._life.begin()
            writer = Writer(execution.take_stdin())
            self.channel.connect(writer)
            if not self._subsystem:
                writer.write(greeting())
            known = extensions(await self.channel.hello)
            server = Operations(self.channel, known)
            server.ask_limits()
        except (SFTPError, Malformed, ConnectionLost, OSError) as error:
            if self._silent:
                await self._end()
                raise self._too_slow() from None
            if isinstance(error, SFTPConnectionLost | OSError):
                # It is ending by itself, and its status tells why.
                await asyncio.wait((self._life.task,), timeout=_LEAVE)
            await self._end()
            if self._life.error is not None:
                raise self._life.error from None
            raise self._no_server(error) from None
        except BaseException:
            await self._end()
            task = asyncio.current_task()
            if self._silent and task is not None and not task.cancelling():
                raise self._too_slow() from None  # it is the session that was cancelled
            raise
        finally:
            if self._patience is not None:
                self._patience.cancel()
        return server

    def _too_slow(self) -> Timeout:
        said = f" ({self._words})" if self._words else ""
        return Timeout(
            f"no SFTP on {self.address}: its server said nothing for "
            f"{self._link.config.timeout:g} s{said}. Does a start-up file of the account (.bashrc, "
            ".cshrc) hang, or start another shell (exec)?"
        )

    def _no_server(self, error: Exception) -> ChannelOpenError:
        said, task = self._words, self._life.task
        status = None if task.cancelled() else task.result()
        if isinstance(error, SFTPError) and not isinstance(error, SFTPConnectionLost):
            why = (
                f"{error}. Does a start-up file of the account (.bashrc, .cshrc) print something "
                "in sessions without a terminal?"
            )
        elif self._subsystem and status in _REFUSED:
            why = "the server has no working subsystem `sftp` (Subsystem in its sshd_config)"
        else:
            why = f"its SFTP server ended with status {status} before it said a word"
        return ChannelOpenError(
            f"no SFTP on {self.address}: {why}{f' ({said})' if said else ''}. "
            "Connection.put() and get() need none"
        )

    @property
    def _words(self) -> str:
        return self._said.decode("utf-8", "replace").strip()

    def _hear(self, data: bytes) -> None:
        self._said = (self._said + data)[-_KEPT:]

    def _over(self, task: asyncio.Task[int]) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self.channel.fail(self.channel.closed or self._lost(task))

    def _lost(self, task: asyncio.Task[int]) -> SFTPConnectionLost:
        if task.cancelled():
            return SFTPConnectionLost(f"the SFTP session with {self.address} was ended")
        if (error := task.exception()) is not None:
            lost = SFTPConnectionLost(f"the SFTP session with {self.address} is over: {error}")
            lost.__cause__ = error
            return lost
        words = f": {self._words}" if self._words else ""
        return SFTPConnectionLost(
            f"the SFTP server of {self.address} ended with status {task.result()}{words}"
        )

    def close(self) -> None:
        """Ends it, with the end of its input; by force, if it does not end by that."""
        self.channel.end(SFTPNoConnection(f"this SFTP client of {self.address} was closed"))
        if self._leaving is None and not self._life.task.done():
            self._leaving = self._link.loop.call_later(_LEAVE, self._cancel)

    async def wait_closed(self) -> None:
        """Waits until nothing of it is left."""
        await asyncio.wait((self._life.task,))

    def dropped(self) -> None:
        """Nobody has it any more."""
        if not self._life.task.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._link.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._life.task.cancel()

    async def _end(self) -> None:
        self._cancel()
        await asyncio.wait((self._life.task,))
