"""Which process is meant: the one that has the pid now, or one that had it before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sshmux.system.identity import ProcessId

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def identity(pid: int) -> ProcessId:
    found = ProcessId.of(pid)
    assert found is not None
    return found


def test_a_process_is_itself_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    meant = identity(sleeper.pid)
    assert meant.alive
    assert meant == identity(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not meant.alive, "a zombie runs no more"
    sleeper.wait()
    assert not meant.alive
    assert ProcessId.of(sleeper.pid) is None


def test_another_process_of_the_same_pid_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    meant = identity(sleeper.pid)
    for other in (replace(meant, started="another"), replace(meant, started="")):
        assert not other.alive
        other.signal(signal.SIGKILL)
    meant.signal(signal.SIGTERM)
    assert sleeper.wait(5) == -signal.SIGTERM


def test_a_process_that_is_gone_is_not_signalled() -> None:
    with subprocess.Popen(["true"]) as process:
        meant = identity(process.pid)
    meant.signal(signal.SIGKILL)


def test_signals_arrive_without_a_free_descriptor(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(pid: int, flags: int = 0) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left, raising=False)
    identity(sleeper.pid).signal(signal.SIGTERM)
    assert sleeper.wait(5) == -signal.SIGTERM


def test_signals_arrive_in_a_sandbox_that_knows_no_descriptors_of_processes(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(descriptor: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", forbidden, raising=False)
    identity(sleeper.pid).signal(signal.SIGTERM)
    assert sleeper.wait(5) == -signal.SIGTERM


@linux
@pytest.mark.parametrize("name", [") S 1 2 3", "a b", "((", "\n) Z"])
def test_the_name_of_a_program_misleads_nobody(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            meant = identity(process.pid)
            assert meant.alive
            assert meant.started.rpartition("/")[2].isdigit()
        finally:
            process.kill()


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("step", [-86400, -5, 5, 86400])
def test_a_step_of_the_wall_clock_changes_nobody(tmp_path: Path, step: int) -> None:
    """The kernel's boot time, which psutil counts from, moves with the clock."""
    lines = Path("/proc/stat").read_text().splitlines()
    stepped = [
        f"btime {int(line.split()[1]) + step}" if line.startswith("btime ") else line
        for line in lines
    ]
    (tmp_path / "stat").write_text("\n".join(stepped) + "\n")
    here = identity(os.getpid())
    program = (
        "import sys; from sshmux.system.identity import ProcessId;"
        f"sys.exit(ProcessId({here.pid}, {here.started!r}).alive)"
    )
    mount = 'mount --bind "$1" /proc/stat || exit 77; shift; exec "$@"'
    there = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", tmp_path / "stat", sys.executable, "-c", program]
    )
    if there.returncode == 77:
        pytest.skip("nothing can be mounted here")
    assert there.returncode == 1
