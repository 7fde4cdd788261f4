"""What can be said of a job: its state, the reason for it, and when that was seen."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .handle import JobHandle


class JobState(enum.StrEnum):
    """Where a job is. The first two are not final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    LOST = "LOST"

    @property
    def final(self) -> bool:
        """Whether it is an end."""
        return self not in (JobState.PENDING, JobState.RUNNING)


class Reason(enum.StrEnum):
    """Reasons that mean the same on every scheduler. A status may have a scheduler's own word."""

    NONE = ""
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    DEPENDENCY = "DEPENDENCY"  # it waits for another job
    DEPENDENCY_NEVER = "DEPENDENCY_NEVER"  # and that one has ended otherwise
    HELD = "HELD"
    LIMIT = "LIMIT"  # of the site, or of ClusterOptions: it waits for a place
    REQUEUED = "REQUEUED"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"  # the payload has ended, the scheduler has not said how
    BEGIN_TIME = "BEGIN_TIME"
    UNAVAILABLE = "UNAVAILABLE"  # what it asks for is not there now, and may never be
    DEADLINE = "DEADLINE"
    REFUSED = "REFUSED"  # the scheduler did not take it
    UNCERTAIN = "UNCERTAIN"  # it is not known yet whether the scheduler took it
    SUBMITTING = "SUBMITTING"
    NOT_FOUND = "NOT_FOUND"  # nothing is left of it: neither a record nor its directory
    REBOOTED = "REBOOTED"  # its host has started anew
    ERROR = "ERROR"  # the scheduler put it aside with an error (Grid Engine's Eqw)


@dataclass(frozen=True)
class JobStatus:
    """What was last seen of a job.

    Attributes:
        handle: of the job.
        state: where it is.
        reason: why, one of `Reason`, or the scheduler's own word; "" for none.
        exit_code: of the payload; None if it is not known, or there is none.
        signal: the number of the signal that ended it, where that is known. A shell tells a
            signal N as the exit code 128+N, and a program may choose that code itself.
        submitted, started, ended: seconds since 1970, by the remote's clock; None if not known.
        nodes: where it ran or runs, as the scheduler names it.
        native_id: the scheduler's id, or the process id; None before it has one.
        restarts: how often the scheduler has started it again.
        stderr_tail: the end of its stderr, once it has failed.
        as_of: when this was seen, by this machine's clock.
        message: what the scheduler or the system said, in words.
        tasks: of an array, by index.
        name: as the program called it.
    """

    handle: JobHandle
    state: JobState
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None
    nodes: str = ""
    native_id: str | None = None
    restarts: int = 0
    stderr_tail: str = ""
    as_of: float = 0.0
    message: str = ""
    tasks: Mapping[int, JobStatus] = field(default_factory=dict)
    name: str = ""

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self.state.final

    @property
    def ok(self) -> bool:
        """Whether it has ended well."""
        return self.state is JobState.COMPLETED

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["handle"] = str(self.handle)
        plain["state"] = self.state.value
        plain["reason"] = str(self.reason)
        plain["tasks"] = {str(index): task.as_dict() for index, task in self.tasks.items()}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> JobStatus:
        """What `as_dict` made; what it does not know is left out."""
        known = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
        known["handle"] = JobHandle.parse(known["handle"])
        known["state"] = JobState(known["state"])
        tasks = known.get("tasks") or {}
        known["tasks"] = {int(index): cls.from_dict(task) for index, task in tasks.items()}
        return cls(**known)
