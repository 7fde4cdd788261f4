"""The processes of one sshd: the listener, its connections, and what runs in their sessions."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

_SIGNAL_TIMEOUT = 5.0
_GRACE = 0.5

# The shell waits for the end of its stdin, which is the end of the test process however it came
# about, and only then pays for a Python that ends sshd's processes and removes the directory.
_WATCH = 'read -r line || exec "$0" -I -c "$@"'
_CLEAN_UP = """\
import shutil, sys, psutil
try:
    listener = psutil.Process(int(sys.argv[1]))
    listener.suspend()
    for process in [*listener.children(recursive=True), listener]:
        try:
            process.kill()
        except psutil.Error:
            pass
except psutil.Error:
    pass
for directory in sys.argv[2:]:
    shutil.rmtree(directory, ignore_errors=True)
"""


def start_watcher(listener: int, directories: Sequence[Path]) -> subprocess.Popen[bytes]:
    """Start what cleans up when this process dies without doing so; any line on its stdin ends it.

    PR_SET_PDEATHSIG would be simpler, but it is Linux only, does not reach the connections, and
    fires when the *thread* that started sshd ends, such as one of asyncio.to_thread's.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, sys.executable, _CLEAN_UP, str(listener), *directories],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C at the terminal is not for it
    )


def dismiss_watcher(watcher: subprocess.Popen[bytes]) -> None:
    """End a watcher without its cleaning up."""
    with contextlib.suppress(OSError):
        watcher.communicate(b"\n")


def sshd_processes(listener: psutil.Process) -> list[psutil.Process]:
    """Return the listener, then the processes of its connections, without their sessions' own.

    sshd makes each connection a session of its own (setsid), and in it each ssh session another:
    so what has the session id of the listener's child is the connection, whatever its name is.
    (A child that has yet to call setsid has the listener's.)
    """
    connections = [
        process
        for child in _children(listener)
        for process in [child, *_children(child, recursive=True)]
        if _session_id(process) in (child.pid, listener.pid) and _is_alive(process)
    ]
    return [listener, *connections]


def session_leftovers(host: str, port: int) -> list[psutil.Process]:
    """Return what still runs of the sessions of the server at `port`: detached, or orphaned.

    When sshd is killed, or its client is gone, its sessions' commands become process 1's. They
    are known by the SSH_CONNECTION that sshd gave them: "client port server port".
    """
    server = f" {host} {port}"
    everything = psutil.process_iter()
    return [process for process in everything if _ssh_connection(process).endswith(server)]


def suspend(processes: Sequence[psutil.Process]) -> None:
    """SIGSTOP each, and wait until all have stopped."""
    _signal(processes, psutil.Process.suspend)
    _wait_until(lambda: all(map(_is_halted, processes)))


def resume(processes: Sequence[psutil.Process]) -> None:
    """SIGCONT each."""
    _signal(processes, psutil.Process.resume)


def kill(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL each, and wait until all are gone."""
    _signal(processes, psutil.Process.kill)
    _wait_until(lambda: not any(map(_is_alive, processes)))


def end(processes: Sequence[psutil.Process]) -> None:
    """SIGTERM each, and SIGKILL what is still there after half a second: it may have locks."""
    _signal(processes, psutil.Process.terminate)
    _wait_until(lambda: not any(map(_is_alive, processes)), _GRACE)
    kill(processes)


def end_tree(listener: psutil.Process) -> None:
    """Kill the listener and its connections, and end what runs in their sessions."""
    suspend([listener])  # it starts nothing more while we look
    sshd = sshd_processes(listener)
    sessions = [process for process in _children(listener, recursive=True) if process not in sshd]
    kill(sshd)
    end(sessions)


def _signal(processes: Sequence[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            send(process)


def _wait_until(done: Callable[[], bool], timeout: float = _SIGNAL_TIMEOUT) -> None:
    # These are not our children: nothing announces what becomes of them.
    deadline = time.monotonic() + timeout
    while not done() and time.monotonic() < deadline:
        time.sleep(0.001)


def _children(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    try:
        return process.children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []


def _session_id(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def _ssh_connection(process: psutil.Process) -> str:
    try:
        return process.environ().get("SSH_CONNECTION", "")
    except (psutil.Error, OSError):
        return ""


def _is_halted(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _is_alive(process: psutil.Process) -> bool:
    try:
        # A container's process 1 may never reap orphans: a zombie is gone.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
