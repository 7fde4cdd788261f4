"""Who holds a shared master: every program that uses it, and the kernel's word for who is the last.

Beside the socket and the record of a shared master lie

    hpc.1.k3f7a2.lock             each holder has a shared lock (flock) on it
    hpc.1.k3f7a2.p2m4qz.holder    one for each holder: which process it is, for `sshmux ls`

"Is anybody else there?" is asked of the lock alone: the kernel drops a lock with the process that
had it, however that ends, so it is never out of date. The holder files are for users to read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...system.forking import forget_in_child
from ...system.identity import ProcessId
from .entry import Entry, create, read_private
from .naming import holder_name, is_holder_of
from .record import identity_in, own_identity_text

_LOOKS = 0.001, 0.002, 0.004  # seconds for one who only looks (`is_locked`) to be done

Held = Literal["shared", "alone", "not"]


class Hold:
    """One holder's part of a shared master. `create` and `join` make it, `close` ends it."""

    def __init__(self, entry: Entry, descriptor: int) -> None:
        self.entry = entry
        self._descriptor = descriptor
        self._held: Held = "shared"
        self._file = entry.directory / holder_name(entry.name)
        forget_in_child(self)
        with contextlib.suppress(OSError):  # a full disk: `sshmux ls` will not name us
            create(self._file, own_identity_text())

    def __repr__(self) -> str:
        return f"<Hold {self.entry.name} {self._held}>"

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()

    @classmethod
    def create(cls, entry: Entry) -> Hold:
        """The first one. Raises `OSError` (a file system without locks, a full disk, …)."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(entry.lock, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return cls(entry, descriptor)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                entry.lock.unlink()
            raise

    @classmethod
    def join(cls, entry: Entry) -> Hold | None:
        """One more. None when the master is being ended, or is gone.

        Raises `BlockingIOError` while somebody has it alone, for a moment or to end it.
        """
        descriptor = open_lock(entry.lock)
        if descriptor < 0:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if leads_to(descriptor, entry.lock):
                return cls(entry, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who ended it has removed the file since
        return None

    def alone(self) -> bool:
        """Whether nobody else holds it; then nobody can join any more, until `close`.

        When somebody does, this hold is over.
        """
        if self._held == "shared":
            # Not atomic (man 2 flock): the shared lock goes first. So of two who ask at the same
            # time one may have it, or none may; never both, and never neither for good: whoever
            # asks last finds nobody.
            for pause in _LOOKS:
                if lock_alone(self._descriptor):
                    self._held = "alone"
                    return True
                if self.others():
                    break
                time.sleep(pause)
            self.close()
        return self._held == "alone"

    def others(self) -> list[ProcessId]:
        """The living processes that hold it besides, as far as they have said so."""
        return [holder.process for holder in holders(self.entry) if holder.file != self._file]

    def close(self) -> None:
        """Lets go. May be called twice."""
        self._held = "not"
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._file.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def forget(self) -> None:
        """In a forked child: a lock lasts as long as any copy of its descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class NobodysHold:
    """A shared master that nobody holds, kept from being joined while something is done to it.

    `take` makes it; None when somebody holds the master.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, entry: Entry) -> NobodysHold | None:
        """Alone with it, or None."""
        descriptor = open_lock(entry.lock)
        if descriptor < 0:
            return None
        if lock_alone(descriptor) and leads_to(descriptor, entry.lock):
            return cls(descriptor)
        os.close(descriptor)
        return None

    def close(self) -> None:
        """Others may join again, if the master is still there."""
        os.close(self._descriptor)


def is_held(entry: Entry) -> bool:
    """Whether a living process holds a shared master. The kernel says so."""
    return is_locked(entry.lock)


def is_locked(path: Path) -> bool:
    """Whether a living process has a lock on a file."""
    descriptor = open_lock(path)
    if descriptor < 0:
        return False
    try:
        return not lock_alone(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Holder:
    """What a holder has said of itself."""

    file: Path
    process: ProcessId


def holders(entry: Entry) -> list[Holder]:
    """The holders of a shared master whose processes live, the lowest pid first."""
    found = [Holder(path, process) for path, process in _holder_files(entry) if process.alive]
    return sorted(found, key=lambda holder: holder.process.pid)


def remove_dead_holders(entry: Entry) -> None:
    """Removes the files of holders whose processes are gone."""
    for path, process in _holder_files(entry):
        if not process.alive:
            with contextlib.suppress(OSError):
                path.unlink()


def _holder_files(entry: Entry) -> Iterator[tuple[Path, ProcessId]]:
    try:
        names = os.listdir(entry.directory)
    except OSError:
        return
    for name in names:
        if not is_holder_of(name, entry.name):
            continue
        path = entry.directory / name
        process = identity_in(read_private(path))
        if process is not None:
            yield path, process


def open_lock(path: Path, flags: int = 0) -> int:
    """A descriptor of a lock file; -1 when there is none of ours."""
    flags |= os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return -1
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    return -1


def lock_alone(descriptor: int) -> bool:
    """Tries for the exclusive lock, without waiting."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def leads_to(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to the file of a descriptor."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False
