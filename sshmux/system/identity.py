"""Which process is meant, what it costs, and whether it is still that one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import psutil

from .exitwatch import ExitWatch
from .tasks import settle

_LOOK = 0.02  # seconds between looks, where there can be no event
_LINUX = sys.platform.startswith("linux")


@dataclass(frozen=True)
class Usage:
    """What a process and its children cost this machine."""

    processes: int
    memory_bytes: int
    cpu_seconds: float


@dataclass(frozen=True)
class ProcessId:
    """Which process is meant: the pid and, because pids come back, when it was started.

    Attributes:
        started: in words that are compared, and never read: the boot, and the clock ticks from it
            to the start (macOS: the kernel's own start time). The wall clock has no part in it: it
            may be stepped, and psutil's creation times step with it.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a running process, or None when there is none.

        Raises `OSError` when there is no descriptor to look with.
        """
        seen = _look(pid)
        if seen is not None and not seen.started:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return cls(pid, seen.started) if seen is not None else None

    @property
    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        seen = _look(self.pid)
        return seen is not None and seen.runs and seen.started in ("", self.started)

    @property
    def stopped(self) -> bool:
        """Whether this very process stands still (SIGSTOP, ^Z, a debugger)."""
        seen = _look(self.pid)
        return seen is not None and seen.stopped and seen.started == self.started

    @property
    def exiting(self) -> bool:
        """Whether it has begun to exit, or is gone; by its pid alone. 2 µs.

        An exiting process loses its memory before its descriptors (Linux: do_exit), and without
        memory it has no program (man 5 proc: exe). False where that cannot be looked at.
        """
        if not _LINUX:
            return False
        try:
            os.readlink(f"/proc/{self.pid}/exe")
        except OSError as error:
            return error.errno in (errno.ENOENT, errno.ESRCH)
        return False

    def usage(self) -> Usage | None:
        """What the process and its children cost; None when it is gone."""
        if not self.alive:
            return None
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
        with contextlib.suppress(ProcessLookupError, PermissionError), self._pinned() as pinned:
            if not self.alive:
                return
            if pinned is not None:
                with contextlib.suppress(PermissionError):  # of a sandbox that does not know it
                    signal.pidfd_send_signal(pinned, number)
                    return
            os.kill(self.pid, number)

    @contextlib.contextmanager
    def _pinned(self) -> Iterator[int | None]:
        """A descriptor of the process that has the pid now, so that none can take its place.

        None where there are no such descriptors, or none is left.
        """
        try:
            pinned = os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise
        except (AttributeError, OSError):
            yield None
            return
        try:
            yield pinned
        finally:
            os.close(pinned)

    async def wait_gone(self, timeout: float) -> bool:
        """Waits until the process is gone. False when `timeout` seconds were not enough."""
        gone = asyncio.get_running_loop().create_future()
        try:
            watch = ExitWatch(self.pid, partial(settle, gone))
        except ProcessLookupError:
            return True
        except OSError:
            return await self._look_until_gone(timeout)  # no descriptor for an event is left
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

    async def _look_until_gone(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(_LOOK)
        return True


def in_words(processes: Iterable[ProcessId]) -> str:
    """Processes, for a message: `pid 17, pid 42`."""
    return ", ".join(f"pid {process.pid}" for process in processes)


@dataclass(frozen=True)
class _Seen:
    started: str  # "" when there is no descriptor to look with
    runs: bool
    stopped: bool = False


def _look(pid: int) -> _Seen | None:
    """What can be seen of a pid now; None when there is no such process."""
    if _LINUX:
        return _look_in_proc(pid)
    try:
        process = psutil.Process(pid)
        status = process.status()
        return _Seen(
            repr(process.create_time()),
            status != psutil.STATUS_ZOMBIE,
            status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP),
        )
    except psutil.Error:
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _look_in_proc(pid: int) -> _Seen | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return _Seen("", runs=True) if _exists(pid) else None
        return None
    # The second field is the program's name in parentheses, which may have any character in it.
    fields = text[text.rfind(b")") + 2 :].split()
    try:
        state, ticks = fields[0], int(fields[19])
    except (IndexError, ValueError):
        return None
    return _Seen(f"{_boot()}/{ticks}", state not in (b"Z", b"X", b"x"), state in (b"T", b"t"))


@cache
def _boot() -> str:
    """Which boot of this machine it is."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
