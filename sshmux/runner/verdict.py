"""What a job's files and its scheduler's answers mean together. Pure.

The rules, each of which was measured:
- An end by the payload itself (up to 128, and nobody sent a signal) is final, whatever else says.
- Any other end is provisional: a scheduler knows whether it was a time limit, a cancellation, or a
  requeue, after which the job runs again.
- A failed or short answer changes nothing. A bare absence means nothing, until two good answers
  and the job's own files say so.
- What is final stays so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .dialects.base import QueueRow
from .journal import End, JobFiles, Start
from .states import JobState, JobStatus, Reason

ABSENCES = 2  # good answers without the job, until it is taken for gone
_START_GRACE = 60.0  # seconds that a shell job may take to say its process id

_OOM = re.compile(r"oom[-_ ]kill event|Detected \d+ oom", re.IGNORECASE)
_CANCELLED = re.compile(
    r"\*\*\* (?:JOB|STEP) \S+ ON \S+ CANCELLED AT \S+(?: DUE TO ([A-Z ]+))? \*\*\*"
)


@dataclass
class Evidence:
    """All that was seen of one job, in one look.

    Attributes:
        files: None if they were not looked at.
        queue, history: the rows of this job; None if that was not answered.
        absences: good answers of the scheduler in a row without the job, this one included.
        scheduled: whether a scheduler has it; otherwise it is a process of a shell's.
        indices: of an array.
        now: this machine's clock.
    """

    files: JobFiles | None
    queue: Sequence[QueueRow] | None = None
    history: Sequence[QueueRow] | None = None
    absences: int = 0
    scheduled: bool = True
    indices: Sequence[int] | None = None
    now: float = 0.0


def judge(before: JobStatus, evidence: Evidence) -> JobStatus:
    """What is now known of a job of which `before` was known."""
    if before.final:
        return before
    if evidence.indices is None:
        return _one(before, evidence, None)
    known = dict(before.tasks)
    for index in evidence.indices:
        task = known.get(index) or replace(
            before, handle=before.handle.task(index), tasks={}, started=None, restarts=0
        )
        known[index] = task if task.final else _one(task, evidence, index)
    return gather(before, known, evidence.now)


def _one(before: JobStatus, evidence: Evidence, index: int | None) -> JobStatus:
    files = evidence.files
    owner = None if files is None else files.owner
    row = _row(evidence.queue, index, owner)
    past = _row(evidence.history, index, owner)
    status = replace(before, as_of=evidence.now)
    start = end = None
    if files is not None:
        start, end = files.starts.get(index), files.ends.get(index)
    status = _times(status, row or past, start)
    if end is not None and end.clean:
        return ended_by_itself(status, end, files)
    if not evidence.scheduled:
        return status if files is None else _shell(status, evidence, files, start, end)
    if end is not None and end.code is None:
        return _never(status, end)
    if row is not None and row.state is JobState.PENDING and end is None and before.started is None:
        # The queue is asked before the files are looked at: it has begun in between.
        row = replace(row, state=JobState.RUNNING, reason="") if start is not None else row
    return _scheduled(status, evidence, row, past, index, start, end)


def _row(rows: Iterable[QueueRow] | None, index: int | None, owner: str | None) -> QueueRow | None:
    """The row of a job or task.

    It may have several. One that was requeued has, in the accounting: the newest counts. And one
    whose submission was accepted twice: its owner's count; while it has none, what is not over.
    """
    newest: dict[str, QueueRow] = {}
    for row in rows or ():
        if row.index == index and (owner is None or row.native_id == owner):
            known = newest.get(row.native_id)
            if known is None or (row.submitted or 0) >= (known.submitted or 0):
                newest[row.native_id] = row
    return max(
        newest.values(), key=lambda row: (not row.state.final, row.submitted or 0), default=None
    )


def _times(status: JobStatus, row: QueueRow | None, start: Start | None) -> JobStatus:
    if row is not None:
        status = replace(
            status,
            native_id=row.native_id or status.native_id,
            submitted=status.submitted or row.submitted,
            nodes=row.nodes or status.nodes,
            restarts=max(status.restarts, row.restarts or 0),
        )
    if start is not None:
        status = replace(
            status,
            native_id=status.native_id or start.native_id,
            started=start.time,
            restarts=max(status.restarts, start.restarts),
            nodes=status.nodes or start.host,
        )
    elif row is not None and row.started and row.state is not JobState.PENDING:
        status = replace(status, started=row.started)
    return status


def ended_by_itself(status: JobStatus, end: End, files: JobFiles | None) -> JobStatus:
    """The payload's own end."""
    state = JobState.COMPLETED if end.code == 0 and not end.oom_kills else JobState.FAILED
    reason = Reason.OUT_OF_MEMORY if end.oom_kills else Reason.NONE
    status = replace(
        status, state=state, reason=reason, exit_code=end.code, ended=end.time, signal=None
    )
    return _with_tail(status, files)


