"""The record beside a control socket: whose it is, where it leads, which process it is."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from functools import cache

from ...errors import ControlDirError
from ...system.identity import ProcessId

VERSION = 2  # of what stands in a record; 1 had no `version`, and knew of one owner only
_END_OF_TIME = 2**40  # seconds since the epoch; no infinity, no NaN
_MAX_BRACKETS = 100  # a record nests nothing; what does could exhaust the decoder's stack


@cache
def node() -> str:
    """The machine and pid namespace; pids in the records of another one mean nothing here."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}/{namespace}"


@dataclass(frozen=True)
class Record:
    """What is written beside a socket.

    Attributes:
        created_at: when the log-in began, in seconds since the epoch.
        owner_started, master_started: which process of that pid is meant; see `ProcessId`.
        login_factor: what the log-in took that cannot be had again for nothing: "user", "code"
            or "".
        shared: any program of this user may use it; who does is in its lock (`holders`), and the
            owner is only who logged in.
        via: the entry of the jump host's master that it goes through, if that is shared.
        max_sessions: how many sessions the server takes on it, once that was seen.
        version: of the record; programs of one version leave those of the others alone.
    """

    name: str
    cluster: str
    slot: str
    address: str
    digest: str
    node: str
    created_at: float
    persist: int
    owner_pid: int | None = None
    owner_started: str | None = None
    master_pid: int | None = None
    master_started: str | None = None
    login_factor: str = ""
    shared: bool = False
    via: str = ""
    max_sessions: int | None = None
    version: int = VERSION

    @property
    def owner(self) -> ProcessId | None:
        """The process that holds the lease; None once it let a persistent master go."""
        if self.owner_pid is None or self.owner_started is None:
            return None
        return ProcessId(self.owner_pid, self.owner_started)

    @property
    def master(self) -> ProcessId | None:
        """The master; None while it is being dialled."""
        if self.master_pid is None or self.master_started is None:
            return None
        return ProcessId(self.master_pid, self.master_started)

    @property
    def current(self) -> bool:
        """Whether a program of this version wrote it; else it is not ours to use."""
        return self.version == VERSION

    @property
    def here(self) -> bool:
        """Whether it was made on this machine, where its process ids mean something."""
        return self.node == node()

    @property
    def owned(self) -> bool:
        """Whether a living process holds it."""
        return self.owner is not None and self.owner.alive

    @property
    def alive(self) -> bool:
        """Whether its master runs."""
        return self.master is not None and self.master.alive

    def to_json(self) -> str:
        """One field a line: the guardian, a shell script, reads `master_pid` with sed."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record | None:
        """A record, or None for text that is none (of another version, say)."""
        if text.count("[") + text.count("{") > _MAX_BRACKETS:
            return None
        try:
            record = cls(**{"version": 1, **json.loads(text)})
        except (ValueError, TypeError):
            return None
        return record if record._sound else None

    @property
    def _sound(self) -> bool:
        """Whether the values are of the kinds that the properties above count on."""
        words = (
            self.name,
            self.cluster,
            self.slot,
            self.address,
            self.digest,
            self.node,
            self.login_factor,
            self.via,
        )
        starts = (self.owner_started, self.master_started)
        numbers = (self.persist, self.owner_pid, self.master_pid, self.max_sessions, self.version)
        return (
            all(isinstance(word, str) for word in words)
            and all(number is None or type(number) is int for number in numbers)
            and all(start is None or isinstance(start, str) for start in starts)
            and type(self.created_at) in (int, float)
            and 0 <= self.created_at < _END_OF_TIME
            and self.persist is not None
            and self.version in (1, VERSION)
            and isinstance(self.shared, bool)
            and (self.max_sessions is None or self.max_sessions > 0)
            and all(pid is None or 0 < pid < 2**31 for pid in (self.owner_pid, self.master_pid))
        )


@cache
def _identity(pid: int) -> ProcessId:
    found = ProcessId.of(pid)
    if found is None:
        raise ControlDirError("this process cannot be found: is /proc mounted?")
    return found


def own_identity() -> ProcessId:
    """The process that calls (a forked child is another one)."""
    return _identity(os.getpid())


def own_identity_text() -> str:
    """Which process this is, for a file that others of this user read: see `identity_in`."""
    me = own_identity()
    return json.dumps({"owner_pid": me.pid, "owner_started": me.started}, indent=1) + "\n"


def identity_in(text: str | None) -> ProcessId | None:
    """The process that such a file names; None when it says nothing."""
    try:
        said = json.loads(text or "")
        pid, started = said["owner_pid"], said["owner_started"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if type(pid) is not int or not 0 < pid < 2**31 or not isinstance(started, str):
        return None
    return ProcessId(pid, started)


def with_owner(record: Record, owner: ProcessId | None) -> Record:
    """The record with another owner, or none."""
    return replace(
        record,
        owner_pid=owner.pid if owner else None,
        owner_started=owner.started if owner else None,
    )
