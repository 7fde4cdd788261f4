"""The command, as a user runs it: a process of its own against a real sshd."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sshmux.testing import PrivateServer

from ..support import sleepers

PATIENCE = 20.0  # seconds until something that has to happen is taken for a failure


class Shell:
    """Runs `sshmux` in a control directory of its own."""

    def __init__(self, directory: Path, server: PrivateServer) -> None:
        self.directory = directory
        self.server = server
        self.environment = {**os.environ, "SSHMUX_DIR": str(directory)}

    def line(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sshmux", *words]

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.line(*words),
            env=self.environment,
            capture_output=True,
            timeout=60,
            check=False,
            **options,
        )

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return self("run", *self.target, *words, **options)

    @property
    def target(self) -> list[str]:
        return ["-F", str(self.server.config_file), self.server.alias, "--"]

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        line = self.line("run", *self.target, *words)
        return subprocess.Popen(line, env=self.environment, **options)

    def rows(self) -> list[dict[str, Any]]:
        listed = self("ls", "--json")
        assert listed.returncode == 0, listed.stderr
        rows = json.loads(listed.stdout)
        assert isinstance(rows, list)
        return rows


def until(true: Callable[[], object]) -> None:
    """Waits for what another program does; there is no event across processes to wait for."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def shell() -> Iterator[Shell]:
    directory = Path(tempfile.mkdtemp(prefix="sx"))
    try:
        with PrivateServer(login_shell="/bin/sh") as server:
            made = Shell(directory, server)
            yield made
            assert made("stop", "--all", "--yes").returncode == 0
            assert os.listdir(directory) == []
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_exit_status_and_streams_are_the_commands_own(shell: Shell) -> None:
    done = shell.run("echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_the_second_run_needs_no_login(shell: Shell) -> None:
    for word in ("one", "two", "three"):
        assert shell.run("echo", word).stdout == f"{word}\n".encode()
    assert shell.server.logins == 1


def test_other_options_are_another_connection(shell: Shell) -> None:
    assert shell.run("true").returncode == 0
    done = shell("run", "-o", "Compression=yes", *shell.target, "true")
    assert done.returncode == 0
    assert shell.server.logins == 2


def test_binary_input_arrives_and_comes_back(shell: Shell) -> None:
    data = bytes(range(256)) * 20_000  # 5 MB
    assert shell.run("cat", input=data).stdout == data


def test_words_are_joined_as_ssh_does_or_quoted(shell: Shell) -> None:
    assert shell.run("echo", "a   b", "$((1 + 1))").stdout == b"a b 2\n"
    quoted = shell("run", "-q", *shell.target, "echo", "a   b", "$((1 + 1))")
    assert quoted.stdout == b"a   b $((1 + 1))\n"


def test_no_input_gives_the_null_device(shell: Shell) -> None:
    done = shell("run", "-n", *shell.target, "wc -c", input=b"not read")
    assert done.stdout.strip() == b"0"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_over_there(shell: Shell, number: int, status: int) -> None:
    running = shell.start("sleep 4711")
    until(lambda: sleepers("4711"))
    running.send_signal(number)
    assert running.wait(PATIENCE) == status
    assert sleepers("4711") == []


def test_a_reader_that_leaves_ends_the_command(shell: Shell) -> None:
    running = shell.start("yes 4712", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    assert running.stdout.readline() == b"4712\n"
    running.stdout.close()
    assert running.wait(PATIENCE) == 141
    assert running.stderr.read() == b""
    running.stderr.close()


def test_a_login_that_fails_says_so_in_one_line(shell: Shell) -> None:
    done = shell("run", "-o", "ConnectTimeout=1", "no-such-host.invalid", "--", "true")
    assert done.returncode == 255
    assert done.stderr.startswith(b"sshmux: Cannot connect to no-such-host.invalid")
    assert done.stderr.count(b"\n") == 1


def test_bad_usage_exits_with_2(shell: Shell) -> None:
    assert shell("run", shell.server.alias).returncode == 2
    assert shell("stop").returncode == 2
    assert shell("run", "-o", "Compression", *shell.target, "true").returncode == 2


def test_ls_shows_a_connection_in_every_state(shell: Shell) -> None:
    assert shell("ls").stdout.startswith(b"No connections")
    running = shell.start("sleep 4713")
    until(lambda: sleepers("4713"))
    (row,) = shell.rows()
    assert (row["state"], row["sessions"], row["owner_pid"]) == ("in use", 1, running.pid)
    assert row["target"] == shell.server.alias
    assert row["memory_bytes"] > 1_000_000
    assert Path(row["socket"]).is_socket()

    running.send_signal(signal.SIGINT)
    running.wait(PATIENCE)
    (row,) = shell.rows()
    assert (row["state"], row["sessions"], row["owner_pid"]) == ("persistent", 0, None)

    psutil.Process(row["master_pid"]).kill()
    until(lambda: not psutil.pid_exists(row["master_pid"]) or _zombie(row["master_pid"]))
    (row,) = shell.rows()
    assert (row["state"], row["memory_bytes"]) == ("stale", None)
    text = shell("ls").stdout.decode()
    assert "stale" in text
    assert row["name"] in text


def _zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_ls_never_hangs_on_a_stopped_master(shell: Shell) -> None:
    shell.run("true")
    (row,) = shell.rows()
    master = psutil.Process(row["master_pid"])
    master.suspend()
    try:
        assert [again["name"] for again in shell.rows()] == [row["name"]]
        checked = shell("check", "--timeout", "0.5", "--json")
        assert checked.returncode == 1
        assert "no answer" in json.loads(checked.stdout)[0]["problem"]
    finally:
        master.resume()


def test_an_orphan_is_told_from_the_rest(shell: Shell) -> None:
    running = shell.start("sleep 4714")
    until(lambda: sleepers("4714"))
    running.kill()
    running.wait(PATIENCE)
    (row,) = shell.rows()
    assert row["owner_alive"] is False
    assert row["state"] == "in use"  # the command goes on: its client is a process of its own
    assert shell("stop", row["name"]).returncode == 0
    until(lambda: not sleepers("4714"))


def test_check_says_what_works(shell: Shell) -> None:
    assert shell("check").returncode == 0
    shell.run("true")
    good = shell("check", shell.server.alias, "--json")
    assert good.returncode == 0
    (verdict,) = json.loads(good.stdout)
    assert verdict["ok"] is True
    assert 0 < verdict["master_seconds"] < verdict["command_seconds"] + 10
    assert shell("check", "nobody").returncode == 3
    shell.server.drop_connections()
    until(lambda: all(row["state"] == "stale" for row in shell.rows()))
    assert shell("check").returncode == 1
    assert shell.server.logins == 1


def test_stop_takes_names_clusters_targets_and_patterns(shell: Shell) -> None:
    for pattern in (shell.server.alias, "sshmux-*"):
        shell.run("true")
        done = shell("stop", pattern)
        assert (done.returncode, shell.rows()) == (0, [])
        assert b"ended" in done.stdout
    assert shell("stop", "nobody").returncode == 3
    assert shell("stop", "--all").stdout.startswith(b"No connections")


def test_stop_with_a_drain_lets_a_command_end(shell: Shell) -> None:
    running = shell.start("sleep 1.4715; echo done", stdout=subprocess.PIPE)
    until(lambda: sleepers("1.4715"))
    assert shell("stop", "--drain", "20", "--yes", shell.server.alias).returncode == 0
    assert running.communicate(timeout=PATIENCE)[0] == b"done\n"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, name: str) -> None:
    done = shell("completion", name)
    assert done.returncode == 0
    assert b"_SSHMUX_COMPLETE" in done.stdout


def test_completion_knows_names_and_hosts(shell: Shell) -> None:
    shell.run("true")
    (row,) = shell.rows()
    asked = {
        **shell.environment,
        "_SSHMUX_COMPLETE": "bash_complete",
        "COMP_WORDS": "sshmux stop ",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'sshmux';from sshmux.__main__ import main; main()",
        ],
        env=asked,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert row["name"].encode() in done.stdout


def test_help_and_version(shell: Shell) -> None:
    for words in (["--help"], ["ls", "--help"], ["run", "--help"], ["stop", "-h"]):
        done = shell(*words)
        assert done.returncode == 0
        assert b"Usage: sshmux" in done.stdout
    assert shell("--version").stdout.startswith(b"sshmux ")
