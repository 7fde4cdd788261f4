"""One name in the control directory: a socket, the record beside it, a lock if it is shared."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import ControlDirError
from .naming import (
    JUMP_LABEL,
    LOCK_SUFFIX,
    RECORD_SUFFIX,
    SOCKET_SUFFIX,
    half_made,
    is_holder_of,
)
from .record import Record

_LONGEST_RECORD = 64 * 1024  # bytes; ours have less than one thousand


@dataclass(frozen=True)
class Entry:
    """One name in the directory."""

    directory: Path
    name: str

    @cached_property
    def socket(self) -> Path:
        """The control socket."""
        return self.directory / (self.name + SOCKET_SUFFIX)

    @cached_property
    def record_path(self) -> Path:
        """The record beside it."""
        return self.directory / (self.name + RECORD_SUFFIX)

    @cached_property
    def lock(self) -> Path:
        """What the holders of a shared master have locked: see `holders`."""
        return self.directory / (self.name + LOCK_SUFFIX)

    @property
    def leads_on(self) -> bool:
        """Whether others may be reached through it: then it is ended after them."""
        return self.name.startswith(JUMP_LABEL)

    def read(self) -> Record | None:
        """The record, or None when there is none that can be read."""
        return self._record(self.record_path)

    def _record(self, path: Path) -> Record | None:
        text = read_private(path)
        record = Record.from_json(text) if text is not None else None
        return record if record is not None and record.name == self.name else None

    def write(self, record: Record) -> None:
        """Replaces the record atomically."""
        temporary = self.directory / half_made(self.name)
        try:
            create(temporary, record.to_json())
            temporary.replace(self.record_path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise ControlDirError(f"cannot write {self.record_path}: {error.strerror}") from error

    def claim(self) -> Record | None:
        """Takes the record out of everybody else's reach; None when somebody was faster.

        rename() has one winner. The winner writes the record anew, or removes the entry.
        """
        private = self.directory / half_made(self.name)
        try:
            self.record_path.rename(private)
        except OSError:
            return None
        try:
            return self._record(private)
        finally:
            with contextlib.suppress(OSError):
                private.unlink()

    def touch(self) -> None:
        """Marks the connection as used now: the record's mtime is when it was last given back."""
        with contextlib.suppress(OSError):
            os.utime(self.record_path)

    def remove(self) -> None:
        """Removes socket and record, and the lock last: as far as they are there."""
        for path in (self.socket, self.record_path):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            self.lock.unlink()
            for name in os.listdir(self.directory):
                if is_holder_of(name, self.name):
                    (self.directory / name).unlink()


def create(path: Path, text: str) -> None:
    """A new file, for our eyes only. Raises `FileExistsError`, or another `OSError`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode("utf-8"))
    finally:
        os.close(fd)


def read_private(path: Path) -> str | None:
    """What a file says that only this user can have written; None for any other.

    It is opened without following a link, and without waiting for the writer of a FIFO.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return None
        with open(fd, "rb", closefd=False) as file:
            data = file.read(_LONGEST_RECORD + 1)
        return data.decode("utf-8") if len(data) <= _LONGEST_RECORD else None
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        os.close(fd)
