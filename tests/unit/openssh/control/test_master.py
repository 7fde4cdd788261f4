"""Ending a master that does not listen: real processes that are as deaf as ssh can be."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from sshmux.openssh.control.master import end_process
from sshmux.system.identity import ProcessId

Deaf = subprocess.Popen[bytes]


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[Deaf]:
    """A shell with a trap; it is ready."""
    line = f"trap {request.param} TERM; echo; while :; do sleep 0.02; done"
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("process", "ended_by"),
    [("'trap - TERM'", signal.SIGTERM), ("''", signal.SIGKILL)],
    indirect=["process"],
    ids=["misses the first SIGTERM", "misses all"],
)
async def test_it_is_reminded_and_then_killed(process: Deaf, ended_by: int) -> None:
    known = ProcessId.of(process.pid)
    assert known is not None
    await end_process(known)
    assert process.wait() == -ended_by


@pytest.mark.parametrize("process", ["-"], indirect=True)
async def test_a_stopped_one_is_continued(process: Deaf) -> None:
    known = ProcessId.of(process.pid)
    assert known is not None
    process.send_signal(signal.SIGSTOP)
    await end_process(known)
    assert process.wait() == -signal.SIGTERM
