"""What is said when a process cannot be started: the system itself refuses, in a child of ours."""

from __future__ import annotations

import os
import resource
import traceback
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sshmux import ConfigError, ProcessLimit
from sshmux.system.processes import spawn

NOBODY = 65534


def as_somebody(what: Callable[[], None]) -> None:
    """Does it in a child that is not root, whom the system refuses nothing."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            what()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def own_limit() -> None:
    """Sets the number of processes to none more."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))


def test_no_more_processes() -> None:
    def what() -> None:
        own_limit()
        with pytest.raises(ProcessLimit, match="ulimit -u") as caught:
            spawn(["true"])
        assert caught.value.transient
        assert isinstance(caught.value, OSError)

    as_somebody(what)


def test_a_directory_that_may_not_be_looked_into_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    monkeypatch.setenv("PATH", f"{closed}:{os.environ['PATH']}")

    def what() -> None:
        os.chdir("/")
        with pytest.raises(ConfigError, match="openssh-client"):
            spawn(["no-such-ssh"])
        with pytest.raises(ConfigError, match="input=script"):
            spawn(["true", "x" * 300_000])

    as_somebody(what)


def test_a_program_that_may_not_be_executed(tmp_path: Path) -> None:
    (tmp_path / "ssh").touch(0o644)
    with pytest.raises(ConfigError, match="ssh_program="):
        spawn([str(tmp_path / "ssh")])
    assert psutil.Process().children() == []
