"""One command on one session: its pipes, its announcement, its end."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Literal, Protocol

from ..openssh.diagnostics import may_be_clients_own
from ..openssh.engines.shape import NO_OPTIONS, End, Engine, Session, SessionOptions
from ..openssh.remote import Preamble
from ..system.descriptors import check_descriptor
from ..system.pipes import Reader
from ..system.pty import Pty, Terminal
from ..system.tasks import settle
from .input import SessionInput

_LATE_OUTPUT = 2.0  # seconds for the master to close the pipes once the client has ended
_KEPT = 4096  # bytes of stderr kept for a diagnosis while the command has not announced itself

Sink = Callable[[bytes], object]
# What became of a command: it was never sent; nobody knows; we ended it; it ended by itself.
Fate = Literal["unsent", "unknown", "ended", "finished"]


@dataclass
class ExecutionOptions:
    """What is to be run, and where its output goes.

    Parameters:
        line: the line for the login shell, complete.
        input: bytes for its stdin; None for the null device, unless `stdin` is given.
        stdin: a descriptor for its stdin; it stays the caller's. Like `input`, it does not leave
            before the command has announced itself: another program may be there to read it.
        stdin_most: bytes of `stdin`, from where it is, that are its input; None for all.
        stdout: called with each piece of output as it arrives; or what collects it; or a
            descriptor that it goes to, which stays the caller's.
        stderr: called with each piece of it.
        vital: ends or checks other commands, so the last descriptors are there for it.
        live: somebody waits for the pieces; else what comes on stderr may lie for a moment.
        feed: make a pipe for stdin, whose other end is `Execution.take_stdin`'s to give. What
            `stdin` has goes into it first, and its end is not the pipe's.
        terminal: it gets one, which is its stdin, stdout and stderr: all output goes to `stdout`,
            which is no descriptor then. What is typed is `Execution.pty`'s, or the `input`.
        subsystem: the line is the name of a subsystem: something that is talked to, says nothing
            of itself, and ends when its input does.
        greeting: what a subsystem waits for before it says its first word: 4 KiB at the most.
        opened: called once the session was asked for: from then on only the remote is waited for.
        begun: called once the command has begun, as far as can be known; never for a session that
            the server refused. For a subsystem: with its first word.
    """

    line: str
    input: bytes | None = None
    stdin: int | None = None
    stdin_most: int | None = None
    stdout: Sink | BytesIO | int = field(default=lambda _: None)
    stderr: Sink = field(default=lambda _: None)
    vital: bool = False
    live: bool = False
    feed: bool = False
    terminal: Terminal | None = None
    subsystem: bool = False
    greeting: bytes = b""
    opened: Callable[[], object] | None = None
    begun: Callable[[Execution], object] | None = None
    fate: Fate = "unsent"
    status: int | None = None  # the exit status of one that was given up, if there was one


class Scope:
    """What one borrower runs. Once it is closed nothing more begins.

    Attributes:
        running: the sessions.
        outlets: tasks that bring to objects of the borrower's what its processes wrote.
    """

    def __init__(self) -> None:
        self.running: set[Execution] = set()
        self.outlets: set[asyncio.Task[None]] = set()
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


class Attachment(Protocol):
    """What lives by a connection besides sessions: a forward."""

    scope: Scope

    async def end(self) -> None:
        """Ends it. Never raises."""


class Execution:
    """A running session. It is over when its end is known and both pipes were read empty."""

    __slots__ = (
        *("_announced", "_held", "_input", "_late", "_loop", "_patience", "_readers"),
        *("_request", "_session", "_waiting", "_watching"),
        *("aborted", "announced_after", "began_at", "early_stderr", "failure", "over"),
        *("preamble", "pty"),
    )

    def __init__(
        self,
        request: ExecutionOptions,
        preamble: Preamble,
        engine: Engine,
        options: SessionOptions = NO_OPTIONS,
    ) -> None:
        self.preamble = preamble
        self.early_stderr = b""
        self.aborted: Exception | None = None
        self.failure: Exception | None = None  # what a sink of the caller's raised
        self.over = False
        self._held = b""
        self._request = request
        self._loop = asyncio.get_running_loop()
        self.began_at = self._loop.time()
        self.announced_after = math.inf  # seconds
        self._waiting: list[asyncio.Future[None]] = []  # for the end
        self._watching: list[asyncio.Future[None]] = []  # for the end, or a failure of ours
        self._announced: list[asyncio.Future[None]] = []  # for the start
        self._late: asyncio.TimerHandle | None = None
        self._input: SessionInput | None = None
        self._patience: asyncio.TimerHandle | None = None  # with the announcement
        self.pty: Pty | None = None
        self._readers: list[Reader] = []
        self._session = self._start(engine, options)
        if request.opened is not None:
            request.opened()
        for reader in self._readers:
            reader.on_end(self._output_ended)
            reader.on_error(self.fail)
        self._session.on_end(self._session_ended)
        self._watch()
        if preamble.shell == "none" and not request.subsystem:
            self.begin()  # it will not tell

    def _start(self, engine: Engine, options: SessionOptions) -> Session:
        request = self._request
        request.fate = "unknown"
        waits = self.tells  # for the announcement, if there is any input
        theirs: list[int] = []  # closed here once the session has them
        stdin = subprocess.DEVNULL
        try:
            stdout = request.stdout
            if request.terminal is not None and not isinstance(stdout, int):
                sink = stdout if callable(stdout) else stdout.write
                stdout = self._pipe(partial(self._on_terminal, sink), theirs)
            elif request.subsystem and callable(stdout):
                stdout = self._pipe(partial(self._on_word, stdout), theirs)
            elif not isinstance(stdout, int):
                stdout = self._pipe(stdout, theirs)
            stderr = self._pipe(self._on_stderr, theirs)
            if request.terminal is not None:
                self.pty = self._open_terminal(request.terminal)
                stdin = self.pty.session_end
                theirs.append(stdin)
            elif request.stdin is not None and not (waits or request.feed or request.stdin_most):
                stdin = request.stdin
            elif request.input or request.feed or request.stdin is not None:
                data = None if request.feed else request.input
                self._input = SessionInput(
                    *(data, request.stdin, request.greeting),
                    most=request.stdin_most,
                    shared=request.feed,
                )
                stdin = self._input.reading
                theirs.append(stdin)
            if not request.vital:
                ours = -1 if self._input is None else self._input.descriptor
                check_descriptor(max(stderr, ours, *theirs))
            line = self.preamble.wrap(request.line, terminal=self.pty is not None)
            session = engine.open_session(
                line, stdin=stdin, stdout=stdout, stderr=stderr, options=options
            )
        except BaseException:
            self._let_go()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        if self._input is not None and not waits:
            self._input.go()
        return session

    @property
    def tells(self) -> bool:
        """Whether a command that begins will tell of it."""
        return self.preamble.shell != "none"

    @property
    def input_waits(self) -> bool:
        """Whether there is input that does not leave before the command has told of itself."""
        waits = self._input is not None and self._input.waits
        return self.tells and (waits or self.pty is not None)

    def expect(self, timeout: float, error: Callable[[], Exception]) -> None:
        """Fails it with `error` unless it has announced itself within `timeout` seconds."""
        if not self.over and self.preamble.pid is None:
            self._patience = self._loop.call_later(timeout, lambda: self.fail(error()))

    def _expected(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _open_terminal(self, terminal: Terminal) -> Pty:
        pty = Pty(terminal)
        if not self._request.feed:
            pty.write(self._request.input or b"")
            pty.end()
        return pty

    def _watch(self) -> None:
        """Begins to read. The announcement, of every command, is not worth waking up for.

        It is read with whatever else comes first, or before long.
        """
        first, last = self._readers[0], self._readers[-1]
        first.watch()
        if self._request.live or self.input_waits:
            last.watch()
        elif last is not first:
            last.watch_later()

    def _pipe(self, sink: Sink | BytesIO, theirs: list[int]) -> int:
        reader, writing = Reader.pipe(sink, for_session=True)
        self._readers.append(reader)
        theirs.append(writing)
        return writing

    @property
    def end(self) -> End | None:
        """How the session ended."""
        return self._session.end

    @property
    def exited(self) -> bool:
        """Whether it is over, with an exit status of its own."""
        end = self._session.end
        return self.over and end is not None and end.kind == "exited"

    def take_stdin(self) -> int:
        """Our end of stdin's pipe, for whoever closes it; -1 if there is none."""
        return -1 if self._input is None else self._input.take()

    @property
    def readers(self) -> list[Reader]:
        """Those of stdout, if it is ours, and of stderr."""
        return self._readers

    def begin(self) -> None:
        """Says that it has begun, once."""
        begun, self._request.begun = self._request.begun, None
        if begun is not None:
            begun(self)

    def _on_word(self, sink: Sink, data: bytes) -> None:
        self.begin()
        sink(data)

    def _on_terminal(self, sink: Sink, data: bytes) -> None:
        had_pid = self.preamble.pid is not None
        data = self.preamble.feed(data)
        if not had_pid and self.preamble.pid is not None:
            self._has_announced()
        if data:
            sink(data)

    def _has_announced(self) -> None:
        self.announced_after = self._loop.time() - self.began_at
        if self.pty is not None:
            self.pty.begin()
        self._expected()
        if self._input is not None:
            self._input.go()
        _wake(self._announced)
        self.begin()

    @property
    def terminal_refused(self) -> bool:
        """Whether it was to have a terminal, and got none: its stderr is a stream of its own."""
        return self.pty is not None and self.preamble.is_in(self.early_stderr)

    @property
    def subsystem(self) -> bool:
        """Whether it is one, to be ended by the end of its input."""
        return self._request.subsystem

    @property
    def silent(self) -> bool:
        """Whether nothing has come of it yet, not even the announcement."""
        if self.preamble.pid is not None or self.early_stderr or self.over:
            return False
        return self._request.begun is not None or not self._request.subsystem

    @property
    def mute(self) -> bool:
        """Whether nothing at all came of it. False where its output does not come by here."""
        here = len(self._readers) == 2
        return here and not self.early_stderr and not any(each.heard for each in self._readers)

    def becomes(self, fate: Fate) -> None:
        """Notes what became of it, for whoever asked for it."""
        self._request.fate = fate
        if fate == "finished" and self._session.end is not None:
            self._request.status = self._session.end.status

    async def wait(self) -> None:
        """Waits until it is over. Cancelling the wait ends nothing."""
        if not self.over:
            await self._event(self._waiting)

    async def finished(self) -> None:
        """As `wait`; raises what a sink of the caller's raised, as soon as it does."""
        if not self.over and self.failure is None:
            await self._event(self._watching)
        if self.failure is not None:
            raise self.failure

    def fail(self, error: Exception) -> None:
        """Lets whoever waits for it see an error of ours; it goes on until it is ended."""
        self.failure = self.failure or error
        _wake(self._watching)

    async def announced(self) -> None:
        """Waits until the command has started, or it is over."""
        if self.preamble.pid is None and not self.over:
            self._readers[-1].watch()
            await self._event(self._announced)

    async def _event(self, waiting: list[asyncio.Future[None]]) -> None:
        waiter = self._loop.create_future()
        waiting.append(waiter)
        await waiter

    async def stop(self) -> None:
        """Ends our side of the session, and lets go of the pipes."""
        if self._session.end is None:
            await self._session.stop()
        self._drain()
        self._let_go()

    def _on_stderr(self, data: bytes) -> None:
        if self.pty is not None:
            # The client's words; or, without a terminal, the announcement behind any noise.
            self.early_stderr = (self.early_stderr + data)[-_KEPT:]
            return
        had_pid = self.preamble.pid is not None
        data = self.preamble.feed(data)
        if not had_pid:
            data = self._early(data)
            if self.preamble.pid is not None:
                self._has_announced()
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

    def _drain(self) -> None:
        """Reads at once what the pipes hold now, not one loop turn later."""
        for reader in self._readers:
            reader.drain()

    @property
    def _outputs_closed(self) -> bool:
        return all([reader.closed for reader in self._readers])  # noqa: C419 - no generator

    def _output_ended(self) -> None:
        if not self._outputs_closed:
            for reader in self._readers:
                reader.drain()
                reader.watch()
        elif self._session.end is None:
            self._session.outputs_ended()
        else:
            self._finish()

    def _session_ended(self) -> None:
        self._drain()
        if self._outputs_closed:
            self._finish()
        else:
            # Output may still follow (the client is told to leave first), but not for long.
            if self._late is not None:
                self._late.cancel()
            self._late = self._loop.call_later(_LATE_OUTPUT, self._let_go)

    def _finish(self) -> None:
        if self.over:
            return
        if rest := self.preamble.flush():
            try:
                self._pass_on(rest)
            except Exception as error:
                self.fail(error)
        self.over = True
        self._let_go()
        self._session.close()
        _wake(self._announced)
        _wake(self._waiting)
        _wake(self._watching)

    def _pass_on(self, rest: bytes) -> None:
        """What looked like the beginning of an announcement, and was none."""
        stdout = self._request.stdout
        if self.pty is None:
            if rest := self._early(rest):
                self._request.stderr(rest)
        elif isinstance(stdout, BytesIO):
            stdout.write(rest)
        elif callable(stdout):
            stdout(rest)

    def _let_go(self) -> None:
        if self.pty is not None:
            self.pty.close()
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self._expected()
        if self._input is not None:
            self._input.close()
        for reader in self._readers:
            reader.close()


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    for waiter in waiting:
        settle(waiter)
    waiting.clear()
