"""Local processes: start one, learn of its end as an event, end it with its group.

asyncio's own subprocess support makes a thread per child on Python 3.11 and a transport per pipe;
a session needs neither. Here the end of a process is a readable descriptor: a pidfd on Linux, a
kqueue on macOS. Both also work for processes that are not our children, such as masters.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import psutil

from ..errors import ConfigError

_DEFAULT_PIPE = 64 * 1024
_CREATION_SLACK = 2.0  # seconds: psutil derives creation times from the boot time, which drifts


def client_environment(use_agent: bool = True) -> dict[str, str]:
    """The environment for ssh: ours, less everything that could open a window to ask in."""
    env = dict(os.environ)
    env.pop("SSH_ASKPASS", None)
    env["SSH_ASKPASS_REQUIRE"] = "never"
    if not use_agent:
        env.pop("SSH_AUTH_SOCK", None)
    return env


@dataclass(frozen=True)
class Usage:
    """What a process and its children cost this machine."""

    processes: int
    memory_bytes: int
    cpu_seconds: float


@dataclass(frozen=True)
class ProcessId:
    """Which process is meant: the pid and, because pids come back, when it was created."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a running process, or None when there is none."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    @property
    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _CREATION_SLACK
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def usage(self) -> Usage | None:
        """What the process and its children cost; None when it is gone."""
        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
            times = [member.cpu_times() for member in family]
            return Usage(
                processes=len(family),
                memory_bytes=sum(member.memory_info().rss for member in family),
                cpu_seconds=sum(time.user + time.system for time in times),
            )
        except psutil.Error:
            return None

    def signal(self, number: int) -> None:
        """Sends a signal, unless the process is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    async def wait_gone(self, timeout: float) -> bool:
        """Waits until the process is gone. False when `timeout` seconds were not enough."""
        gone = asyncio.get_running_loop().create_future()
        try:
            watch = _ExitWatch(self.pid, partial(_resolve, gone))
        except ProcessLookupError:
            return True
        try:
            if not self.alive:  # asked after the watch was set: no gap for a reused pid
                return True
            async with asyncio.timeout(timeout):
                await gone
            return True
        except TimeoutError:
            return not self.alive
        finally:
            watch.cancel()


class _ExitWatch:
    """Calls back once when a process ends. Raises ProcessLookupError when it is gone already."""

    def __init__(self, pid: int, callback: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._fd = -1
        self._close: Callable[[], None] | None = None
        if sys.platform == "linux" and hasattr(os, "pidfd_open"):
            self._fd = os.pidfd_open(pid)
            self._close = partial(os.close, self._fd)
        elif sys.platform == "darwin":
            queue = select.kqueue()
            event = select.kevent(
                pid,
                select.KQ_FILTER_PROC,
                select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
                select.KQ_NOTE_EXIT,
            )
            try:
                queue.control([event], 0)
            except OSError:
                queue.close()
                raise
            self._fd, self._close = queue.fileno(), queue.close
        if self._close is None:
            raise NotImplementedError("sshmux runs on Linux (5.3 or later) and macOS")
        self._loop.add_reader(self._fd, self._fire)

    def _fire(self) -> None:
        self.cancel()
        self._callback()

    def cancel(self) -> None:
        """Forgets the process; safe to call twice."""
        if self._close is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            self._close()
            self._close = None


class Child:
    """A process we started, in a session of its own (so no Ctrl-C of ours reaches it)."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self.status: int | None = None
        self._popen = popen
        self._callbacks: list[Callable[[], object]] = []
        self._watch: _ExitWatch | None = None
        try:
            self._watch = _ExitWatch(popen.pid, self._reap)
        except ProcessLookupError:
            self._reap()
        except BaseException:
            popen.kill()
            popen.wait()
            raise

    def _reap(self) -> None:
        self.status = self._popen.wait()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

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
            self.on_exit(partial(_resolve, ended))
            await ended
        assert self.status is not None  # noqa: S101 - _reap set it
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signals the process and all its group, unless it has ended."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def leave(self) -> None:
        """Lets it run on, without a loop to watch it in; a thread reaps it in the end."""
        if self.status is None:
            if self._watch is not None:
                self._watch.cancel()
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
                in_daemon_thread(self._popen.wait)

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
) -> Child:
    """Starts a process. It has no controlling terminal, so ssh cannot ask anything behind our back.

    Raises `ConfigError` when the program is not there, or the command line is too long for it.
    """
    try:
        popen = subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, start_new_session=True
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"{argv[0]!r} was not found: install OpenSSH's client "
            "(openssh-client, openssh-clients), or name it with ssh_program="
        ) from error
    except OSError as error:
        if error.errno == 7:  # E2BIG: one argument may have 128 KiB on Linux
            raise ConfigError(
                "the command is too long for a command line: send it as a script with "
                "run('sh -s', input=script)"
            ) from error
        raise
    return Child(popen)


