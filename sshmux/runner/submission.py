"""The submission machine: what to do next for a job, from what is there. Pure.

PLANNED     it is written down here, and nowhere else
STAGED      its directory is in place on the remote; its submit command was not begun
SUBMITTING  the submit command was begun, and has not ended
SUBMITTED   it has an id
REFUSED     the scheduler did not take it, and will not
WAITING     for a place (a limit), or for another job
UNCERTAIN   the submit command's end does not tell whether the job was taken

The remote directory is the truth: it is there whole or not at all, its submit lock is taken once,
and the owner lock inside the job makes a second acceptance do nothing. So whatever ends this
program, another one looks and goes on.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from .dialects.base import Accepted, Dialect, QueueRow, Refused, Uncertain, Waiting
from .journal import JobFiles
from .launching import SUBMIT_TIMEOUT
from .states import JobState, Reason


class Phase(enum.StrEnum):
    """How far a submission is."""

    PLANNED = "PLANNED"
    STAGED = "STAGED"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    REFUSED = "REFUSED"
    WAITING = "WAITING"
    UNCERTAIN = "UNCERTAIN"

    @property
    def open(self) -> bool:
        """Whether something is to be done for it."""
        return self not in (Phase.SUBMITTED, Phase.REFUSED)


@dataclass(frozen=True)
class Submitted:
    """It has an id: the submission is over."""

    native_id: str


@dataclass(frozen=True)
class Declined:
    """The scheduler has refused it: the submission is over."""

    reason: str


@dataclass(frozen=True)
class Cancelled:
    """It was cancelled before the scheduler had it: the submission is over."""

    at: float


@dataclass(frozen=True)
class Stage:
    """Put it into place, and submit it."""


@dataclass(frozen=True)
class Launch:
    """It is in place: run its submit command."""


@dataclass(frozen=True)
class Look:
    """Look again at this time. `phase` and `reason` say what is waited for."""

    phase: Phase
    reason: str
    at: float


@dataclass(frozen=True)
class Retry:
    """Put the submit lock aside, and run the submit command again at this time."""

    lock: str
    reason: str
    at: float


Step = Submitted | Declined | Cancelled | Stage | Launch | Look | Retry

POLL = 2.0  # seconds between two looks at a submission under way
_BACKOFF = (5.0, 15.0, 30.0, 60.0)


def next_step(
    files: JobFiles | None,
    rows: Sequence[QueueRow] | None,
    dialect: Dialect,
    *,
    now: float,
    tries: int = 0,
    asked_twice: bool = False,
) -> Step:
    """What to do next for a job.

    Parameters:
        files: what its directory says; None if there is none.
        rows: of the queue and the accounting, those with the job's name; None if the scheduler
            did not answer.
        now: this machine's clock.
        tries: how often it has waited already.
        asked_twice: whether the scheduler has answered at least twice without it.
    """
    if files is None or not files.present:
        return Stage()
    if files.owner is not None:
        return Submitted(files.owner)
    step = _launched(files, rows, dialect, now, tries, asked_twice)
    asked = files.cancelled(None)
    if asked is not None and isinstance(step, Launch | Retry):
        return Cancelled(asked)  # the launcher would begin nothing
    return step


def _launched(
    files: JobFiles,
    rows: Sequence[QueueRow] | None,
    dialect: Dialect,
    now: float,
    tries: int,
    asked_twice: bool,
) -> Step:
    if files.lock is None:
        return Launch()
    if files.submit_status is None:
        return _unfinished(files, rows, dialect, now, asked_twice)
    out, err = "\n".join(files.submit_out), "\n".join(files.submit_err)
    answer = dialect.submitted(files.submit_status, out, err)
    match answer:
        case Accepted(native_id):
            return Submitted(native_id)
        case Refused(reason):
            return Declined(reason)
        case Waiting(reason):
            return Retry(files.lock, reason, now + _BACKOFF[min(tries, len(_BACKOFF) - 1)])
        case Uncertain(why):
            ended = files.submit_time
            if ended is None and files.lock_time is not None:
                ended = files.lock_time + SUBMIT_TIMEOUT
            return _uncertain(files, rows, dialect, now, ended, why, asked_twice)


def _unfinished(
    files: JobFiles,
    rows: Sequence[QueueRow] | None,
    dialect: Dialect,
    now: float,
    asked_twice: bool,
) -> Step:
    """Its submit command was begun, and there is no end of it (yet)."""
    begun = files.lock_time
    if begun is None or files.remote_now is None or files.remote_now - begun < SUBMIT_TIMEOUT:
        if found := _found(rows):
            return found
        return Look(Phase.SUBMITTING, Reason.SUBMITTING, now + POLL)
    why = "the submit command was ended before it could tell"
    return _uncertain(files, rows, dialect, now, begun + SUBMIT_TIMEOUT, why, asked_twice)


def _uncertain(
    files: JobFiles,
    rows: Sequence[QueueRow] | None,
    dialect: Dialect,
    now: float,
    ended: float | None,
    why: str,
    asked_twice: bool,
) -> Step:
    if found := _found(rows):
        return found
    here = files.remote_now
    late = ended is not None and here is not None and here - ended > dialect.acceptance_delay
    if late and rows is not None and asked_twice and files.lock is not None:
        return Retry(files.lock, why, now)
    return Look(Phase.UNCERTAIN, Reason.UNCERTAIN, now + POLL)


def _found(rows: Sequence[QueueRow] | None) -> Step | None:
    for row in rows or ():
        if row.state is JobState.FAILED and row.reason == Reason.REFUSED:
            return Declined(row.message or "the scheduler keeps a record of it, as refused")
        return Submitted(row.native_id)
    return None
