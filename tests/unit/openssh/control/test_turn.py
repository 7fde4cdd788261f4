"""Whose turn it is to log in, among all programs of a user."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sshmux.errors import PermissionDenied
from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.sweep import sweep
from sshmux.openssh.control.turn import LoginTurn

from ....support import until

DIGEST = "0123456789abcdef"

# Another program: takes the turn, says so, and does as it is told.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from sshmux.openssh.control.turn import LoginTurn

async def main():
    turn = LoginTurn(Path(sys.argv[1]), sys.argv[2])
    await turn.take(10)
    print("ours", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word = line.strip()
        if word == "ask":
            turn.asking(True)
        elif word == "asked":
            turn.asking(False)
        elif word.startswith("refuse"):
            turn.refused(word)
        elif word == "end":
            turn.end()
            return

asyncio.run(main())
"""


class Program:
    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), DIGEST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ours\n"

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(directory: ControlDir) -> Path:
    directory.open()
    return directory.path


async def test_one_after_the_other(path: Path) -> None:
    order: list[int] = []

    async def one(number: int) -> None:
        turn = LoginTurn(path, DIGEST)
        await turn.take(10)
        order.append(number)
        await asyncio.sleep(0.02)
        order.append(number)
        turn.end()

    await asyncio.gather(*(one(number) for number in range(8)))
    assert order[::2] == order[1::2]
    assert sorted(order[::2]) == list(range(8))
    assert os.listdir(path) == []


async def test_another_digest_is_another_turn(path: Path) -> None:
    first, second = LoginTurn(path, DIGEST), LoginTurn(path, DIGEST[::-1])
    await first.take(10)
    async with asyncio.timeout(5):
        await second.take(10)
    first.end()
    second.end()
    second.end()
    assert os.listdir(path) == []


async def test_what_the_other_one_says_is_heard(path: Path) -> None:
    program, asked = Program(path), list[bool]()
    try:
        turn = LoginTurn(path, DIGEST, asked.append)
        waiting = asyncio.ensure_future(turn.take(10))
        program.tell("ask")
        await until(lambda: asked == [True])
        program.tell("asked")
        await until(lambda: asked == [True, False])
        program.tell("end")
        await waiting
        turn.end()
        assert asked == [True, False]
    finally:
        program.end()
    assert os.listdir(path) == []


async def test_a_refusal_is_told_to_who_waits_and_to_who_is_at_the_door(path: Path) -> None:
    program = Program(path)
    try:
        turns = [LoginTurn(path, DIGEST) for _ in range(5)]
        waiting = [asyncio.ensure_future(turn.take(10)) for turn in turns]
        await asyncio.sleep(0.1)
        program.tell("refuse: a\x1b[31m wrong code " + "x" * 10_000)
        program.tell("end")
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(error) for error in told} == {PermissionDenied}
        assert "refuse: a\\x1b[31m wrong code x" in str(told[0])
        assert len(str(told[0])) < 4000
    finally:
        program.end()
    turn = LoginTurn(path, DIGEST)
    await turn.take(10)  # who comes later may try
    turn.end()
    assert os.listdir(path) == []


async def test_a_program_that_is_killed_passes_it_on(path: Path) -> None:
    program, asked = Program(path), list[bool]()
    turn = LoginTurn(path, DIGEST, asked.append)
    waiting = asyncio.ensure_future(turn.take(60))
    program.tell("ask")
    await until(lambda: asked == [True])
    program.process.kill()
    async with asyncio.timeout(5):
        await waiting
    assert asked == [True, False]
    turn.end()
    program.end()
    assert os.listdir(path) == []


async def test_nobody_waits_for_a_program_that_is_stopped(path: Path) -> None:
    program = Program(path)
    try:
        program.process.send_signal(signal.SIGSTOP)
        turn = LoginTurn(path, DIGEST)
        async with asyncio.timeout(10):
            await turn.take(1000)
        turn.end()
        assert len(os.listdir(path)) == 2  # what is the other one's is left
    finally:
        program.end()


async def test_patience_does_not_count_while_a_user_is_asked(path: Path) -> None:
    program, asked = Program(path), list[bool]()
    try:
        turn = LoginTurn(path, DIGEST, asked.append)
        program.tell("ask")
        waiting = asyncio.ensure_future(turn.take(0.3))
        await until(lambda: asked == [True])
        done, _ = await asyncio.wait((waiting,), timeout=3)
        assert not done
        program.tell("asked")
        async with asyncio.timeout(10):
            await waiting
        turn.end()
    finally:
        program.end()


async def test_a_cancelled_wait_leaves_nothing(path: Path) -> None:
    program = Program(path)
    try:
        descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
        turn = LoginTurn(path, DIGEST)
        waiting = asyncio.ensure_future(turn.take(10))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait((waiting,))
        turn.end()
        if descriptors:
            assert len(os.listdir("/proc/self/fd")) == descriptors
        program.tell("end")
        program.process.wait()
    finally:
        program.end()
    assert os.listdir(path) == []


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b'{"asking": 1}\n{"refused": 5}\n',
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b"x" * 1_000_000,
    ],
)
async def test_nonsense_is_heard_and_forgotten(path: Path, said: bytes) -> None:
    """What listens there is of this user, but may be of another version."""
    program, asked = Program(path), list[bool]()
    sock = path / f".login.{DIGEST}.sock"
    sock.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sock))
        listener.listen(8)
        listener.setblocking(False)
        turn = LoginTurn(path, DIGEST, asked.append)
        waiting = asyncio.ensure_future(turn.take(60))
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listener)
        sending = asyncio.ensure_future(loop.sock_sendall(connection, said))
        await asyncio.wait((sending,), timeout=1)
        sending.cancel()
        await asyncio.wait((sending,))
        if not sending.cancelled():
            sending.exception()
        connection.close()
    program.end()
    async with asyncio.timeout(10):
        await waiting
    turn.end()
    assert asked == []


async def test_what_is_planted_there_is_not_followed(path: Path, tmp_path: Path) -> None:
    (path / f".login.{DIGEST}.lock").symlink_to(tmp_path / "elsewhere")
    turn = LoginTurn(path, DIGEST)
    async with asyncio.timeout(5):
        await turn.take(10)
    turn.end()
    assert not (tmp_path / "elsewhere").exists()


async def test_files_of_a_killed_program_are_swept_when_old_and_free(
    directory: ControlDir, path: Path
) -> None:
    program = Program(path)
    old = 1_000_000_000
    for name in path.iterdir():
        os.utime(name, (old, old))
    await sweep(directory)
    assert len(os.listdir(path)) == 2
    program.end()
    await sweep(directory)
    assert os.listdir(path) == []


async def test_the_file_says_which_process_it_is(path: Path) -> None:
    turn = LoginTurn(path, DIGEST)
    await turn.take(10)
    said = json.loads((path / f".login.{DIGEST}.lock").read_text())
    assert said["owner_pid"] == os.getpid()
    turn.end()
