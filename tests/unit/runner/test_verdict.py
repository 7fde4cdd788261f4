"""What files and schedulers' rows mean together; without either of them, by cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sshmux import JobHandle, JobState, JobStatus, Reason
from sshmux.runner.dialects.base import QueueRow
from sshmux.runner.journal import End, JobFiles, Start
from sshmux.runner.verdict import ABSENCES, Absences, Evidence, judge

HANDLE = JobHandle("sge", 1, "smaaaaaaaaaaaa", "/home/a/smaaaaaaaaaaaa")
BEFORE = JobStatus(HANDLE, JobState.PENDING, native_id="7")
BEGUN = Start("7", 0, "n1", 100.0)


def row(state: JobState, native_id: str = "7", **more: Any) -> QueueRow:
    return QueueRow(native_id=native_id, name=HANDLE.token, state=state, **more)


def files(**more: Any) -> JobFiles:
    return JobFiles(**{"owner": "7", "starts": {None: BEGUN}, **more})


def told(evidence: Evidence, before: JobStatus = BEFORE) -> tuple[JobState, str]:
    status = judge(before, evidence)
    return status.state, str(status.reason)


def test_a_second_acceptance_tells_nothing_of_the_job() -> None:
    """It has the job's name, came later, and ended well at once: the owner's is the job."""
    second = row(JobState.COMPLETED, "8", submitted=200.0)
    first = row(JobState.RUNNING, submitted=100.0)
    for rows in ([first, second], [second, first]):
        assert told(Evidence(files(), rows)) == (JobState.RUNNING, "")
    assert told(Evidence(files(), [second], absences=1)) == (JobState.PENDING, "")
    # Before one of them has taken the job, what is not over counts.
    waiting = [row(JobState.PENDING, reason=Reason.HELD), second]
    assert told(Evidence(JobFiles(), waiting)) == (JobState.PENDING, "HELD")


def test_of_several_records_the_newest_counts() -> None:
    records = [row(JobState.PENDING, submitted=1.0), row(JobState.FAILED, submitted=1.0)]
    assert told(Evidence(files(), [], records, absences=1))[0] is JobState.FAILED


def test_what_has_begun_since_the_queue_was_asked_runs() -> None:
    waiting = [row(JobState.PENDING)]
    assert told(Evidence(files(), waiting)) == (JobState.RUNNING, "")
    running = replace(BEFORE, state=JobState.RUNNING, started=100.0)
    assert told(Evidence(files(), waiting), running) == (JobState.PENDING, "REQUEUED")


def test_a_cancelled_task_does_not_make_the_others_look_so() -> None:
    failed = End(139, True, "7", 9.0)
    evidence = Evidence(
        files(ends={1: failed, 2: failed}, cancels={2: 5.0}),
        [row(JobState.FAILED, index=1), row(JobState.FAILED, index=2)],
        indices=[1, 2],
    )
    tasks = judge(BEFORE, evidence).tasks
    assert [tasks[index].state for index in (1, 2)] == [JobState.FAILED, JobState.CANCELLED]


@pytest.mark.parametrize("absences", range(4))
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("answered", [False, True])
def test_absence(absences: int, asked: bool, answered: bool) -> None:
    """It means nothing once; twice, that the job is over, but not how; and what we ended, ended."""
    rows = [] if answered else None
    absences = absences if answered else 0
    cancels = {None: 5.0} if asked else {}
    running = replace(BEFORE, state=JobState.RUNNING, started=100.0)
    state, _ = told(Evidence(files(cancels=cancels), rows, absences=absences), running)
    if asked and absences:
        assert state is JobState.CANCELLED
    elif absences >= ABSENCES:
        assert state is JobState.LOST
    else:
        assert state is JobState.RUNNING


def test_an_accounting_that_is_late_is_waited_for() -> None:
    counted = Absences(delay=20)
    assert [counted.seen("a", present=False, now=now) for now in (0, 5, 19, 21, 30)] == [
        *(1, 1, 1),
        *(2, 3),
    ]
    assert counted.seen("a", present=True, now=31) == 0
    assert counted.seen("a", present=False, now=100) == 1
    assert counted.seen("b", present=False, now=100) == 1


@pytest.mark.parametrize("state", list(JobState))
def test_the_payloads_own_end_is_final_whatever_else_is_said(state: JobState) -> None:
    ended = files(ends={None: End(3, False, "7", 9.0)})
    status = judge(BEFORE, Evidence(ended, [row(state)], absences=5))
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)
    assert judge(status, Evidence(files(), [row(JobState.RUNNING)])) == status


def test_what_a_scheduler_says_is_bounded_and_fit_for_a_terminal() -> None:
    odd = "\x1b]0;owned\x07\u202e" + "n" * 100_000
    cells = {"reason": odd, "nodes": odd, "message": odd, "native_state": odd, "user": odd}
    for state in (JobState.PENDING, JobState.RUNNING, JobState.FAILED, JobState.CANCELLED):
        status = judge(BEFORE, Evidence(files(), [row(state, partition=odd, **cells)]))
        for text in (status.reason, status.nodes, status.message):
            assert str(text).isprintable()
            assert len(text) < 5000
