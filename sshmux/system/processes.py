"""Local processes: start one, learn of its end as an event, end it with its group."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..errors import ConfigError, ProcessLimit, command_too_long
from .exitwatch import ExitWatch
from .inherited import blocked_signals, check_child_signal, unblock_signals
from .pipes import Reader
from .tasks import settle

MOST_CAPTURED = 4 * 1024 * 1024  # bytes

UNKNOWN_STATUS = -1000  # no signal's number: the program waits for any child, elsewhere

_left: list[subprocess.Popen[bytes]] = []  # running on without us


class Child:
    """A process we started, in a session of its own (so no Ctrl-C of ours reaches it)."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self.status: int | None = None
        self._popen = popen
        self._callbacks: list[Callable[[], object]] = []
        self._watch: ExitWatch | None = None
        try:
            self._watch = ExitWatch(popen.pid, self._reap)
        except ProcessLookupError:
            self._reap()
        except BaseException:
            popen.kill()
            popen.wait()
            raise

    def _reap(self) -> None:
        self.status = self._collect()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _collect(self) -> int:
        """The status of a process that has ended; `UNKNOWN_STATUS` if somebody else took it.

        Not `Popen.wait`: that makes 0 of a status that is lost.
        """
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            self._popen.returncode = UNKNOWN_STATUS
        else:
            self._popen.returncode = os.waitstatus_to_exitcode(status)
        return self._popen.returncode

    def on_exit(self, callback: Callable[[], object]) -> None:
        """Calls back when the process has ended; at once if it has."""
        if self.status is not None:
            callback()
        else:
            self._callbacks.append(callback)

    async def wait(self) -> int:
        """Waits for the end. A negative status is a signal's number, as in `subprocess`."""
        if self.status is None:
            ended = asyncio.get_running_loop().create_future()
            self.on_exit(partial(settle, ended))
            await ended
        assert self.status is not None  # noqa: S101 - _reap set it
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signals the process and all its group, unless it has ended."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def leave(self) -> None:
        """Lets it run on, without a loop to watch it in; a later `spawn` reaps it.

        Not a thread: this is called while the interpreter shuts down, too, when none can start.
        """
        if self.status is None:
            if self._watch is not None:
                self._watch.cancel()
            _left.append(self._popen)

    async def end(self, patience: float = 1.0) -> int:
        """SIGTERM, then SIGKILL after `patience` seconds; always waits for the end."""
        self.kill(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()


def spawn(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    env: dict[str, str] | None = None,
    keep: int | None = None,
) -> Child:
    """Starts a process. It has no controlling terminal, so ssh cannot ask anything behind our back.

    Parameters:
        keep: one more descriptor that it has, by the same number.

    Raises `ConfigError` when the program is not there, or the command line is too long for it, and
    `ProcessLimit` when the system starts no more processes.
    """
    _left[:] = [popen for popen in _left if popen.poll() is None]
    check_child_signal()
    in_child = unblock_signals if blocked_signals() else None

    def start(executable: str | None = None) -> Child:
        return Child(
            subprocess.Popen(
                argv,
                executable=executable,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=env,
                start_new_session=True,
                preexec_fn=in_child,
                pass_fds=() if keep is None else (keep,),
            )
        )

    try:
        try:
            return start()
        except PermissionError:
            # It may be of a directory in PATH that we may not look into, and hide all the others'.
            return start(_found(argv[0], env))
    except OSError as error:
        told = _told(error, argv[0])
        if told is None:
            raise
        raise told from error


def _found(program: str, env: Mapping[str, str] | None) -> str:
    """The path of a program that may be executed. Raises `FileNotFoundError`."""
    path = shutil.which(program, path=(os.environ if env is None else env).get("PATH"))
    if path is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    return path


def _told(error: OSError, program: str) -> ConfigError | ProcessLimit | None:
    """What the caller is told about a process that could not be started; None: nothing else."""
    match error.errno:
        case errno.ENOENT:
            return ConfigError(
                f"{program!r} was not found, or may not be executed: install OpenSSH's client "
                "(openssh-client, openssh-clients), or name it with ssh_program="
            )
        case errno.E2BIG:
            return command_too_long()
        case errno.EAGAIN | errno.ENOMEM:
            return ProcessLimit(
                f"{program!r} could not be started ({error.strerror}): you may have no more "
                "processes here (`ulimit -u`, or the limit of a control group). End some, run "
                'fewer commands at once, or use engine="mux", which starts none for a command'
            )
    return None


@dataclass(frozen=True)
class Captured:
    """What a short helper program said."""

    status: int
    stdout: str
    stderr: str


def listen_to(
    argv: Sequence[str], env: dict[str, str] | None = None, *, limit: int | None = None
) -> tuple[Child, Reader, Reader]:
    """Starts a program whose stdout and stderr are read; whoever calls it closes both.

    Parameters:
        limit: bytes of each that are kept.
    """
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as always:
        out, out_end = Reader.pipe(limit=limit)
        undo.callback(out.close)
        always.callback(os.close, out_end)
        err, err_end = Reader.pipe(limit=limit)
        undo.callback(err.close)
        always.callback(os.close, err_end)
        child = spawn(argv, stdout=out_end, stderr=err_end, env=env)
        undo.pop_all()
    return child, out, err


async def capture(
    argv: Sequence[str], *, timeout: float, env: dict[str, str] | None = None
) -> Captured:
    """Runs a short program and returns its output. Raises `TimeoutError` after killing it.

    Of what it writes `MOST_CAPTURED` bytes are kept: it may pass on what a server says.
    """
    child, out, err = listen_to(argv, env, limit=MOST_CAPTURED)
    try:
        async with asyncio.timeout(timeout):
            status = await child.wait()
            await out.ended()
            await err.ended()
    except BaseException:
        child.kill()
        # It is dying of SIGKILL: reaping is a matter of microseconds, cancellation or not.
        await asyncio.shield(_reaped(child))
        raise
    finally:
        out.close()
        err.close()
    return Captured(status, out.text(), err.text())


async def _reaped(child: Child) -> None:
    await child.wait()
