"""A running command, in the shape of asyncssh's `SSHClientProcess`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any, Generic, cast

from ..checks import check_seconds
from ..errors import ConfigError, ConnectionLost, Error
from ..openssh.remote import signal_group
from ..system.contexts import OwnContext
from ..system.ownership import check_loop
from ..system.pty import Pty, check_size
from ..system.tasks import TaskGroup, run_to_end
from ..text import logger
from .completed import SOME_SIGNAL, CompletedProcess, return_code, shown, timed_out
from .execution import Execution, ExecutionOptions, Scope
from .link import SIGNALLED, Link
from .pumps import Pumps
from .streams import AnyStr, StreamReader, StreamWriter

log = logger("sshmux.process")

_SIGNAL_DEADLINE = 10.0  # seconds for a signal to be sent
_OF_A_SIGNAL = (SIGNALLED, 255)  # the latter is what `ssh -S` makes of one
# Those that end what does not catch them.
_ENDING = frozenset(
    ("ABRT", "ALRM", "HUP", "INT", "KILL", "PIPE", "PROF", "QUIT", "TERM", "TRAP")
) | {"USR1", "USR2", "VTALRM"}


class ProcessTask:
    """What runs a process: a task. It knows nothing of the process, which may be dropped."""

    def __init__(self, link: Link, request: ExecutionOptions, scope: Scope) -> None:
        self.link = link
        self.request = request
        self.pid: int | None = None
        self.begun: asyncio.Future[Execution] = link.loop.create_future()
        request.begun = self._begun
        self.task = asyncio.ensure_future(link.execute(request, scope))
        self.task.add_done_callback(self._over)

    def _begun(self, execution: Execution) -> None:
        self.pid = execution.preamble.pid
        if not self.begun.done():
            self.begun.set_result(execution)

    async def begin(self) -> Execution:
        """Waits until it has begun. Cancelled, it is ended first. Raises what `execute` raises."""
        try:
            both: set[asyncio.Future[Any]] = {self.begun, self.task}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await run_to_end(self._end)
            raise
        if self.begun.done() and not self.begun.cancelled():
            return self.begun.result()
        await self.task
        raise ConnectionLost("the process ended as it began")

    async def _end(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))

    def _over(self, task: asyncio.Task[int]) -> None:
        if not self.begun.done():
            self.begun.cancel()
        if not task.cancelled():
            task.exception()  # whoever waits sees it; that nobody does is no news

    @property
    def error(self) -> BaseException | None:
        """What ended it otherwise than by itself."""
        if not self.task.done() or self.task.cancelled():
            return None
        return self.task.exception()


class RemoteProcess(OwnContext, Generic[AnyStr]):
    """A command that runs on the remote. Made by `Connection.create_process`.

    If it is given up (the block is left, `close()`, nobody holds it any more, whoever may hold its
    streams), its whole process group on the remote is ended: SIGTERM, and SIGKILL after 2 s. But
    one whose stdout is led elsewhere and that nobody holds runs on to its end, as long as its
    connection: its stdin ends, and what it says on stderr is thrown away if nobody can read it.

    Attributes:
        command: as it was given, in words.
        env: as it was given.
    """

    subsystem: str | None = None

    def __init__(
        self,
        command: str,
        env: Any,
        life: ProcessTask,
        streams: tuple[
            StreamWriter[AnyStr] | None, StreamReader[AnyStr] | None, StreamReader[AnyStr] | None
        ],
        pumps: Pumps,
        empty: Any,
        pty: Pty | None = None,
    ) -> None:
        self.command = command
        self.env = env
        self._stdin: StreamWriter[AnyStr] | None = streams[0]
        self._stdout: StreamReader[AnyStr] | None = streams[1]
        self._stderr: StreamReader[AnyStr] | None = streams[2]
        self._life = life
        self._pumps = pumps
        self._empty = empty  # text or bytes, of what leads elsewhere
        self._pty = pty
        self._sent: str | None = None  # the last signal that reached something of it
        self._signals = TaskGroup()

    def __repr__(self) -> str:
        return f"<RemoteProcess {shown(self.command)} pid={self.pid} {self._state}>"

    @property
    def _state(self) -> str:
        status, task = self.exit_status, self._life.task
        if not task.done():
            return "running"
        if status == SIGNALLED:
            return "ended by a signal"
        if status is not None:
            return f"exit status {status}"
        error = self._life.error
        return "given up: it may still run" if error is None else f"ended by {type(error).__name__}"

    @property
    def stdin(self) -> StreamWriter[AnyStr] | None:
        """What it reads; None if that comes from elsewhere."""
        return self._stdin

    @property
    def stdout(self) -> StreamReader[AnyStr] | None:
        """What it writes; None if that goes elsewhere."""
        return self._stdout

    @property
    def stderr(self) -> StreamReader[AnyStr] | None:
        """Its messages; None if they go elsewhere."""
        return self._stderr

    @property
    def pid(self) -> int | None:
        """The remote process id, of the login shell and of its process group, if known."""
        return self._life.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status; -1 for a signal; None while it runs, or if nobody can know it.

        (The connection was lost, or it was given up and could not be ended.) What its block or
        `close()` has ended was ended by a signal.
        """
        status = self._status
        return SIGNALLED if status is not None and self._by_our_signal(status) else status

    @property
    def _status(self) -> int | None:
        """As its session told it."""
        task = self._life.task
        if not task.done():
            return None
        if self._life.error is not None:
            return None
        if task.cancelled():
            request = self._life.request
            return SIGNALLED if request.fate == "ended" else request.status
        return task.result()

    def _by_our_signal(self, status: int) -> bool:
        """Whether it ended as one does that a signal of `send_signal` has ended."""
        return self._sent is not None and status in _OF_A_SIGNAL

    @property
    def exit_signal(self) -> tuple[str, bool, str, str] | None:
        """Set for a command that a signal of ours ended; of any other with engine="mux" only.

        Only that of `send_signal` has its name. See docs/engines.md.
        """
        status = self._status
        if status is not None and self._by_our_signal(status):
            return (self._sent or "", *SOME_SIGNAL[1:])
        return SOME_SIGNAL if status == SIGNALLED else None

    @property
    def returncode(self) -> int | None:
        """As `exit_status`; the signal's number, negative, for a signal; -99 if it is not known."""
        status = self.exit_status
        return status if status is None else return_code(status, self.exit_signal)

    def poll(self) -> int | None:
        """The `returncode`, under `subprocess`'s name for asking."""
        return self.returncode

    # Its end

    async def communicate(self, input: AnyStr | None = None) -> tuple[AnyStr | None, AnyStr | None]:
        """Feeds it, ends its input, reads all that it still writes, and waits for its end.

        None is for what is no stream of ours. Raises what `Connection.run` raises, but for
        `ProcessError` and `ProcessTimeout`.
        """
        check_loop(self._life.link.loop, repr(self))
        if input is not None and self.stdin is None:
            raise ConfigError("communicate(input): the process's stdin leads elsewhere, not here")
        if self.stdin is not None:
            if input is not None:
                self.stdin.write(input)
            self.stdin.write_eof()
        return await self._outputs()

    async def _outputs(self) -> tuple[AnyStr | None, AnyStr | None]:
        out, err = await asyncio.gather(_rest(self.stdout), _rest(self.stderr))
        status = await asyncio.shield(self._life.task)
        if status in _OF_A_SIGNAL:
            await self._signals.wait()  # whether it was one of ours
        await self._pumps.finished()
        return out, err

    async def wait(
        self, check: bool = False, timeout: float | None = None
    ) -> CompletedProcess[AnyStr]:
        """Waits for its end, and returns it with what was not read yet. Its input stays open.

        Parameters:
            check: raise `ProcessError` when the exit status is not 0.
            timeout: seconds; then `ProcessTimeout` is raised, with what was written so far, and
                the process runs on.
        """
        check_loop(self._life.link.loop, repr(self))
        if timeout is not None:
            check_seconds("timeout", timeout)
        try:
            async with asyncio.timeout(timeout) as deadline:
                out, err = await self._outputs()
        except TimeoutError:
            if timeout is None or not deadline.expired():
                raise
            out, err = self._so_far(self.stdout), self._so_far(self.stderr)
            raise timed_out(self.command, timeout, out, err, fate="running") from None
        status = self.exit_status
        assert status is not None  # noqa: S101 - it has ended
        done: CompletedProcess[Any] = CompletedProcess(
            self.command,
            status,
            self._empty if out is None else out,
            self._empty if err is None else err,
            self.env,
            exit_signal=self.exit_signal,
        )
        if check:
            done.check_returncode()
        return done

    def _so_far(self, stream: StreamReader[Any] | None) -> Any:
        return self._empty if stream is None else stream.take_all()

    def close(self) -> None:
        """Ends it on the remote, with all its group, unless it has ended. See `wait_closed`."""
        check_loop(self._life.link.loop, repr(self))
        if self.stdin is not None and self._pty is None:  # on a terminal that would be Ctrl-D
            self.stdin.close()
        self._life.task.cancel()
        self._pumps.abandon()

    def is_closing(self) -> bool:
        """Whether it has ended, or is being ended, or was told the end of its input."""
        task = self._life.task
        told = self.stdin is not None and self.stdin.is_closing()
        return told or task.done() or task.cancelling() > 0

    async def wait_closed(self) -> None:
        """Waits until nothing of it is left."""
        await asyncio.wait((self._life.task,))
        await self._pumps.closed()
        await self._signals.wait()

    # Signals

    def send_signal(self, signal: str | int) -> None:
        """Sends a signal to its remote process group, by name ("INT") or number.

        With a terminal, to all process groups on it; for those in the foreground there is Ctrl-C.

        It is sent by another session, one after the other; that it was sent is not waited for.
        Nothing happens if the process has ended.

        Raises:
            ConfigError: no such signal; or the process did not tell its id (remote_shell="none").
        """
        check_loop(self._life.link.loop, repr(self))
        name = _signal_name(signal)
        if self._life.task.done():
            return
        if self._life.pid is None:
            raise ConfigError(f"{self!r} did not tell its process id: it cannot be sent signals")
        self._signals.start(self._send(self._life.pid, name))

    async def _send(self, pid: int, name: str) -> None:
        try:
            status = await self._life.link.control(
                signal_group(pid, name, terminal=self._pty is not None), _SIGNAL_DEADLINE
            )
        except (Error, TimeoutError, OSError) as error:
            log.warning("%r: SIG%s could not be sent: %s", self, name, error)
        else:
            if status == 0:
                self._sent = name if name in _ENDING else self._sent
            elif not self._life.task.done():
                log.warning("%r: SIG%s reached nothing of it", self, name)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal("TERM")

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal("KILL")

    # Terminal

    def change_terminal_size(
        self, width: int, height: int, pixwidth: int = 0, pixheight: int = 0
    ) -> None:
        """Gives its terminal another size; the remote program gets a SIGWINCH.

        Nothing happens if the process has ended.

        Parameters:
            width, height: columns and rows.
            pixwidth, pixheight: the same in pixels; 0 for not known.

        Raises:
            ConfigError: it has no terminal; or a size that none can have.
        """
        check_loop(self._life.link.loop, repr(self))
        size = width, height, pixwidth, pixheight
        check_size(size)
        if self._pty is None:
            raise ConfigError(f"{self!r} has no terminal: start it with term_type=")
        if not self._life.task.done():
            self._pty.resize(size)
            self._life.link.window_changed()

    # Life

    async def _leave(self, error: BaseException | None) -> None:
        self.close()
        await self.wait_closed()

    def __del__(self) -> None:
        life = getattr(self, "_life", None)
        if life is None or life.task.done():
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            if self._stdout is not None or self._pty is not None:
                life.link.loop.call_soon_threadsafe(life.task.cancel)
            else:
                # Its output is led elsewhere, which is what it was started for.
                life.link.loop.call_soon_threadsafe(_let_run, self._stdin, self._stderr)


