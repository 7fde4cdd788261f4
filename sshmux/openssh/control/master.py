"""Master: one ControlMaster process, held by a lease."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal, Self

from ...config import ConnectionConfig
from ...errors import ConnectionLost, Error
from ...system.clock import now
from ...system.identity import ProcessId, Usage
from ...system.processes import capture
from ...text import logger
from .. import argv
from ..mux.conversation import Conversation
from .entry import Entry
from .evidence import is_master
from .lease import Lease
from .record import Record, own_identity, with_owner

log = logger("sshmux.master")

Ask = Callable[[Literal["stop", "exit"], float], Awaitable[bool]]

LINUX = sys.platform.startswith("linux")
_ASK_DEADLINE = 3.0  # seconds to agree to stop or to exit: only the local master is asked
_REMINDER = 0.3  # seconds between the first SIGTERM and the second
_EXIT_DEADLINE = 2.0  # seconds between one step of ending a master and the next


class Master:
    """A living ControlMaster. `dial()` and `adopt()` make it; `stop()` and `leave()` end it.

    Its death is an event: `on_lost` callbacks run within a millisecond of it.
    """

    def __init__(self, config: ConnectionConfig, entry: Entry, record: Record) -> None:
        self.config = config
        self.entry = entry
        self.record = record
        self.created_at = now()
        self._lease: Lease | None = None
        self._spare: Conversation | None = None
        self._path = os.fspath(entry.socket)
        self._inode: tuple[int, int] | None = None  # of its socket
        self._on_lost: list[Callable[[], object]] = []
        self._stopping: asyncio.Task[None] | None = None

    @classmethod
    async def hold(
        cls, config: ConnectionConfig, entry: Entry, record: Record, timeout: float
    ) -> Self:
        """Takes the lease on the master behind `entry`, and writes down that it is ours.

        Raises `OSError` when nothing listens, `TimeoutError` when it does not answer.
        """
        master = cls(config, entry, record)
        # The event loop holds the lease; the lease must not hold the master, or a forgotten
        # one would never be collected, and never leave.
        ref: weakref.ref[Master] = weakref.ref(master)
        lease, pid = await Lease.take(entry.socket, lambda: _lost(ref), timeout)
        master._lease = lease
        master._inode = _inode(master._path)
        try:
            process = ProcessId.of(pid)
            if process is None or not lease.held:
                raise ConnectionLost(f"the master of {config.address} ended as it started")
            master.check_identity(process)
            master.write_down(process)
        except BaseException:
            lease.close()
            raise
        return master

    def write_down(self, process: ProcessId) -> None:
        """Notes which process it is, and that it is ours."""
        record = replace(self.record, master_pid=process.pid, master_started=process.started)
        self.record = with_owner(record, own_identity())
        self.entry.write(self.record)

    def check_identity(self, process: ProcessId) -> None:
        """Raises `ConnectionLost` unless the process behind the socket is the master.

        It is about to be written down, and later it is sent signals.
        """
        known = self.record.master
        if known not in (None, process) or not is_master(
            process, self.entry.socket, self.config.ssh_program
        ):
            raise ConnectionLost(
                f"what listens at {self.entry.socket} is not the master of {self.config.address}: "
                f"it says that it is process {process.pid}"
            )

    def __repr__(self) -> str:
        state = "alive" if self.alive else "gone"
        return f"<Master {self.entry.name} {self.config.address} pid={self.pid} {state}>"

    def __del__(self) -> None:
        if getattr(self, "_lease", None) is not None:
            self.abandon()

    @property
    def pid(self) -> int | None:
        """The master's process id."""
        return self.record.master_pid

    @property
    def alive(self) -> bool:
        """Whether the lease stands: false from the moment the process dies."""
        return self._lease is not None and self._lease.held

    @property
    def interactive_login(self) -> bool:
        """Whether a user had to log in: then neither age nor idleness should end it."""
        return self.record.login_factor == "user"

    @property
    def others(self) -> list[ProcessId]:
        """The other programs that use it at this moment: see `shared`."""
        return []

    @property
    def outlives_us(self) -> bool:
        """Whether it stays when we leave, whatever this program's own `persist` is."""
        return False

    def note_limit(self, sessions: int) -> None:
        """The server was seen to take so many sessions on it."""

    @property
    def standing(self) -> bool:
        """As `alive`, but sure of this very moment: for when a result hangs on it.

        A process that exits closes its descriptors in no order that we know: the lease may stand
        yet while the outputs have ended already. So the process is looked at, too.
        """
        process = self.record.master
        if LINUX:
            return self.alive and process is not None and not process.exiting
        return self._lease is not None and self._lease.standing

    async def stands(self, timeout: float) -> bool:
        """As `standing`; where the process cannot be looked at, the master is asked itself."""
        return self.standing and (LINUX or await self.ping(timeout))

    @property
    def usable(self) -> bool:
        """Alive, and its socket is still at its place, and is its own. Takes microseconds."""
        return self.alive and self._stopping is None and _inode(self._path) == self._inode

    def usage(self) -> Usage | None:
        """What the master costs this machine; None when it is gone."""
        return self.record.master.usage() if self.record.master else None

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Calls back when the master dies without having been asked to."""
        self._on_lost.append(callback)

    async def ping(self, timeout: float) -> bool:
        """Whether the master itself answers (it says nothing of the network)."""
        if self._lease is None:
            return False
        try:
            await self._lease.ping(timeout)
        except (ConnectionLost, TimeoutError):
            return False
        return True

    async def check(self, timeout: float) -> None:
        """`ssh -O check`, with a deadline. Raises `ConnectionLost` unless the master answers."""
        command = argv.control(self.config.ssh_program, self.entry.socket, "check")
        try:
            result = await capture(command, timeout=timeout)
        except TimeoutError:
            raise ConnectionLost(
                f"the master of {self.config.address} (pid {self.pid}) does not answer "
                f"within {timeout:g} s"
            ) from None
        if result.status != 0:
            raise ConnectionLost(
                f"the master of {self.config.address} is gone: {result.stderr.strip()}"
            )

    def kill(self) -> None:
        """Ends a master that hangs, with all that goes through it."""
        if self.record.master is not None:
            self.record.master.signal(signal.SIGKILL)

    def touch(self) -> None:
        """Notes in the directory that the connection was used just now."""
        self.entry.touch()

    def leave(self) -> None:
        """Lets go of a master that is to live on (`persist`): whoever comes next may adopt it."""
        with contextlib.suppress(Exception):
            self.entry.write(with_owner(self.record, None))
        self._drop_lease()

    def abandon(self, *, end: bool = False) -> None:
        """Drops the lease, with or without a loop: the master leaves after its grace.

        With `end` it is sent a SIGTERM at once, which also ends whatever runs on it.
        """
        with contextlib.suppress(RuntimeError):  # the loop is closed: the socket goes with it
            self._drop_lease()
        self._lease = None
        if end and self.record.master is not None:
            self.record.master.signal(signal.SIGTERM)
            self.entry.remove()

    async def stop(self, drain: float = 0, ask: Ask | None = None, *, broken: bool = False) -> None:
        """Ends the master, and removes its socket and record. Never raises; may be called twice.

        With `drain`, it is first asked to stop listening: it takes no new session, and leaves when
        the running ones have ended or after `drain` seconds. Without, it is asked to exit. Then
        SIGTERM, SIGKILL. Cancelling the caller does not stop the ending.

        Parameters:
            ask: how it is asked; None for `ssh -O`.
            broken: it is ended for that; what goes through it is no reason to let it live.
        """
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._end(drain, ask or self.ask))
        await asyncio.shield(self._stopping)

    async def gone(self, timeout: float) -> bool:
        """Waits until its process is gone, whoever ends it; whether it is."""
        process = self.record.master
        return process is None or await process.wait_gone(timeout)

    async def _end(self, drain: float, ask: Ask) -> None:
        self._on_lost.clear()
        ended = False
        try:
            ended = await self._end_process(drain, ask)
        finally:
            self._drop_lease()
            if ended:  # else the next sweep finds it by its record
                self.entry.remove()

    async def _end_process(self, drain: float, ask: Ask) -> bool:
        process = self.record.master
        if process is None:
            return True
        operation: Literal["stop", "exit"] = "stop" if drain > 0 else "exit"
        if self.alive and await self._asked(ask, operation):
            self._drop_lease()  # an open lease would count as a session
            if await process.wait_gone(drain or _EXIT_DEADLINE):
                return True
        self._drop_lease()
        return await end_process(process)

    async def _asked(self, ask: Ask, operation: Literal["stop", "exit"]) -> bool:
        """Whether it agreed; asked over the lease, which is there, when nothing more is to be had.

        (No descriptor, no process: an ending must not need any.)
        """
        try:
            return await ask(operation, _ASK_DEADLINE)
        except (Error, OSError):
            return self._lease is not None and await self._lease.ask(operation, _ASK_DEADLINE)

    async def ask(self, operation: Literal["stop", "exit"], timeout: float) -> bool:
        """`ssh -O stop` or `-O exit`, with a deadline. Whether it agreed."""
        command = argv.control(self.config.ssh_program, self.entry.socket, operation)
        try:
            return (await capture(command, timeout=timeout)).status == 0
        except TimeoutError:
            log.warning("%s: `ssh -O %s` got no answer", self.entry.name, operation)
            return False

    def keep_spare(self) -> None:
        """Keeps a conversation ready beside the lease, for when no other can be made any more.

        The socket may be removed, or its directory, while commands run that are to be ended.
        """
        if self._spare is None and self.alive:
            with contextlib.suppress(OSError):
                self._spare = Conversation(self.entry.socket, _nothing, _nothing)

    def take_spare(self) -> Conversation | None:
        """That conversation, once."""
        spare, self._spare = self._spare, None
        return spare

    def _drop_lease(self) -> None:
        spare = self.take_spare()
        if spare is not None:
            spare.close()
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def _died(self) -> None:
        log.debug("%s: the master ended", self.entry.name)
        self._drop_lease()
        callbacks, self._on_lost = self._on_lost, []
        for callback in callbacks:
            callback()


async def end_process(process: ProcessId) -> bool:
    """SIGTERM, then SIGKILL; whether it is gone.

    A stopped process is continued, or it would not see the SIGTERM.

    ssh (9.2: one in eighty, measured) misses a SIGTERM that comes just before it waits for its
    descriptors, and the next one reminds it.
    """
    for number, patience in (
        (signal.SIGTERM, _REMINDER),
        (signal.SIGTERM, _EXIT_DEADLINE),
        (signal.SIGKILL, _EXIT_DEADLINE),
    ):
        process.signal(number)
        process.signal(signal.SIGCONT)
        if await process.wait_gone(patience):
            return True
    log.error("pid %d did not end after SIGKILL", process.pid)
    return False


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _nothing(_: object) -> None:
    """Nobody listens yet."""


def _lost(ref: weakref.ref[Master]) -> None:
    master = ref()
    if master is not None:
        master._died()