def _with_tail(status: JobStatus, files: JobFiles | None) -> JobStatus:
    if files is None or status.state is JobState.COMPLETED:
        return status
    tail = "\n".join(files.err_tail) or status.stderr_tail
    reason = status.reason
    if not reason and any(_OOM.search(line) for line in (*files.err_tail, *files.log_tail)):
        reason = Reason.OUT_OF_MEMORY
    return replace(status, stderr_tail=tail, reason=reason)


def _never(status: JobStatus, end: End) -> JobStatus:
    return replace(status, state=JobState.CANCELLED, reason=Reason.DEPENDENCY_NEVER, ended=end.time)


def _signal(code: int | None) -> int | None:
    """A shell's word for a signal."""
    return code - 128 if code is not None and 128 < code < 128 + 65 else None


# A process of a shell's


def _shell(
    status: JobStatus, evidence: Evidence, files: JobFiles, start: Start | None, end: End | None
) -> JobStatus:
    if end is not None:
        return _shell_ended(status, files, end)
    if not files.present:
        return _gone(status, evidence)
    if files.alive in ("yes", "orphans", "elsewhere"):
        if files.alive == "elsewhere":
            return replace(status, message="it runs on another host behind this name")
        state = JobState.RUNNING if start is not None else JobState.PENDING
        waits = state is JobState.PENDING and status.reason == Reason.DEPENDENCY
        return replace(status, state=state, reason=Reason.DEPENDENCY if waits else "")
    if files.alive == "rebooted":
        return _lost(status, Reason.REBOOTED, files)
    if files.alive == "no":
        if (asked := files.cancelled(None)) is not None:
            return replace(status, state=JobState.CANCELLED, reason="", ended=asked)
        return _lost(status, Reason.NONE, files)
    began, there = files.submit_time, files.remote_now
    if began is not None and there is not None and there - began > _START_GRACE:
        return _lost(status, Reason.LAUNCH_FAILED, files)
    return status


def _shell_ended(status: JobStatus, files: JobFiles, end: End) -> JobStatus:
    if end.code is None:
        return _never(status, end)
    status = replace(
        status, exit_code=end.code, signal=_signal(end.code), ended=end.time, reason=""
    )
    if files.cancelled(None) is not None:
        return replace(status, state=JobState.CANCELLED)
    if files.timeout is not None:
        return _with_tail(replace(status, state=JobState.TIMEOUT), files)
    state = JobState.COMPLETED if end.code == 0 else JobState.FAILED
    return _with_tail(replace(status, state=state), files)


def _lost(status: JobStatus, reason: str, files: JobFiles | None) -> JobStatus:
    return _with_tail(replace(status, state=JobState.LOST, reason=reason), files)


def _gone(status: JobStatus, evidence: Evidence) -> JobStatus:
    if evidence.absences < ABSENCES:
        return status
    return replace(status, state=JobState.LOST, reason=Reason.NOT_FOUND)


# A scheduler's


def _scheduled(
    status: JobStatus,
    evidence: Evidence,
    row: QueueRow | None,
    past: QueueRow | None,
    index: int | None,
    start: Start | None,
    end: End | None,
) -> JobStatus:
    files = evidence.files
    said = row or past
    asked = None if files is None else files.cancelled(index)
    if said is not None and said.state.final:
        return _final(status, said, files, asked, start, end)
    if said is None and asked is not None and evidence.absences:
        # It was ended as we asked, and left no record (what never began leaves none).
        code = None if end is None else end.code
        status = replace(status, exit_code=code, signal=_signal(code))
        return replace(
            status, state=JobState.CANCELLED, reason="", ended=end.time if end else asked
        )
    if said is not None and (row is not None or evidence.absences < ABSENCES):
        return _going_on(status, said, start, end)
    if evidence.absences < ABSENCES or files is None:
        if end is not None:
            return replace(status, state=JobState.RUNNING, reason=Reason.COMPLETING)
        return status
    return _witnesses(status, files, end)


def _going_on(status: JobStatus, said: QueueRow, start: Start | None, end: End | None) -> JobStatus:
    state, reason = said.state, said.reason
    if state is JobState.PENDING and (start is not None or end is not None):
        reason = Reason.REQUEUED if reason in ("", Reason.BEGIN_TIME) else reason
    elif state is JobState.PENDING and status.restarts and reason == Reason.BEGIN_TIME:
        reason = Reason.REQUEUED
    elif state is JobState.RUNNING and end is not None and not reason:
        reason = Reason.COMPLETING
    return replace(status, state=state, reason=reason, message=said.message)