class ReadableProcess(RemoteProcess[AnyStr]):
    """One whose stdin and stdout are streams of ours, wherever its stderr goes."""

    @property
    def stdin(self) -> StreamWriter[AnyStr]:
        """What it reads."""
        return cast("StreamWriter[AnyStr]", self._stdin)

    @property
    def stdout(self) -> StreamReader[AnyStr]:
        """What it writes."""
        return cast("StreamReader[AnyStr]", self._stdout)


class PipedProcess(ReadableProcess[AnyStr]):
    """One whose three streams are ours: nothing was led elsewhere."""

    @property
    def stderr(self) -> StreamReader[AnyStr]:
        """Its messages."""
        return cast("StreamReader[AnyStr]", self._stderr)


def kind_of(streams: tuple[object, object, object]) -> type[RemoteProcess[Any]]:
    """The class that says of which streams there is one."""
    stdin, stdout, stderr = (stream is not None for stream in streams)
    if not (stdin and stdout):
        return RemoteProcess
    return PipedProcess if stderr else ReadableProcess


def _let_run(stdin: StreamWriter[Any] | None, stderr: StreamReader[Any] | None) -> None:
    """Nobody holds its process any more."""
    if stdin is not None:
        stdin.close()
    if stderr is not None:
        stderr.discard()


async def _rest(stream: StreamReader[AnyStr] | None) -> AnyStr | None:
    return None if stream is None else await stream.read()


def _signal_name(number: str | int) -> str:
    try:
        if isinstance(number, int):
            return signal.Signals(number).name.removeprefix("SIG")
        name = number.upper().removeprefix("SIG")
        return signal.Signals[f"SIG{name}"].name.removeprefix("SIG")
    except (ValueError, KeyError, AttributeError):
        raise ConfigError(f"signal {number!r}: use a name such as 'TERM', or a number") from None
