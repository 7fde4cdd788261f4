"""The command's own streams: full, closed, read by nobody; and signals that it is to ignore."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshmux.testing import PrivateServer

from .test_cli import Shell

FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
SSHMUX = f"{sys.executable} -m sshmux"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with PrivateServer(login_shell="/bin/sh") as one:
        yield one


@pytest.fixture
def shell(server: PrivateServer, short_dir: Path) -> Iterator[Shell]:
    made = Shell(short_dir, server)
    yield made
    made("stop", "--all", "-y")


def in_sh(shell: Shell, line: str) -> tuple[int, str, str]:
    """The status of the command before a `|`, and what came of the line."""
    at = f"-F {shell.server.config_file} {shell.server.alias}"
    script = line.replace("SSHMUX", SSHMUX).replace("AT", at)
    done = subprocess.run(
        ["bash", "-c", f"{script}; exit ${{PIPESTATUS[0]}}"],
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@FULL
@pytest.mark.parametrize(
    "command",
    ["run AT -- seq 100000", "run AT -- echo one", "ls", "ls --json", "--help", "check --json"],
)
def test_a_full_disk(shell: Shell, command: str) -> None:
    shell.run("true")
    status, _, told = in_sh(shell, f"SSHMUX {command} >/dev/full")
    assert status == 255
    assert "No space left on device" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("command", ["run AT -- 'yes | head -c 3000000'", "ls --json"])
def test_a_reader_that_leaves(shell: Shell, command: str) -> None:
    for _ in range(3):
        shell.run("true")
    status, out, told = in_sh(shell, f"SSHMUX {command} | head -c 1")
    assert len(out) == 1
    assert status in (0, 128 + signal.SIGPIPE)
    assert told == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["run AT -- 'head -c 300000 /dev/zero; exit 5'", "ls"])
def test_closed_streams(shell: Shell, command: str, closed: str) -> None:
    status, _, told = in_sh(shell, f"exec timeout 30 SSHMUX {command} {closed} | cat >/dev/null")
    assert status == (5 if "run" in command else 0)
    assert told == ""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_so(shell: Shell, number: signal.Signals) -> None:
    """As under nohup, or in the background of a shell script."""
    at = ["-F", str(shell.server.config_file), shell.server.alias]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "sshmux", "run", *at, "--", "echo begun; sleep 1; echo done"],
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
    finally:
        signal.signal(number, before)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(number)
    assert process.stdout.read() == b"done\n"
    assert process.wait() == 0


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.4])
def test_ctrl_c_while_it_loads(shell: Shell, delay: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sshmux", "doctor", "nowhere.invalid"],
        env=shell.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    # While Python looks for the command, and imports the package, its own traceback may come.
    assert re.findall(rb"sshmux/(?!__init__)\w*", told) == []
