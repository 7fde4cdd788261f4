"""A link: one master, and its session places.

Connections are faces of a link: one for each borrower. The link runs their commands, sees to it
that what they give up is ended on the remote too, and tells a lost link from a failed command.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..config import ConnectionConfig
from ..errors import ConnectionLost, ConnectionReleased, Error, SessionRefused
from ..openssh import remote
from ..openssh.control.master import Master
from ..openssh.engines.mux import MuxEngine, SpareEngine
from ..openssh.engines.shape import End, Engine
from ..openssh.engines.ssh import SshEngine
from ..openssh.remote import Preamble, Shell
from ..system.descriptors import check_errno
from ..system.ownership import Ownership
from ..system.tasks import run_to_end
from ..text import logger
from .execution import Attachment, Execution, ExecutionOptions, Fate, Scope
from .facts import ClusterFacts
from .gate import SessionGate
from .health import LinkHealth
from .others import OthersSessions
from .termination import RemoteTerminator
from .verdict import Verdict
from .watch import MasterWatch

log = logger("sshmux.link")

ENGINES: dict[str, Callable[[Master], Engine]] = {"ssh": SshEngine, "mux": MuxEngine}
SIGNALLED = -1  # in place of an exit status, as in asyncssh: it was ended by a signal

_START_DEADLINE = 2.0  # seconds for a command that is given up to announce itself
_SETTLED = 0.25  # seconds after which a server has surely noticed that a session is over
_PAUSES = 0.01, 0.02, 0.04, 0.08, 0.16  # seconds, before a refused session is tried again
_LEAVE_DEADLINE = 1.0  # seconds for the clients of a dead master to leave
# Whatever is stuck, a cancellation is back within 6 s, the client's end (1 s) included.
_END_DEADLINE = 4.8  # seconds for a command that is given up to end on the remote
_UNHEARD = 1.0  # seconds for that once the remote did not react to it
_ANSWER = 2.0  # seconds for the master to answer before anything is asked of the remote
_CLIENT_DEADLINE = 0.5  # seconds for the client to leave after its command


class Link:
    """One master in use."""

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
        self._spare = SpareEngine(master)
        self.gate = SessionGate(facts.max_sessions)
        self.health = LinkHealth(master)
        self.executions: set[Execution] = set()
        self.attachments: set[Attachment] = set()
        self.before_close: list[Callable[[], Awaitable[None]]] = []  # what nobody waits for
        self._facts = facts
        self._terminator = RemoteTerminator(self.control)
        self.loop = self._loop = asyncio.get_running_loop()
        self._ownership = Ownership()
        self._ownership.loop = self._loop
        self._verdict = Verdict(master, self.health, self._terminator)
        self._watch = MasterWatch(master, self.health, self, self.end)
        self._ended_at = -math.inf  # when a session of ours was last over, by the loop's clock
        self._closing: asyncio.Task[None] | None = None
        self._on_closed = on_closed
        if not facts.foreign:
            master.keep_spare()

    def __repr__(self) -> str:
        state = self.broken or ("usable" if self.usable else "gone")
        return f"<Link {self.master.entry.name} {self.gate!r} {state}>"

    @property
    def broken(self) -> str | None:
        """Why it should not be used again, if so."""
        return self.health.broken

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

    @property
    def quickest(self) -> float:
        """Seconds that a session of the cluster's took to tell that it has begun, at best."""
        return self._facts.quickest

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
        self.check_loop()
        pauses = iter(_PAUSES)
        others = OthersSessions(self.master)
        while True:
            if not self.gate.enter_now():
                await self.gate.enter()
            left = self.gate.left
            try:
                execution = await self._attempt(request, scope)
                if self._verdict.refused(execution):
                    request.fate = "unsent"
                else:
                    self._verdict.check_terminal(execution)
                    execution.begin()  # if it was over before it could tell
                    self._ended_at = self._loop.time()
                    return await self._verdict.judge(execution)
                pause = next(pauses, 0.0) if self._settling(left) else 0.0
                if not pause:
                    pause = others.pause()
                if not pause:
                    self._learn_limit(left)
            finally:
                self.gate.leave()
            if pause:
                await asyncio.sleep(pause)  # nothing tells when the server is done with a session

    def check_loop(self) -> None:
        """Raises `WrongEventLoop` in a forked child, and in another loop while its own runs."""
        self._ownership.claim(
            f"the connection to {self.config.address}",
            "use it there (manager.call_from_thread), or borrow one from a manager of this loop",
        )

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
        self.master.note_limit(self.gate.max_sessions)
        log.info("%s: the server takes %d sessions", self, self.gate.max_sessions)

    async def control(self, line: str, timeout: float) -> int:
        """Runs a line of our own in the place that is kept for that.

        Raises `TimeoutError`, and `ConnectionLost` when the master is known to be gone.
        """
        return (await self._control(line, timeout)).status

    async def _control(self, line: str, timeout: float, *, answered: bool = False) -> End:
        """How a line of our own ended. With `answered`, see `Verdict.check_answered`."""
        self.check_loop()
        async with asyncio.timeout(timeout), self.gate.control:
            execution = await self._controlled(line)
            others = OthersSessions(self.master)
            while not answered and self._verdict.refused(execution) and (pause := others.pause()):
                await asyncio.sleep(pause)
                execution = await self._controlled(line)
            if answered:
                self._verdict.check_answered(execution)
            assert execution.end is not None  # noqa: S101 - it is over
            return execution.end

    async def _controlled(self, line: str) -> Execution:
        if not self.master.alive:
            raise ConnectionLost(f"the connection to {self.config.address} is gone")
        execution = self._control_execution(line)
        try:
            await execution.wait()
        except BaseException:
            await run_to_end(execution.stop)
            raise
        return execution

    def _control_execution(self, line: str) -> Execution:
        request, preamble = ExecutionOptions(line, vital=True), Preamble("none")
        if self.master.usable:
            return Execution(request, preamble, self._engine)
        return Execution(request, preamble, self._spare)  # its socket was removed, or moved

    async def check(self, timeout: float) -> None:
        """A health check: of the master, then `true`. Raises `ConnectionLost`.

        Any end that the server tells proves the link, a refusal too: an account may have no shell.
        With remote_shell="none" nothing is sent, as a forced command would run for it: the master
        is asked, and its keepalives watch the link.
        """
        await self._engine.check(timeout)
        if self._facts.shell == "none":
            return
        try:
            await self.prove(timeout)
        except TimeoutError:
            raise ConnectionLost(f"`true` on the remote did not end within {timeout:g} s") from None

    async def prove(self, timeout: float) -> None:
        """Sees the server answer to a session. Raises `TimeoutError` and `ConnectionLost`."""
        end = await self._control("true", timeout, answered=True)
        if end.status != 0:
            log.debug("%s: the server answers, but `true` does not end with 0: %s", self, end)

    async def end(self, executions: Sequence[Execution], error: Exception) -> None:
        """Ends executions that belong to somebody else; whoever awaits them gets `error`."""
        for execution in executions:
            execution.aborted = error
        await asyncio.gather(*(self._end(execution) for execution in executions))

    def check_usable(self) -> None:
        """Raises `ConnectionLost` if nothing more can be had from it."""
        self.check_loop()
        self.gate.check()
        if not self.usable:
            raise ConnectionLost(
                f"Connection to {self.config.address} lost: {self.broken or self.health.gone}."
            )

    def attach(self, attachment: Attachment) -> None:
        """Something lives by it from now on, until it is taken out of `attachments`."""
        self.attachments.add(attachment)
        self._look_after()

    def _look_after(self) -> None:
        if not self._facts.foreign:  # a foreign master may ask somebody, and is not ours to end
            self._watch.begin()

    async def end_attachments(self, scope: Scope | None = None) -> None:
        """Ends what lives by it besides sessions; only one borrower's, with `scope`."""
        found = [each for each in self.attachments if scope is None or each.scope is scope]
        await asyncio.gather(*(each.end() for each in found))

    async def close(
        self, *, drain: float = 0, error: Exception | None = None, leave: bool | None = False
    ) -> None:
        """Ends the commands (after up to `drain` seconds) and the master. Never raises.

        With `leave` the master lives on, for whoever adopts it; None: if whoever logged in wanted
        it to.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(drain, error, leave))
        await asyncio.shield(self._closing)

    async def close_lost(self) -> None:
        """Tidies up after a master that died: its commands say themselves what became of them."""
        self.health.retire("the master is gone")
        await self.close(error=self.health.lost("the master is gone", False))

    async def _close(self, drain: float, error: Exception | None, leave: bool | None) -> None:
        error = error or ConnectionReleased(f"the connection to {self.config.address} was closed")
        self.gate.close(error)
        if not self.master.alive:
            drain = _LEAVE_DEADLINE  # their clients are leaving already
        await self._watch.close()
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
            leave = self.master.outlives_us if leave is None else leave
            if leave and self.broken is None and self.master.usable:
                self.master.leave()
            else:
                # Sessions of others (an operator's own ssh -S) get their time as well.
                ask = _in_vain if self.health.hung else self._engine.ask
                broken = self.broken is not None
                await self.master.stop(0 if broken else drain, ask, broken=broken)
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
            self.health.retire(self.health.gone)
        if self.broken is not None:
            raise self.health.lost(self.broken, False)
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
            self.health.retire(self.health.gone)
            raise self.health.lost(f"{self.health.gone} ({error})", False) from error
        self.executions.add(execution)
        scope.running.add(execution)
        self._look_after()
        if execution.input_waits:
            self._watch.expect(execution)
        try:
            await execution.finished()
        except BaseException:
            # A closing link ends its executions itself.
            await run_to_end(partial(self._end, execution))
            raise
        finally:
            self.executions.discard(execution)
            scope.running.discard(execution)
        self._facts.quickest = min(self._facts.quickest, execution.announced_after)
        if self._facts.shell == "unknown" and not request.subsystem:
            self._facts.shell = preamble.shell
        return execution

    def window_changed(self) -> None:
        """Lets the master look at the sizes of all its sessions' terminals (clientloop.c)."""
        if self.master.alive and self.master.record.master is not None:
            self.master.record.master.signal(signal.SIGWINCH)

    def retire(self, why: str) -> None:
        """From now on nothing begins on it, and it is not lent again; what runs goes on."""
        self.health.retire(why)

    async def _end(self, execution: Execution) -> None:
        """Ends a remote command, then its client. Never raises, always ends."""
        if execution.over:
            execution.becomes(_by_itself(execution))
            return
        if execution.subsystem:
            await execution.stop()  # the end of its input is its own end
            return
        fate: Fate = "unknown"
        with contextlib.suppress(Error, TimeoutError, OSError):
            async with asyncio.timeout(_UNHEARD if self.health.deaf else _END_DEADLINE):
                fate = await self._end_remote(execution)
        execution.becomes(fate)
        if fate != "unknown":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLIENT_DEADLINE):
                    await execution.wait()
        elif self.master.alive and self._facts.shell != "none":
            # Its place on the remote may still be taken, and nobody can say by what.
            self.health.deaf = True
            self.health.retire("a command that was given up could not be ended")
            log.warning("%s: a command may still run on %s", self, self.config.address)
        await execution.stop()

    async def _end_remote(self, execution: Execution) -> Fate:
        """What became of it on the remote, as far as that can be seen."""
        if not execution.tells or not self.master.alive or self.health.hung:
            return "unknown"
        if not await self.master.ping(_ANSWER):
            return "unknown"
        async with asyncio.timeout(_START_DEADLINE):
            await execution.announced()
        pid = execution.preamble.pid
        if execution.over or pid is None:
            return _by_itself(execution)
        return "ended" if await self._terminator.end(pid, execution) else "unknown"


def _by_itself(execution: Execution) -> Fate:
    """What became of one that is over without us."""
    return "finished" if execution.exited else "unknown"


async def _in_vain(operation: str, timeout: float) -> bool:
    """Asks a master that does not answer."""
    return False
