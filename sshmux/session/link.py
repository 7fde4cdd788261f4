"""A link: one master, and its session places.

Connections are faces of a link: one for each borrower. The link runs their commands, sees to it
that what they give up is ended on the remote too, and tells a lost link from a failed command.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..config import ConnectionConfig
from ..errors import (
    ConnectionLost,
    ConnectionReleased,
    Error,
    ProtocolMismatch,
    SessionRefused,
    TerminalRefused,
    fresh_copy,
)
from ..openssh import remote
from ..openssh.control.master import Master
from ..openssh.diagnostics import expired, session_failure
from ..openssh.engines.mux import MuxEngine
from ..openssh.engines.shape import Engine
from ..openssh.engines.ssh import SshEngine
from ..openssh.remote import Preamble, Shell
from ..system.descriptors import check_errno
from ..system.tasks import TaskGroup, run_to_end
from .execution import Attachment, Execution, ExecutionOptions, Scope
from .facts import ClusterFacts
from .gate import SessionGate
from .termination import RemoteTerminator

log = logging.getLogger("sshmux.link")

ENGINES: dict[str, Callable[[Master], Engine]] = {"ssh": SshEngine, "mux": MuxEngine}
SIGNALLED = -1  # in place of an exit status, as in asyncssh: it was ended by a signal

_PING_DEADLINE = 2.0  # seconds for the master to say whether a 255 was a lost link
_START_DEADLINE = 2.0  # seconds for a command that is given up to announce itself
_SILENCE = 10.0  # seconds without a sign of a command's beginning until its master is asked
_SILENT_PING = 5.0  # seconds for it to answer then
_SETTLED = 0.25  # seconds after which a server has surely noticed that a session is over
_PAUSES = 0.01, 0.02, 0.04, 0.08, 0.16  # seconds, before a refused session is tried again
_LEAVE_DEADLINE = 1.0  # seconds for the client to leave after its command


class Link:
    """One master in use. `broken` says why it should not be used again, if so."""

    def __init__(
        self,
        master: Master,
        facts: ClusterFacts,
        on_closed: Callable[[], object] | None = None,
        *,
        engine: str = "ssh",
    ) -> None:
        self.master = master
        self._engine = ENGINES[engine](master)
        self.gate = SessionGate(facts.max_sessions)
        self.broken: str | None = None
        self.executions: set[Execution] = set()
        self.attachments: set[Attachment] = set()
        self.before_close: list[Callable[[], Awaitable[None]]] = []  # what nobody waits for
        self._facts = facts
        self._terminator = RemoteTerminator(self.control)
        self.loop = self._loop = asyncio.get_running_loop()
        self._hung = False  # the master does not answer
        self._looking: asyncio.TimerHandle | None = None
        self._suspicions = TaskGroup()
        self._ended_at = -math.inf  # when a session of ours was last over, by the loop's clock
        self._closing: asyncio.Task[None] | None = None
        self._on_closed = on_closed

    def __repr__(self) -> str:
        state = self.broken or ("usable" if self.usable else "gone")
        return f"<Link {self.master.entry.name} {self.gate!r} {state}>"

    @property
    def config(self) -> ConnectionConfig:
        """Where it leads."""
        return self.master.config

    @property
    def usable(self) -> bool:
        """Whether a session may be opened, as far as can be known without asking anybody."""
        return self.broken is None and self._closing is None and self.master.usable

    @property
    def closed(self) -> bool:
        """Whether it is closing, or its master is gone."""
        return self._closing is not None or not self.master.alive

    @property
    def shell(self) -> Shell:
        """What the remote login shell is, as far as is known."""
        return self._facts.shell

    async def learn_shell(self) -> None:
        """Learns which shell the login shell is, by using it."""
        if self._facts.shell == "unknown":
            await self.execute(ExecutionOptions("true"), Scope())

    def line(
        self, command: str | Sequence[str], env: Mapping[str, str] | None, cwd: str | None
    ) -> str:
        """The line for the login shell. See `remote.needs_shell`, and `learn_shell`."""
        return remote.command_line(command, shell=self._facts.shell, env=env, cwd=cwd)

    async def execute(self, request: ExecutionOptions, scope: Scope) -> int:
        """Runs a request to its end and returns its exit status, or SIGNALLED.

        Cancelling ends the remote command first. `scope` is whose it is.

        Raises:
            ConnectionLost: the master or the link went away.
            SessionRefused: the server takes no session although none of ours is open.
            ProtocolMismatch: the master is not one that this engine can use.
            DescriptorLimit: nearly all descriptors are open.
            ProcessLimit: no ssh client could be started; the connection is not harmed.
        """
        pauses = iter(_PAUSES)
        while True:
            if not self.gate.enter_now():
                await self.gate.enter()
            left = self.gate.left
            try:
                execution = await self._attempt(request, scope)
                if not self._refused(execution):
                    self._check_terminal(execution)
                    execution.begin()  # if it was over before it could tell
                    self._ended_at = self._loop.time()
                    return await self._judge(execution)
                pause = next(pauses, 0.0) if self._settling(left) else 0.0
                if not pause:
                    self._learn_limit(left)
            finally:
                self.gate.leave()
            if pause:
                await asyncio.sleep(pause)  # nothing tells when the server is done with a session

    def _settling(self, left: int) -> bool:
        """Whether the server may count a session that is over: for a moment longer than we do."""
        return self.gate.left != left or self._loop.time() - self._ended_at < _SETTLED

    def _learn_limit(self, left: int) -> None:
        if not self.gate.refused(left):
            raise SessionRefused(
                f"{self.config.address} refuses a session although none is open: its "
                "MaxSessions is 0, or earlier commands still hold their places there"
            )
        self._facts.max_sessions = self.gate.max_sessions
        log.info("%s: the server takes %d sessions", self, self.gate.max_sessions)

    async def control(self, line: str, timeout: float) -> int:
        """Runs a line of our own in the place that is kept for that.

        Raises `TimeoutError`, and `ConnectionLost` when the master is known to be gone.
        """
        async with asyncio.timeout(timeout), self.gate.control:
            if not self.master.alive:
                raise ConnectionLost(f"the connection to {self.config.address} is gone")
            execution = Execution(
                ExecutionOptions(line, vital=True), Preamble("none"), self._engine
            )
            try:
                await execution.wait()
            except BaseException:
                await run_to_end(execution.stop)
                raise
            assert execution.end is not None  # noqa: S101 - it is over
            return execution.end.status

    async def check(self, timeout: float) -> None:
        """A health check: of the master, then `true`. Raises `ConnectionLost`."""
        await self._engine.check(timeout)
        try:
            status = await self.control("true", timeout)
        except TimeoutError:
            raise ConnectionLost(f"`true` on the remote did not end within {timeout:g} s") from None
        if status != 0:
            raise ConnectionLost(f"`true` on the remote ended with {status}")

    async def end(self, executions: Sequence[Execution], error: Exception) -> None:
        """Ends executions that belong to somebody else; whoever awaits them gets `error`."""
        for execution in executions:
            execution.aborted = error
        await asyncio.gather(*(self._end(execution) for execution in executions))

    def check_usable(self) -> None:
        """Raises `ConnectionLost` if nothing more can be had from it."""
        self.gate.check()
        if not self.usable:
            raise ConnectionLost(
                f"Connection to {self.config.address} lost: {self.broken or self._gone()}."
            )

    async def end_attachments(self, scope: Scope | None = None) -> None:
        """Ends what lives by it besides sessions; only one borrower's, with `scope`."""
        found = [each for each in self.attachments if scope is None or each.scope is scope]
        await asyncio.gather(*(each.end() for each in found))

    async def close(
        self, *, drain: float = 0, error: Exception | None = None, leave: bool = False
    ) -> None:
        """Ends the commands (after up to `drain` seconds) and the master. Never raises.

        With `leave` the master lives on, for whoever adopts it.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(drain, error, leave))
        await asyncio.shield(self._closing)

    async def close_lost(self) -> None:
        """Tidies up after a master that died: its commands say themselves what became of them."""
        self._break("the master is gone")
        await self.close(error=self._lost("the master is gone", False))

    async def _close(self, drain: float, error: Exception | None, leave: bool) -> None:
        error = error or ConnectionReleased(f"the connection to {self.config.address} was closed")
        self.gate.close(error)
        if not self.master.alive:
            drain = _LEAVE_DEADLINE  # their clients are leaving already
        if self._looking is not None:
            self._looking.cancel()
        await self._suspicions.cancel()
        try:
            for end in self.before_close:
                await end()
            if self.executions and drain > 0:
                waits = [asyncio.ensure_future(execution.wait()) for execution in self.executions]
                await asyncio.wait(waits, timeout=drain)
                for wait in waits:
                    wait.cancel()
            if self.executions:
                await self.end(list(self.executions), error)
            await self.end_attachments()
            await self._terminator.idle()
        finally:
            if leave and self.broken is None and self.master.usable:
                self.master.leave()
            else:
                # Sessions of others (an operator's own ssh -S) get their time as well.
                ask = _in_vain if self._hung else self._engine.ask
                await self.master.stop(drain if self.broken is None else 0, ask)
            if self._on_closed is not None:
                self._on_closed()
                self._on_closed = None

    async def _attempt(self, request: ExecutionOptions, scope: Scope) -> Execution:
        options = self._facts.session_options
        if options is None:
            options = await self._facts.learn_session_options(self.config)
        self.gate.check()  # it may have been closed meanwhile, or given back
        scope.check()
        if self.broken is None and not self._engine.usable:
            self._break(self._gone())
        if self.broken is not None:
            raise self._lost(self.broken, False)
        preamble = Preamble("none" if request.subsystem else self._facts.shell)
        if request.subsystem:
            options = replace(options, subsystem=True)
        if request.terminal is not None:
            options = replace(options, terminal=request.terminal.term)
        try:
            execution = Execution(request, preamble, self._engine, options)
        except OSError as error:
            if isinstance(error, Error):
                raise
            check_errno(error)
            self._break(self._gone())
            raise self._lost(f"{self._gone()} ({error})", False) from error
        self.executions.add(execution)
        scope.running.add(execution)
        if self._looking is None and not self._facts.foreign:
            self._looking = self._loop.call_later(_SILENCE, self._look)
        try:
            await execution.wait()
        except BaseException:
            # A closing link ends its executions itself.
            await run_to_end(partial(self._end, execution))
            raise
        finally:
            self.executions.discard(execution)
            scope.running.discard(execution)
        if self._facts.shell == "unknown" and not request.subsystem:
            self._facts.shell = preamble.shell
        return execution

    def _refused(self, execution: Execution) -> bool:
        end = execution.end
        assert end is not None  # noqa: S101 - it is over
        if end.kind != "unclear" or execution.preamble.pid is not None:
            return end.kind == "refused"
        text = execution.early_stderr.decode("utf-8", "replace")
        return session_failure(text) == "refused"

    def _check_terminal(self, execution: Execution) -> None:
        if execution.terminal_refused:
            raise TerminalRefused(
                f"{self.config.address} gives no terminal (PermitTTY, or `restrict` or `no-pty` in "
                "authorized_keys). Nothing was run: leave term_type= out for a command that needs "
                "none"
            )

    def _look(self) -> None:
        """Looks for commands that should have begun long ago. (A foreign master may ask somebody.)

        A master that hangs takes what it is told, and says nothing.
        """
        self._looking = None
        since = self._loop.time() - _SILENCE
        silent = [each for each in self.executions if each.silent and each.began_at <= since]
        if silent and self._closing is None:
            self._suspicions.start(self._suspect(silent))
        if self.executions and self._closing is None:
            self._looking = self._loop.call_later(_SILENCE, self._look)

    async def _suspect(self, silent: Sequence[Execution]) -> None:
        if await self.master.ping(_SILENT_PING):
            return  # so it is the network, or the server: keepalives see to that
        self._hung = True
        why = f"its master (pid {self.master.pid}) does not answer"
        self._break(why)
        await self.end([each for each in silent if not each.over], self._lost(why, None))

    def window_changed(self) -> None:
        """Lets the master look at the sizes of all its sessions' terminals (clientloop.c)."""
        if self.master.alive and self.master.record.master is not None:
            self.master.record.master.signal(signal.SIGWINCH)

    async def _judge(self, execution: Execution) -> int:
        """What the end of a session means, once it is over."""
        end = execution.end
        assert end is not None  # noqa: S101 - it is over
        if execution.aborted is not None:
            raise fresh_copy(execution.aborted)
        started = True if execution.preamble.pid is not None else None
        if end.kind == "odd":
            self._break("its master speaks another protocol")
            raise ProtocolMismatch(
                f"the master of {self.config.address} does not speak the multiplexing protocol as "
                f'sshmux knows it: {end.why}. Use ConnectionManager(engine="ssh")'
            )
        if end.kind == "denied":
            raise SessionRefused(
                f"the master of {self.config.address} asks before it opens a session "
                f"(ControlMaster), and the answer was no: {end.why}"
            )
        if end.kind == "failed":
            if execution.preamble.pid is not None:
                await self._terminator.start(
                    execution.preamble.pid, terminal=execution.pty is not None
                )
            raise self._lost(end.why, started)
        if end.kind == "exited":
            await self._check_exited(execution, end.status)
        elif not self.master.usable or not await self.master.ping(_PING_DEADLINE):
            gone = self._gone()
            self._break(gone)
            text = execution.early_stderr.decode("utf-8", "replace")
            unreached = not started and session_failure(text) == "unreachable"
            raise self._lost(gone, False if unreached else started)
        execution.release()
        return end.status

    async def _check_exited(self, execution: Execution, status: int) -> None:
        if status == 1 and execution.preamble.pid is None:
            text = execution.early_stderr.decode("utf-8", "replace")
            if session_failure(text) == "expired":
                self._break("the password has expired")
                raise expired(self.config)
        if not await self.master.stands(_PING_DEADLINE):
            # The status comes ahead of the last output, which went down with the master.
            self._break("the master is gone")
            raise self._lost(f"it went down as a command ended with {status}", True)

    def _lost(self, why: str, started: bool | None) -> ConnectionLost:
        what = {
            False: "The command was not started",
            True: "The command had started; it may not have finished, or its output is incomplete",
            None: "The command may or may not have run",
        }[started]
        error = ConnectionLost(f"Connection to {self.config.address} lost: {why}. {what}.")
        error.started = started
        return error

    def _gone(self) -> str:
        return "its control socket is gone" if self.master.alive else "the link went down"

    def retire(self, why: str) -> None:
        """From now on nothing begins on it, and it is not lent again; what runs goes on."""
        self._break(why)

    def _break(self, why: str) -> None:
        if self.broken is None:
            self.broken = why
            log.debug("%s", self)

    async def _end(self, execution: Execution) -> None:
        """Ends a remote command, then its client. Never raises, always ends."""
        if execution.over:
            return
        if execution.subsystem:
            await execution.stop()  # the end of its input is its own end
            return
        confirmed = False
        with contextlib.suppress(Error, TimeoutError, OSError):
            confirmed = await self._end_remote(execution)
        if confirmed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_DEADLINE):
                    await execution.wait()
        else:
            execution.left_running()
        if not confirmed and self.master.alive and self._facts.shell != "none":
            # Its place on the remote may still be taken, and nobody can say by what.
            self._break("a command that was given up could not be ended")
            log.warning("%s: a command may still run on %s", self, self.config.address)
        await execution.stop()

    async def _end_remote(self, execution: Execution) -> bool:
        """Whether the remote process group is known to be gone."""
        if execution.preamble.shell == "none" or not self.master.alive or self._hung:
            return False
        async with asyncio.timeout(_START_DEADLINE):
            await execution.announced()
        pid = execution.preamble.pid
        if execution.over or pid is None:
            return execution.over
        return await self._terminator.end(pid, execution)


async def _in_vain(operation: str, timeout: float) -> bool:
    """Asks a master that does not answer."""
    return False
