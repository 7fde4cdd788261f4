"""What the live tests share: looking at processes from outside."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from sshmux import ConnectionManager, Event
from sshmux.openssh.control.naming import is_code
from sshmux.testing import PrivateServer

PATIENCE = 20.0  # seconds until something that has to happen is taken for a failure


def _living(words: Sequence[str]) -> Iterator[psutil.Process]:
    """Living processes with all these in their command lines, this one left out.

    Not by psutil where there is a /proc: it reads five files of each process, and many tests look.
    """
    if not Path("/proc/self/cmdline").exists():
        for process in psutil.process_iter(["cmdline", "status"]):
            line = process.info["cmdline"] or []
            dead = process.info["status"] == psutil.STATUS_ZOMBIE
            if dead or process.pid == os.getpid():
                continue
            if all(any(word in part for part in line) for word in words):
                yield process
        return
    wanted = [os.fsencode(word) for word in words]
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError, psutil.NoSuchProcess):  # it may be ending at this moment
            with open(f"/proc/{name}/cmdline", "rb") as file:
                raw = file.read()  # empty: it has ended, and its parent does not know yet
            if raw and all(word in raw for word in wanted):
                process = psutil.Process(int(name))
                line = [os.fsdecode(part) for part in raw.removesuffix(b"\0").split(b"\0")]
                process.info = {"cmdline": line}  # as process_iter does
                yield process


def processes(word: str) -> list[psutil.Process]:
    """Living processes with `word` in their command line, this one left out."""
    return list(_living([word]))


def helpers() -> list[psutil.Process]:
    """The askpasses of this program that are at work."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may be ending at this moment
            line = process.cmdline()
            dead = process.status() == psutil.STATUS_ZOMBIE
            if not dead and any("sshmux.openssh.askpass import helper" in word for word in line):
                found.append(process)
    return found


def masters(directory: Path) -> list[psutil.Process]:
    """The masters whose sockets are in a control directory, one for each socket.

    (For a moment a new one is two processes: the one launched, and the one in the background.)
    """
    found = {}
    for process in processes(str(directory)):
        line = process.info["cmdline"]
        if "-M" in line:
            found[line[line.index("-S") + 1]] = process
    return list(found.values())


def together(directory: Path) -> list[psutil.Process]:
    """Masters that were there at one and the same time: a look at all processes takes a while."""
    return [each for each in masters(directory) if each.is_running() and not _dead(each)]


def _dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def no_terminals() -> str | None:
    """Why a private sshd can give no terminals here; None if it can."""
    if os.geteuid() == 0:
        return None
    ends = os.openpty()
    try:
        # sshd ends the connection when it may not give the terminal to that group.
        given = os.fstat(ends[1]).st_gid == grp.getgrnam("tty").gr_gid
    except KeyError:
        return None
    finally:
        for end in ends:
            os.close(end)
    return None if given else "/dev/pts is mounted without gid=tty: terminals need root's sshd"


needs_terminals = pytest.mark.skipif(no_terminals() is not None, reason=str(no_terminals()))

_numbers = itertools.count(1)


def nap() -> str:
    """How long a `sleep` of this test sleeps: hours, and for nobody else as long."""
    return f"{os.getpid()}.{next(_numbers)}"


def sleepers(seconds: str) -> list[psutil.Process]:
    """Living `sleep SECONDS` processes: commands on the remote, which is here."""
    found = _living(["sleep", seconds])
    return [process for process in found if process.info["cmdline"] == ["sleep", seconds]]


def zeros(path: Path, size: int) -> None:
    """A file of zeros that has no holes."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            while file.tell() < size:
                file.write(bytes(min(1_000_000, size - file.tell())))


async def until(true: Callable[[], object], patience: float = PATIENCE) -> None:
    """Waits for what another process does, where there is no event to wait for."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


def keep(directory: Path, when: str) -> None:
    """With SSHMUX_DEBUG, copies a control directory's records, and what runs for it, there."""
    debug = os.environ.get("SSHMUX_DEBUG")
    if not debug or not directory.exists():
        return
    target = Path(debug) / f"control-{directory.name}"
    target.mkdir(parents=True, exist_ok=True)
    for record in directory.glob("*.json"):
        shutil.copy(record, target)
    names = sorted(os.listdir(directory))
    lines = [" ".join(process.info["cmdline"]) for process in processes(str(directory))]
    with (target / "contents").open("a", encoding="utf-8") as file:
        file.write("\n".join([f"{when}:", *names, "processes:", *lines, "", ""]))


@contextmanager
def control_directory() -> Iterator[Path]:
    """A short path, private, that has to be empty in the end, with nothing running for it."""
    directory = Path(tempfile.mkdtemp(prefix="sx"))
    try:
        yield directory
        keep(directory, "after the test")
        # Clients of a master that has just ended are on their way out themselves.
        deadline = time.monotonic() + 3
        while processes(str(directory)) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = [(each.pid, each.info) for each in processes(str(directory))]
        assert left == [], left
        # A one-time code that was used stays marked for as long as it could be used again.
        assert [name for name in sorted(os.listdir(directory)) if not is_code(name)] == []
    finally:
        for process in processes(str(directory)):
            process.kill()
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """No task and no descriptor more than before."""
    tasks, (null, descriptors) = asyncio.all_tasks(), _descriptors()
    yield
    await asyncio.sleep(0)
    # A fixture is ended by another task than the one that began it.
    assert asyncio.all_tasks() - tasks - {asyncio.current_task()} == set()
    # psutil and getaddrinfo may keep one open for good; and there is one null device for all
    # sessions of the mux engine, one for all processes of uvloop.
    now_null, now = _descriptors()
    assert now <= descriptors + 1
    assert now_null <= null + 2


def _descriptors() -> tuple[int, int]:
    """How many of the null device are open, and how many others."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found.count(os.devnull), len(found) - found.count(os.devnull)


@asynccontextmanager
async def managed(
    server: PrivateServer, *, register: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[ConnectionManager]:
    """A started manager with one cluster, 1, in a directory that is checked afterwards."""
    with control_directory() as directory:
        async with nothing_left(), ConnectionManager(control_dir=directory, **options) as manager:
            server.register(manager, 1, **(register or {}))
            try:
                yield manager
            finally:
                keep(directory, "before the manager is stopped")


class Watch:
    """The events of a manager, to be waited for."""

    def __init__(self, manager: ConnectionManager) -> None:
        self.events: list[Event] = []
        self._waiters: list[tuple[Callable[[Event], bool], asyncio.Future[Event]]] = []
        self._end = manager.subscribe(self._see)

    def _see(self, event: Event) -> None:
        self.events.append(event)
        for wanted, waiter in self._waiters:
            if not waiter.done() and wanted(event):
                waiter.set_result(event)

    def next(self, wanted: Callable[[Event], bool]) -> Awaitable[Event]:
        """The next event that is wanted, of those from now on."""
        waiter: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiters.append((wanted, waiter))
        return asyncio.ensure_future(asyncio.wait_for(waiter, PATIENCE))

    def close(self) -> None:
        self._end()
