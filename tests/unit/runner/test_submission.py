"""The submission machine: whatever is there, it goes on, and comes to an end."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest

from sshmux.runner import launching
from sshmux.runner.dialects.base import Dialect, QueueRow
from sshmux.runner.dialects.shell import Shell
from sshmux.runner.dialects.slurm import Slurm
from sshmux.runner.journal import JobFiles, parse_look
from sshmux.runner.states import JobState
from sshmux.runner.submission import (
    Cancelled,
    Declined,
    Launch,
    Look,
    Retry,
    Stage,
    Submitted,
    next_step,
)

from .test_scripts import NONCE, SHELLS, TOKEN

NOW = 10_000.0
LONG_AGO = 1000

LOCKS = (None, str(LONG_AGO))
ANSWERS = {
    "none": (None, [], []),
    "an id": (0, ["77"], []),
    "no words": (0, [], []),
    "refused": (1, [], ["sbatch: error: Batch job submission failed: Invalid partition name"]),
    "a limit": (1, [], ["sbatch: error: AssocMaxSubmitJobLimit"]),
    "a timeout": (1, [], ["Batch job submission failed: Socket timed out on send/recv operation"]),
    "killed": (137, [], []),
}


def files(lock: str | None, answer: str, cancel: bool) -> JobFiles:
    status, out, err = ANSWERS[answer]
    return JobFiles(
        lock=lock,
        submit_status=status,
        submit_time=None if status is None else float(LONG_AGO),
        submit_out=out,
        submit_err=err,
        remote_now=NOW,
        cancels={None: 5000.0} if cancel else {},
    )


@pytest.mark.parametrize("dialect", [Shell(), Slurm()], ids=["shell", "slurm"])
@pytest.mark.parametrize(("lock", "answer"), list(itertools.product(LOCKS, ANSWERS)))
def test_whoever_was_ended_somebody_can_go_on(
    dialect: Dialect, lock: str | None, answer: str
) -> None:
    """Long after it was begun, with answers that do not know it, nothing is waited for."""
    rows: list[QueueRow] = []
    step = next_step(files(lock, answer, False), rows, dialect, now=NOW, asked_twice=True)
    assert not isinstance(step, Look | Stage), step
    stopped = next_step(files(lock, answer, True), rows, dialect, now=NOW, asked_twice=True)
    assert not isinstance(stopped, Launch | Retry | Look), stopped
    if isinstance(step, Launch | Retry):
        assert stopped == Cancelled(5000.0)


def test_what_the_queue_tells_counts() -> None:
    row = QueueRow("78", "sm", JobState.PENDING)
    for lock, answer in itertools.product(LOCKS[-1:], ("none", "a timeout", "killed", "no words")):
        step = next_step(files(lock, answer, False), [row], Slurm(), now=NOW)
        assert step == Submitted("78")
    refused = next_step(files(str(LONG_AGO), "refused", False), [], Slurm(), now=NOW)
    assert isinstance(refused, Declined)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("at", [None, "", "no number\n", "17957"])
def test_a_lock_that_does_not_say_since_when_counts_from_now_on(
    shell: list[str], at: str | None, tmp_path: Path
) -> None:
    """Its owner was ended, or had no place on the disk, before it could say."""
    lock = tmp_path / TOKEN / "submit.lock"
    lock.mkdir(parents=True)
    if at is not None:
        (lock / "at").write_text(at)
    script = launching.retry(str(tmp_path), NONCE, [TOKEN], {})
    done = subprocess.run([*shell, "-s"], input=script.encode(), stdout=subprocess.PIPE, check=True)
    look = parse_look(done.stdout.decode(), NONCE)
    told = look.jobs[TOKEN].lock
    assert told is not None
    assert (told == at) is (at == "17957")
