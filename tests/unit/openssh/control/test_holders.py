"""Who holds a shared master: the kernel's word, whoever ends in whatever way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sshmux.openssh.control import holders
from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.entry import Entry
from sshmux.openssh.control.holders import Hold, NobodysHold, is_held
from sshmux.openssh.control.record import Record
from sshmux.openssh.control.sweep import sweep

from .reserving import reserve

# Another program: joins, says how that went, and then does as it is told.
PROGRAM = """
import sys
from pathlib import Path
from sshmux.openssh.control.entry import Entry
from sshmux.openssh.control.holders import Hold
try:
    hold = Hold.join(Entry(Path(sys.argv[1]), sys.argv[2]))
except BlockingIOError:
    hold = "busy"
print("busy" if hold == "busy" else "gone" if hold is None else "in", flush=True)
for line in sys.stdin:
    if line == "alone\\n":
        print(hold.alone(), flush=True)
    if line == "leave\\n":
        hold.close()
        print("left", flush=True)
"""


class Program:
    def __init__(self, entry: Entry) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(entry.directory), entry.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.joined = self.heard()

    def heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.heard()

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def entry(directory: ControlDir) -> Iterator[Entry]:
    made, record = reserve(directory)
    made.write(replace(record, shared=True))
    yield made
    made.remove()


@contextmanager
def programs(entry: Entry, count: int) -> Iterator[list[Program]]:
    made = [Program(entry) for _ in range(count)]
    try:
        yield made
    finally:
        for program in made:
            program.end()


def test_the_last_to_leave_is_told_so(entry: Entry) -> None:
    first = Hold.create(entry)
    with programs(entry, 2) as (one, two):
        assert (one.joined, two.joined) == ("in", "in")
        assert [process.pid for process in first.others()] == sorted(
            [one.process.pid, two.process.pid]
        )
        assert first.alone() is False
        assert one.tell("alone") == "False"
        assert two.tell("alone") == "True"
        assert two.tell("alone") == "True"  # asked again, it still is
        with pytest.raises(BlockingIOError):
            Hold.join(entry)
        entry.remove()
        assert Hold.join(entry) is None
    assert os.listdir(entry.directory) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_killed_holds_nothing(entry: Entry, number: signal.Signals) -> None:
    first = Hold.create(entry)
    with programs(entry, 1) as (one,):
        one.process.send_signal(number)
        one.process.wait()
        assert first.others() == []
        assert first.alone() is True
    first.close()


def test_who_is_stopped_holds_it_and_keeps_nobody_out(entry: Entry) -> None:
    first = Hold.create(entry)
    with programs(entry, 1) as (one,):
        one.process.send_signal(signal.SIGSTOP)
        with programs(entry, 1) as (two,):
            assert two.joined == "in"
            assert two.tell("alone") == "False"
        assert first.alone() is False
        assert is_held(entry)
    assert not is_held(entry)


def test_a_forked_child_holds_nothing(entry: Entry) -> None:
    """A lock lasts as long as any copy of its descriptor."""
    first = Hold.create(entry)
    ready = os.pipe()
    if (child := os.fork()) == 0:
        os.write(ready[1], b".")  # what has to be forgotten is, before fork() returns here
        signal.pause()
        os._exit(0)
    try:
        os.read(ready[0], 1)
        first.close()
        assert not is_held(entry)
    finally:
        for end in ready:
            os.close(end)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_nobody_holds_can_be_had_alone_and_not_joined(entry: Entry) -> None:
    first = Hold.create(entry)
    assert NobodysHold.take(entry) is None
    first.close()
    alone = NobodysHold.take(entry)
    assert alone is not None
    with pytest.raises(BlockingIOError):
        Hold.join(entry)
    alone.close()
    joined = Hold.join(entry)
    assert joined is not None
    joined.close()


def test_a_lock_that_is_none_of_ours_is_not_touched(entry: Entry, tmp_path: Path) -> None:
    for plant in (
        lambda: os.mkfifo(entry.lock),
        lambda: entry.lock.symlink_to(tmp_path / "elsewhere"),
        lambda: entry.lock.mkdir(),
    ):
        plant()
        assert Hold.join(entry) is None
        assert NobodysHold.take(entry) is None
        assert not is_held(entry)
        with pytest.raises(OSError):
            Hold.create(entry)
        if entry.lock.is_dir():
            entry.lock.rmdir()
        else:
            entry.lock.unlink()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", '{"owner_pid": 1}', '{"owner_pid": -1, "owner_started": "x"}', "[" * 9],
)
def test_a_holder_file_that_says_nothing_is_nobody(entry: Entry, text: str) -> None:
    (entry.directory / f"{entry.name}.abcdef.holder").write_text(text)
    assert holders.holders(entry) == []
    holders.remove_dead_holders(entry)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_the_last_one_is_told_and_only_that(entry: Entry, seed: int) -> None:
    """Programs come, go, are killed and stopped at random: at each moment the model is right."""
    choose = random.Random(seed)
    first = Hold.create(entry)
    inside: list[Program] = [Program(entry)]
    first.close()
    try:
        for _ in range(12):
            what = choose.choice(["join", "join", "leave", "kill", "stop", "alone"])
            if what == "join":
                inside.append(Program(entry))
                assert inside[-1].joined == "in"
                continue
            if len(inside) == 1:
                continue
            program = inside[choose.randrange(len(inside))]
            if what == "stop":
                program.process.send_signal(signal.SIGSTOP)
                continue
            program.process.send_signal(signal.SIGCONT)
            inside.remove(program)
            if what == "leave":
                assert program.tell("leave") == "left"
            elif what == "alone":
                assert program.tell("alone") == "False"
            program.end()
            assert is_held(entry)
            pids = sorted(each.process.pid for each in inside)
            assert [each.process.pid for each in holders.holders(entry)] == pids
        for program in inside[1:]:
            program.end()
        inside[0].process.send_signal(signal.SIGCONT)
        assert inside[0].tell("alone") == "True"
    finally:
        for program in inside:
            program.end()


# Sweeping


def dead(record: Record, **more: object) -> Record:
    return replace(
        record,
        owner_pid=2**22 + 1,
        owner_started="b/1",
        master_pid=2**22 + 2,
        master_started="b/1",
        **more,  # type: ignore[arg-type]
    )


async def test_a_shared_master_that_is_gone_is_swept_when_nobody_holds_it(
    directory: ControlDir,
) -> None:
    entry, record = reserve(directory)
    entry.write(dead(record, shared=True))
    hold = Hold.create(entry)
    assert await sweep(directory) == 0
    hold.close()
    assert await sweep(directory) == 1
    assert os.listdir(directory.path) == []


async def test_a_living_master_of_another_version_is_left_alone(directory: ControlDir) -> None:
    """Its owner is dead: it leaves by itself, and then it is swept."""
    living = subprocess.Popen(["sleep", "60"])
    try:
        entry, record = reserve(directory)
        found = holders.ProcessId.of(living.pid)
        assert found is not None
        old = dead(record, version=1, persist=60)
        old = replace(old, master_pid=found.pid, master_started=found.started)
        entry.write(old)
        assert await sweep(directory) == 0
        assert entry.read() == old
        assert living.poll() is None
    finally:
        living.kill()
        living.wait()
    assert await sweep(directory) == 1


def test_a_version_that_is_not_known_yet_is_no_record(directory: ControlDir) -> None:
    _, record = reserve(directory)
    assert Record.from_json(replace(record, version=3).to_json()) is None
    text = replace(record, version=1).to_json()
    without = "\n".join(line for line in text.splitlines() if '"version"' not in line)
    read = Record.from_json(without.replace('"max_sessions": null,', '"max_sessions": null'))
    assert read is not None
    assert not read.current


async def test_locks_and_holders_without_a_record_are_swept_when_old(
    directory: ControlDir,
) -> None:
    entry, _ = reserve(directory)
    hold = Hold.create(entry)
    entry.record_path.unlink()
    old = 1_000_000_000
    for path in directory.path.iterdir():
        os.utime(path, (old, old))
    await sweep(directory)
    assert entry.lock.exists()  # it is held
    hold.close()
    await sweep(directory)
    assert os.listdir(directory.path) == []
