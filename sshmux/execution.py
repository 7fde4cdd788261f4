"""One command on one session: its pipes, its announcement, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from .openssh.diagnostics import may_be_clients_own
from .openssh.engines.ssh import Session
from .openssh.pipes import Reader, Writer
from .openssh.remote import Preamble

_LATE_OUTPUT = 2.0  # seconds for the master to close the pipes once the client has ended
_KEPT = 4096  # bytes of stderr kept for a diagnosis while the command has not announced itself

Sink = Callable[[bytes], object]
Opener = Callable[[str, int, int, int], Session]


@dataclass
class Request:
    """What is to be run, and where its output goes.

    Parameters:
        line: the line for the login shell, complete.
        input: bytes for its stdin; None for the null device, unless `stdin` is given.
        stdin: a descriptor for its stdin; it stays the caller's.
        stdout, stderr: called with each piece of output as it arrives.
    """

    line: str
    input: bytes | None = None
    stdin: int | None = None
    stdout: Sink = field(default=lambda _: None)
    stderr: Sink = field(default=lambda _: None)
    left_running: bool = False  # it was given up, and may still run over there


class Scope:
    """What one borrower runs. Once it is closed nothing more begins."""

    def __init__(self) -> None:
        self.running: set[Execution] = set()
        self._closed: Callable[[], Exception] | None = None

    def check(self) -> None:
        """Raises what `close` was given, once it was called."""
        if self._closed is not None:
            raise self._closed()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed is not None

    def close(self, error: Callable[[], Exception]) -> None:
        """From now on `check` raises; the first reason stays."""
        self._closed = self._closed or error


class Execution:
    """A running session. It is over when the client has ended and both pipes were read empty."""

    def __init__(self, request: Request, preamble: Preamble, open_session: Opener) -> None:
        self.preamble = preamble
        self.early_stderr = b""
        self._held = b""
        self.aborted: Exception | None = None
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._announced: list[asyncio.Future[None]] = []
        self._pending = 3
        self._late: asyncio.TimerHandle | None = None
        self._writer: Writer | None = None
        self._start(open_session)

    def _start(self, open_session: Opener) -> None:
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as always:
            self._out, out_end = Reader.pipe(self._request.stdout)
            undo.callback(self._out.close)
            always.callback(os.close, out_end)
            self._err, err_end = Reader.pipe(self._on_stderr)
            undo.callback(self._err.close)
            always.callback(os.close, err_end)
            stdin, writing = self._stdin(undo, always)
            line = self.preamble.wrap(self._request.line)
            self._session = open_session(line, stdin, out_end, err_end)
            undo.pop_all()
        self._out.on_end(self._part_over)
        self._err.on_end(self._part_over)
        self._session.on_exit(self._exited)
        if writing >= 0:
            self._writer = Writer(writing, self._request.input or b"")

    def _stdin(self, undo: contextlib.ExitStack, always: contextlib.ExitStack) -> tuple[int, int]:
        """The descriptor for the session's stdin, and our end of the pipe if it is one."""
        if self._request.stdin is not None:
            return self._request.stdin, -1
        if not self._request.input:
            return subprocess.DEVNULL, -1
        reading, writing = os.pipe()
        always.callback(os.close, reading)
        undo.callback(os.close, writing)
        return reading, writing

    @property
    def status(self) -> int | None:
        """The client's exit status."""
        return self._session.status

    def left_running(self) -> None:
        """Notes that it could not be ended over there."""
        self._request.left_running = True

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._over.done()

    async def wait(self) -> None:
        """Waits until it is over. Cancelling the wait ends nothing."""
        if not self._over.done():
            await asyncio.shield(self._over)

    async def announced(self) -> None:
        """Waits until the command has started, or it is over."""
        if self.preamble.pid is None and not self._over.done():
            waiter = self._loop.create_future()
            self._announced.append(waiter)
            await waiter

    async def end_client(self) -> None:
        """Ends the local client and lets go of the pipes."""
        if self._session.status is None:
            await self._session.end()
        self._out.drain()
        self._err.drain()
        self._let_go()

    def _on_stderr(self, data: bytes) -> None:
        had_pid = self.preamble.pid is not None
        data = self.preamble.feed(data)
        if not had_pid:
            data = self._early(data)
            if self.preamble.pid is not None:
                self._wake()
        if data:
            self._request.stderr(data)

    def _early(self, data: bytes) -> bytes:
        """What may be passed on before the command has announced itself.

        A refused session is tried again, so what the client says of the refusal must not reach
        the caller: it waits until the end tells whose words they were.
        """
        first = not self.early_stderr or bool(self._held)
        self.early_stderr = (self.early_stderr + data)[:_KEPT]
        data, self._held = self._held + data, b""
        open_yet = first and self.preamble.pid is None and len(data) <= _KEPT
        if data and open_yet and may_be_clients_own(data):
            self._held, data = data, b""
        return data

    def release(self) -> None:
        """Passes on what was held back: it was the command's after all."""
        if self._held:
            self._request.stderr(self._held)
            self._held = b""

    def _exited(self) -> None:
        # What the pipes hold now is read at once, not one loop turn later; output may still
        # follow (the master closes them after it told the client to leave), but not for long.
        self._out.drain()
        self._err.drain()
        if not (self._out.closed and self._err.closed):
            self._late = self._loop.call_later(_LATE_OUTPUT, self._let_go)
        self._part_over()

    def _part_over(self) -> None:
        self._pending -= 1
        if self._pending == 0 and not self._over.done():
            if (rest := self.preamble.flush()) and (rest := self._early(rest)):
                self._request.stderr(rest)
            self._let_go()
            self._over.set_result(None)
            self._wake()

    def _wake(self) -> None:
        waiters, self._announced = self._announced, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _let_go(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._out.close()
        self._err.close()
