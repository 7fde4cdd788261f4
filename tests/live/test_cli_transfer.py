"""`sshmux put`, `get`, `sync` and `forward`, as a user runs them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sshmux.testing import PrivateServer

from ..support import zeros
from .test_cli import PATIENCE, Shell, shell

__all__ = ["shell"]  # a fixture


@pytest.fixture
def target(shell: Shell) -> list[str]:
    return ["-F", str(shell.server.config_file), shell.server.alias]


def test_a_file_there_and_back(shell: Shell, target: list[str], tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(os.urandom(100_000))
    (tmp_path / "there").mkdir()
    done = shell("put", *target, "--json", str(tmp_path / "a b"), str(tmp_path / "there"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["moved"], told["files"], told["bytes"]) == ([str(tmp_path / "a b")], 1, 100_000)
    assert done.stderr == b""
    options = ("--verify", "--streams", "2")
    done = shell("get", *target, *options, str(tmp_path / "there" / "a*"), str(tmp_path / "c"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a b").read_bytes()
    assert shell.server.logins == 1


def test_a_directory(shell: Shell, target: list[str], tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("F")
    done = shell("put", *target, str(tmp_path / "d"), str(tmp_path / "x"))
    assert done.returncode == 255
    assert b"recurse" in done.stderr
    assert shell("put", *target, "-r", str(tmp_path / "d"), str(tmp_path / "x")).returncode == 0
    assert (tmp_path / "x" / "e" / "f").read_text() == "F"
    assert shell("get", *target, "only-one").returncode == 2
    assert shell("get", *target, "--streams", "0", "a", "b").returncode == 2


def test_a_part_of_a_directory(shell: Shell, target: list[str], tmp_path: Path) -> None:
    for name in ("d/src/a.c", "d/src/a.o", "d/build/x", "d/note"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    words = ["-r", "--exclude", "*.o", "--exclude=build/", str(tmp_path / "d")]
    for way, place in (("put", "x"), ("get", "y")):
        done = shell(way, *target, "--json", *words, str(tmp_path / place))
        assert (done.returncode, json.loads(done.stdout)["files"]) == (0, 2)
        done = shell(way, *target, "-r", "--include", "*.c", *words[-1:], str(tmp_path / "only"))
        assert done.returncode == 0
        found = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
        assert {name for name in found if name.startswith(place)} == {
            *(f"{place}/src/a.c", f"{place}/note")
        }
        assert [name for name in found if name.startswith("only")] == ["only/src/a.c"]
        shutil.rmtree(tmp_path / "only")
    done = shell("put", *target, "-r", "--exclude", "a//b", str(tmp_path / "d"), "z")
    assert done.returncode != 0
    assert b"a//b" in done.stderr


@pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")
def test_sync(shell: Shell, target: list[str], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("F")
    done = shell("sync", *target, "-av", f"{tmp_path}/d/", f":{tmp_path}/x/")
    assert done.returncode == 0, done.stderr
    assert b"sent" in done.stdout
    assert (tmp_path / "x" / "f").read_text() == "F"
    done = shell("sync", *target, "-a", "here", "there")
    assert done.returncode == 255
    assert b"exactly one side" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(shell: Shell, target: list[str], tmp_path: Path, number: int) -> None:
    zeros(tmp_path / "hose", 2_000_000_000)
    (tmp_path / "there").mkdir()
    words = shell.line("put", *target, str(tmp_path / "hose"), str(tmp_path / "there"))
    with subprocess.Popen(words, env=shell.environment) as running:
        wait(lambda: any(path.stat().st_size for path in (tmp_path / "there").iterdir()))
        running.send_signal(number)
        assert running.wait(PATIENCE) == 128 + number
    wait(lambda: not list((tmp_path / "there").iterdir()))


def wait(true: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_bar_on_a_terminal(shell: Shell, target: list[str], tmp_path: Path) -> None:
    (tmp_path / "[bold]a").write_bytes(os.urandom(3_000_000))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    words = shell.line("put", *target, str(tmp_path / "[bold]a"), str(tmp_path / "b"))
    environment = {**shell.environment, "TERM": "xterm-256color"}
    with subprocess.Popen(words, env=environment, stderr=theirs, start_new_session=True) as running:
        os.close(theirs)
        shown = b""
        while piece := read(ours):
            shown += piece
        assert running.wait(PATIENCE) == 0
    os.close(ours)
    assert b"[bold]a" in shown
    assert b"3.0/3.0 MB" in shown
    assert (tmp_path / "b").stat().st_size == 3_000_000


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.fixture
def greeter() -> Iterator[int]:
    """A port with something behind it: sshd greets whoever comes."""
    with PrivateServer(login_shell="/bin/sh") as server:
        yield server.port


def test_forwards(shell: Shell, target: list[str], tmp_path: Path, greeter: int) -> None:
    words = shell.line(
        *("forward", *target, "--json", "-L", f"0:localhost:{greeter}", "-D", "0"),
        *("-R", f"localhost:0:127.0.0.1:{greeter}", "-L", f"{tmp_path}/s:127.0.0.1:{greeter}"),
    )
    with subprocess.Popen(words, env=shell.environment, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        told = [json.loads(running.stdout.readline()) for _ in range(4)]
        assert [each["kind"] for each in told] == ["L", "L", "R", "D"]
        for each in (told[0], told[2]):
            with socket.create_connection(("127.0.0.1", each["port"]), PATIENCE) as connection:
                assert connection.recv(8) == b"SSH-2.0-"
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(f"{tmp_path}/s")
            assert one.recv(8) == b"SSH-2.0-"
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
    assert not (tmp_path / "s").exists()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", told[0]["port"]), PATIENCE)


@pytest.mark.parametrize(
    "words",
    [[], ["-L", "nonsense"], ["-L", "1:2"], ["-L", "x:h:1"], ["-D", "a:b:1"], ["-R", "[::1:1"]],
)
def test_bad_forwards(shell: Shell, target: list[str], words: list[str]) -> None:
    done = shell("forward", *target, *words)
    assert done.returncode == 2
    assert b"write [HOST:]PORT" in done.stderr or b"Give at least" in done.stderr


def test_a_busy_forward(shell: Shell, target: list[str], greeter: int) -> None:
    done = shell("forward", *target, "-L", f"127.0.0.1:{greeter}:h:1")
    assert done.returncode == 255
    assert b"in use" in done.stderr
