"""What is in the control directory, as seen from outside: no ssh is started, no lease taken."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psutil

from ..openssh.control.directory import ControlDir
from ..openssh.control.entry import Entry
from ..openssh.control.holders import holders, is_held
from ..openssh.control.record import Record
from ..system.clock import now
from ..system.identity import ProcessId


@dataclass(frozen=True)
class Item:
    """One name in the directory."""

    entry: Entry
    record: Record | None

    @property
    def name(self) -> str:
        """The name that socket and record share."""
        return self.entry.name

    @cached_property
    def owned(self) -> bool:
        """Whether a living process holds it."""
        if self.record is not None and self.record.shared:
            return self.record.here and is_held(self.entry)
        return self.record is not None and self.record.owned

    @cached_property
    def holders(self) -> list[ProcessId]:
        """The living processes that hold it: several may, if it is shared."""
        if self.record is None or not self.owned:
            return []
        if self.record.shared:
            return [holder.process for holder in holders(self.entry)]
        return [self.record.owner] if self.record.owner is not None else []

    @cached_property
    def alive(self) -> bool:
        """Whether its master runs."""
        return self.record is not None and self.record.alive

    @cached_property
    def sessions(self) -> int | None:
        """Sessions that run over it now; None where that cannot be known from outside (macOS).

        Each is a connection that the master accepted on its control socket (bound as
        PATH.XXXXXXXXXXXXXXXX). One socket listens; two more are of each holder: the lease, and the
        conversation that is kept ready beside it (`Master.keep_spare`).
        """
        if not self.alive or self.record is None or self.record.master_pid is None:
            return None
        try:
            sockets = _unix_sockets(psutil.Process(self.record.master_pid))
        except (psutil.Error, NotImplementedError):
            return None
        ours = f"{self.entry.socket}."
        count = sum(address.startswith(ours) for address in sockets)
        return max(0, count - 1 - 2 * len(self.holders)) if count else None

    @cached_property
    def state(self) -> str:
        """One word; see `sshmux ls --help`."""
        if self.record is None:
            return "unknown"
        if not self.record.here:
            return "elsewhere"
        if self.record.master is None:
            return "dialling" if self.owned else "stale"
        if not self.alive:
            return "stale"
        if self.sessions:
            return "in use"
        if self.owned:
            return "idle"
        return "persistent" if self.record.persist > 0 else "orphan"

    @cached_property
    def memory(self) -> int | None:
        """Resident bytes of the master and its children."""
        usage = self.record.master.usage() if self.record and self.record.master else None
        return usage.memory_bytes if usage else None

    @property
    def age(self) -> float | None:
        """Seconds since its log-in began."""
        return now() - self.record.created_at if self.record else None

    @property
    def idle(self) -> float | None:
        """Seconds since it was last given back: the record's mtime says when."""
        if self.record is None or self.sessions:
            return None
        try:
            return max(0.0, now() - os.stat(self.entry.record_path).st_mtime)
        except OSError:
            return None

    @property
    def owner(self) -> str:
        """The pids and programs of those who hold it; of its owner, if that is gone."""
        if self.holders:
            return ", ".join(described(process) for process in self.holders)
        if self.record is None or self.record.shared or self.record.owner_pid is None:
            return ""
        return f"{self.record.owner_pid} (gone)" if self.record.here else ""

    @property
    def _owner_pid(self) -> int | None:
        if self.record is not None and self.record.shared:
            return self.holders[0].pid if self.holders else None
        return self.record.owner_pid if self.record else None

    def to_json(self) -> dict[str, Any]:
        """All fields; times in seconds, memory in bytes, unknown ones null."""
        record = self.record
        return {
            "name": self.name,
            "cluster": record.cluster if record else None,
            "slot": record.slot if record else None,
            "target": record.address if record else None,
            "state": self.state,
            "master_pid": record.master_pid if record else None,
            "age_seconds": self.age,
            "idle_seconds": self.idle,
            "sessions": self.sessions,
            "memory_bytes": self.memory,
            "owner_pid": self._owner_pid,
            "owner_alive": self.owned,
            "shared": record.shared if record else None,
            "holders": [
                {"pid": process.pid, "program": program(process)} for process in self.holders
            ],
            "persist_seconds": record.persist if record else None,
            "socket": str(self.entry.socket),
            "node": record.node if record else None,
        }

    def answers_to(self, pattern: str) -> bool:
        """Whether a name on the command line means it: its own, its cluster's or its target's.

        What is just so a name is that name: `[::1]` is an address, and no pattern.
        """
        names = [self.name]
        if self.record is not None:
            names += [self.record.cluster, *_spellings(self.record.address)]
        return any(
            name and (name == pattern or fnmatch.fnmatchcase(name, pattern)) for name in names
        )


def program(process: ProcessId) -> str | None:
    """The name of a process's program; None when it is gone."""
    try:
        return psutil.Process(process.pid).name()
    except psutil.Error:
        return None


def described(process: ProcessId) -> str:
    """A process, for users."""
    return f"{process.pid} {program(process) or ''}".rstrip()


def _spellings(address: str) -> list[str]:
    """An address, [user@]host[:port], in all the ways that mean it."""
    user, at, place = address.rpartition("@")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        host = place
    bare = host.removeprefix("[").removesuffix("]")
    return [address, place, host, bare, f"{user}{at}{host}", f"{user}{at}{bare}"]


def read(directory: ControlDir) -> list[Item]:
    """Everything in the directory, sorted by name."""
    return [Item(entry, entry.read()) for entry in directory.entries()]


def select(items: Iterable[Item], patterns: Iterable[str]) -> tuple[list[Item], list[str]]:
    """The items that the patterns mean, and the patterns that mean none."""
    patterns, items = list(patterns), list(items)
    unmatched = [word for word in patterns if not any(item.answers_to(word) for item in items)]
    return [item for item in items if any(map(item.answers_to, patterns))], unmatched


def _unix_sockets(process: psutil.Process) -> list[str]:
    connections = getattr(process, "net_connections", None) or process.connections
    return [str(connection.laddr) for connection in connections(kind="unix")]