@dataclass(frozen=True)
class Captured:
    """What a short helper program said."""

    status: int
    stdout: str
    stderr: str


async def capture(
    argv: Sequence[str], *, timeout: float, env: dict[str, str] | None = None
) -> Captured:
    """Runs a short program and returns its output. Raises `TimeoutError` after killing it."""
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as always:
        out, out_end = Reader.pipe()
        undo.callback(out.close)
        always.callback(os.close, out_end)
        err, err_end = Reader.pipe()
        undo.callback(err.close)
        always.callback(os.close, err_end)
        child = spawn(argv, stdout=out_end, stderr=err_end, env=env)
        undo.pop_all()
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


class Reader:
    """The reading end of a pipe, emptied in large reads as data arrives.

    Without a `sink` the bytes are collected, up to `limit` if there is one (the rest is read
    and thrown away); with a sink, each piece goes to it.
    """

    CHUNK = 1024 * 1024

    def __init__(
        self, fd: int, sink: Callable[[bytes], object] | None = None, limit: int | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self.chunks: list[bytes] = []
        self._room = limit
        self._grown = False
        self._sink = sink or (self.chunks.append if limit is None else self._collect_some)
        self._callbacks: list[Callable[[], object]] = []
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._readable)

    @classmethod
    def pipe(
        cls, sink: Callable[[bytes], object] | None = None, limit: int | None = None
    ) -> tuple[Reader, int]:
        """A new pipe: its reader, and the writing end for a child."""
        reading, writing = os.pipe()
        try:
            return cls(reading, sink, limit), writing
        except BaseException:
            os.close(reading)
            os.close(writing)
            raise

    def _collect_some(self, data: bytes) -> None:
        assert self._room is not None  # noqa: S101 - only set as the sink when there is a limit
        if self._room > 0:
            self.chunks.append(data[: self._room])
            self._room -= len(data)

    def _grow(self) -> None:
        """A full default pipe (64 KiB) means bulk data: fewer, larger reads from now on."""
        self._grown = True
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # /proc/sys/fs/pipe-user-pages-soft
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, self.CHUNK)

    @property
    def closed(self) -> bool:
        """Whether the end was read, or `close()` called."""
        return self._fd < 0

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, self.CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._sink(data)
        if not self._grown and len(data) >= _DEFAULT_PIPE:
            self._grow()

    def drain(self) -> None:
        """Reads what is there now, without waiting for the loop."""
        while self._fd >= 0:
            try:
                data = os.read(self._fd, self.CHUNK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._sink(data)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Calls back at the end of the stream; at once if it was reached."""
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    async def ended(self) -> None:
        """Waits for the end of the stream."""
        if not self.closed:
            end = self._loop.create_future()
            self.on_end(partial(_resolve, end))
            await end

    def close(self) -> None:
        """Lets go of the pipe; safe to call twice."""
        if self._fd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    def bytes(self) -> bytes:
        """Everything collected."""
        return b"".join(self.chunks)

    def text(self) -> str:
        """Everything collected, decoded leniently."""
        return self.bytes().decode("utf-8", "replace")


class Writer:
    """The writing end of a pipe, fed from memory as fast as the other side takes it."""

    PIECE = 1024 * 1024

    def __init__(self, fd: int, data: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._data = memoryview(data)
        os.set_blocking(fd, False)
        self._write()
        if self._fd >= 0:
            self._loop.add_writer(fd, self._write)

    def _write(self) -> None:
        try:
            while self._data:
                self._data = self._data[os.write(self._fd, self._data[: self.PIECE]) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the reader is gone: what is left has nowhere to go
            pass
        self.close()

    def close(self) -> None:
        """Closes the pipe: the reader sees the end. Safe to call twice."""
        if self._fd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._data.release()
            self._data = memoryview(b"")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def in_daemon_thread(function: Callable[[], object]) -> threading.Thread:
    """Starts a thread that never keeps the program from ending, whatever it hangs on."""
    thread = threading.Thread(target=function, daemon=True, name="sshmux")
    thread.start()
    return thread