def _final(
    status: JobStatus,
    said: QueueRow,
    files: JobFiles | None,
    asked: float | None,
    start: Start | None,
    end: End | None,
) -> JobStatus:
    code = end.code if end is not None else said.exit_code
    signal = said.signal if end is None else _signal(code)
    status = replace(
        status,
        state=said.state,
        reason=said.reason,
        exit_code=code,
        signal=signal,
        ended=end.time if end is not None else said.ended,
        message=said.message,
    )
    if said.state is JobState.FAILED and said.reason == Reason.REFUSED and start is not None:
        status = replace(status, reason="")
    ours = said.state is JobState.FAILED and said.reason in ("", Reason.LAUNCH_FAILED)
    if asked is not None and ours:
        # The scheduler tells only how the processes ended.
        status = replace(status, state=JobState.CANCELLED, reason="")
    return _with_tail(status, files)


def _witnesses(status: JobStatus, files: JobFiles, end: End | None) -> JobStatus:
    """The scheduler has forgotten it: what its directory tells."""
    if not files.present:
        return replace(status, state=JobState.LOST, reason=Reason.NOT_FOUND)
    code = end.code if end is not None else None
    status = replace(
        status, exit_code=code, signal=_signal(code), ended=end.time if end else status.ended
    )
    why = cancelled_by(files.log_tail)
    if any(_OOM.search(line) for line in files.log_tail):
        state, reason = JobState.FAILED, Reason.OUT_OF_MEMORY
    elif why == "TIME LIMIT":
        state, reason = JobState.TIMEOUT, Reason.NONE
    elif why == "PREEMPTION":
        state, reason = JobState.CANCELLED, Reason.PREEMPTED
    elif why == "NODE FAILURE":
        state, reason = JobState.FAILED, Reason.NODE_FAIL
    elif why is not None:
        state, reason = JobState.CANCELLED, Reason.NONE
    elif end is not None:
        state, reason = JobState.COMPLETED if code == 0 else JobState.FAILED, Reason.NONE
    else:
        state, reason = JobState.LOST, Reason.NONE
    return _with_tail(replace(status, state=state, reason=reason), files)


def cancelled_by(lines: Iterable[str]) -> str | None:
    """What Slurm wrote into the job's log when it ended it: "" for a plain cancellation."""
    why: str | None = None
    for line in lines:
        if found := _CANCELLED.search(line):
            why = (found[1] or "").strip()
    return None if why == "JOB REQUEUE" else why


# Arrays

_WORST = [
    JobState.LOST,
    JobState.FAILED,
    JobState.TIMEOUT,
    JobState.CANCELLED,
    JobState.COMPLETED,
]


def gather(before: JobStatus, tasks: Mapping[int, JobStatus], now: float) -> JobStatus:
    """The status of an array, from its tasks."""
    every = list(tasks.values())
    status = replace(before, tasks=dict(tasks), as_of=now)
    ids = [task.native_id for task in every if task.native_id]
    starts = [task.started for task in every if task.started]
    status = replace(
        status,
        native_id=status.native_id or (ids[0] if ids else None),
        started=min(starts, default=None),
    )
    open_tasks = [task for task in every if not task.final]
    if open_tasks:
        begun = len(open_tasks) < len(every) or any(
            task.state is JobState.RUNNING for task in open_tasks
        )
        state = JobState.RUNNING if begun else JobState.PENDING
        return replace(status, state=state, reason="" if begun else open_tasks[0].reason)
    worst = min(every, key=lambda task: _WORST.index(task.state))
    codes = [task.exit_code for task in every if task.exit_code is not None]
    return replace(
        status,
        state=worst.state,
        reason=worst.reason,
        exit_code=max(codes, default=None),
        signal=worst.signal,
        ended=max((task.ended for task in every if task.ended), default=None),
        stderr_tail=worst.stderr_tail,
    )


@dataclass
class Absences:
    """Good answers of a scheduler without a job, in a row.

    Attributes:
        delay: seconds in which they do not come to `ABSENCES`: its accounting may still tell.
    """

    delay: float = 0.0
    _counts: dict[str, int] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def seen(self, token: str, present: bool, now: float) -> int:
        """Counts one more answer, at `now` by a clock that only goes on."""
        if present:
            self.forget(token)
            return 0
        count = self._counts.get(token, 0) + 1
        early = now - self._since.setdefault(token, now) < self.delay
        self._counts[token] = min(count, ABSENCES - 1) if early else count
        return self._counts[token]

    def count(self, token: str) -> int:
        """How many there were."""
        return self._counts.get(token, 0)

    def forget(self, token: str) -> None:
        """It is over, or was seen."""
        self._counts.pop(token, None)
        self._since.pop(token, None)
