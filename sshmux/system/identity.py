"""Which process is meant, what it costs, and whether it is still that one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from dataclasses import dataclass
from functools import partial

import psutil

from .exitwatch import ExitWatch
from .tasks import settle

_CREATION_SLACK = 2.0  # seconds: psutil derives creation times from the boot time, which drifts


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

    @property
    def exiting(self) -> bool:
        """Whether it has begun to exit, or is gone; by its pid alone. 2 µs.

        An exiting process loses its memory before its descriptors (Linux: do_exit), and without
        memory it has no program (man 5 proc: exe). False where that cannot be looked at.
        """
        if sys.platform != "linux":
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
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    async def wait_gone(self, timeout: float) -> bool:
        """Waits until the process is gone. False when `timeout` seconds were not enough."""
        gone = asyncio.get_running_loop().create_future()
        try:
            watch = ExitWatch(self.pid, partial(settle, gone))
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
