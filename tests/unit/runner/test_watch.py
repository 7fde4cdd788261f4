"""What the journal's watch prints, by real shells, and what is made of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.runner import scripts
from sshmux.runner.journal import End, Event, Journal, Start

from .test_scripts import NONCE, SHELLS, TOKEN

BEGINS = f"=watching {NONCE}"


class Watched:
    """A runner's directory, and the watch in it."""

    def __init__(self, shell: list[str], directory: Path) -> None:
        self.job = directory / TOKEN
        self.job.mkdir()
        self._events = directory / "events"
        self._journal = Journal(BEGINS)
        self._process = subprocess.Popen(
            [*shell, "-c", scripts.watch(str(directory), NONCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # it ends its whole group
        )
        while not self._journal.begun:
            self._read()

    def _read(self) -> list[Event]:
        assert self._process.stdout is not None
        return self._journal.feed(self._process.stdout.readline())

    def event(self, line: str) -> Event:
        with self._events.open("a") as file:
            file.write(line + "\n")
        while True:
            if found := self._read():
                return found[0]

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(params=SHELLS, ids=" ".join)
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    one = Watched(request.param, tmp_path)
    try:
        yield one
    finally:
        one.close()


def test_starts_and_good_ends_are_told_with_their_files(watched: Watched) -> None:
    (watched.job / "start").write_text("7 0 node 1000\n")
    event = watched.event(f"start {TOKEN} 7")
    assert (event.kind, event.token, event.index) == ("start", TOKEN, None)
    assert event.files.start == Start("7", 0, "node", 1000)
    (watched.job / "end").write_text("0 - 7 1001 0\n")
    (watched.job / "err").write_text("a warning\n")
    event = watched.event(f"end {TOKEN} 0 -")
    assert event.end == End(0, False, "7", 1001)
    assert event.files.err_tail == []


@pytest.mark.parametrize("end", ["3 - 7 1001 0", "143 TERM 7 1001 0", "0 TERM 7 1001 0", ""])
def test_other_ends_are_told_with_all_that_a_look_would_tell(watched: Watched, end: str) -> None:
    """Nobody has to look at each."""
    (watched.job / "end").write_text(f"{end}\n")
    (watched.job / "err").write_text("first\nlast")
    (watched.job / "log").write_text("killed\n")
    (watched.job / "cancel").write_text("1000\n")
    (watched.job / "timeout").write_text("1001\n")
    event = watched.event(f"end {TOKEN} ? ?")
    assert (event.end is None) is (not end)
    assert (event.files.err_tail, event.files.log_tail) == (["first", "last"], ["killed"])
    assert (event.files.cancelled(None), event.files.timeout) == (1000, 1001)


def test_a_task_of_an_array_is_told_with_its_own_files(watched: Watched) -> None:
    (watched.job / "end.4").write_text("3 - 7 1001 0\n")
    (watched.job / "err.4").write_text("of four\n")
    (watched.job / "err.5").write_text("of five\n")
    (watched.job / "cancel.4").write_text("1000\n")
    event = watched.event(f"end {TOKEN}.4 3 -")
    assert (event.index, event.end) == (4, End(3, False, "7", 1001))
    assert event.files.err_tail == ["of four"]
    assert (event.files.cancelled(4), event.files.cancelled(5)) == (1000, None)


def test_what_is_told_of_one_is_not_taken_for_another() -> None:
    other = "smbbbbbbbbbbbb"
    text = f"more {other} tailerr of another\nmore {other} owner 5\nend {TOKEN} 3 - 7 1001 0\n"
    (event,) = Journal(BEGINS).feed(text.encode())
    assert (event.token, event.files.err_tail, event.files.owner) == (TOKEN, [], None)


LINES = st.sampled_from(
    [
        BEGINS,
        f"start {TOKEN} 7 0 node 1000",
        f"end {TOKEN} 0 - 7 1001 0",
        f"more {TOKEN} tailerr words",
        f"more {TOKEN}.4 cancel.4 1000",
        f"end {TOKEN}.4 3 - 7 1001 0",
        "end smshort 0 - 7 1001 0",
        "more",
        "",
    ]
)


@given(st.lists(LINES | st.text(max_size=30), max_size=20), st.integers(1, 40))
def test_however_it_arrives_it_means_the_same(lines: list[str], size: int) -> None:
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
    whole, pieces = Journal(BEGINS), Journal(BEGINS)
    told = [
        event for at in range(0, len(data), size) for event in pieces.feed(data[at : at + size])
    ]
    assert told == whole.feed(data)
    assert pieces.begun is whole.begun
