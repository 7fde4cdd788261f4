"""Many descriptors in one of the loop's."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import weakref
from collections.abc import Iterator

import pytest

from sshmux.system.watcher import Plain, Watcher, watcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is add_reader")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.read = 0

    def take(self) -> None:
        self.read += len(os.read(self.reading, 1))

    def say(self, text: bytes = b"x") -> None:
        os.write(self.writing, text)

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    made = [Pipe() for _ in range(200)]
    yield made
    for pipe in made:
        pipe.close()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0.001)


async def test_each_is_called_while_there_is_something(pipes: list[Pipe]) -> None:
    watched = Watcher(asyncio.get_running_loop())
    for pipe in pipes:
        watched.add(pipe.reading, pipe.take)
        pipe.say(b"abc")
    await turns(20)
    assert {pipe.read for pipe in pipes} == {3}
    for pipe in pipes:
        watched.remove(pipe.reading)


async def test_it_is_open_only_while_it_watches(pipes: list[Pipe]) -> None:
    before = descriptors()
    watched = Watcher(asyncio.get_running_loop())
    assert descriptors() == before
    for _ in range(3):
        watched.add(pipes[0].reading, pipes[0].take)
        watched.add(pipes[1].reading, pipes[1].take)
        assert descriptors() == before + 1
        watched.remove(pipes[0].reading)
        assert descriptors() == before + 1
        watched.remove(pipes[1].reading)
        watched.remove(pipes[1].reading)  # once more is no harm
        assert descriptors() == before


async def test_what_was_removed_is_not_called_in_the_same_turn(pipes: list[Pipe]) -> None:
    watched = Watcher(asyncio.get_running_loop())
    called = []

    def only(number: int) -> None:
        called.append(number)
        for other in range(10):
            watched.remove(pipes[other].reading)

    for number in range(10):
        watched.add(pipes[number].reading, lambda number=number: only(number))  # type: ignore[misc]
        pipes[number].say()
    await turns()
    assert len(called) == 1


async def test_who_got_the_number_of_a_removed_one_is_not_called_for_it() -> None:
    watched = Watcher(asyncio.get_running_loop())
    first, second = Pipe(), Pipe()
    called = []

    def replace(mine: Pipe, others: Pipe) -> None:
        watched.remove(mine.reading)
        watched.remove(others.reading)
        number = others.reading
        os.close(others.reading)
        os.dup2(new.reading, number)
        others.reading = number
        watched.add(number, lambda: called.append("new"))

    new = Pipe()
    watched.add(first.reading, lambda: replace(first, second))
    watched.add(second.reading, lambda: replace(second, first))
    first.say()
    second.say()
    await turns()
    assert called == []
    new.say()
    await turns(1)
    assert called
    for pipe in (first, second):
        watched.remove(pipe.reading)
    for pipe in (first, second, new):
        pipe.close()


async def test_an_error_of_one_is_the_loops_to_tell_and_nobody_elses(pipes: list[Pipe]) -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    watched = Watcher(loop)

    def fail() -> None:
        watched.remove(pipes[0].reading)
        raise ZeroDivisionError

    watched.add(pipes[0].reading, fail)
    watched.add(pipes[1].reading, pipes[1].take)
    pipes[0].say()
    pipes[1].say()
    await turns()
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]
    assert pipes[1].read == 1
    watched.remove(pipes[1].reading)


def test_a_loop_that_was_closed_with_something_watched(pipes: list[Pipe]) -> None:
    before = descriptors()
    loop = asyncio.new_event_loop()
    found = watcher(loop)
    assert isinstance(found, Watcher)
    assert watcher(loop) is found
    found.add(pipes[0].reading, pipes[0].take)
    loop.close()
    found.remove(pipes[0].reading)
    assert descriptors() == before
    with pytest.raises(RuntimeError, match="closed"):
        found.add(pipes[0].reading, pipes[0].take)
    ref = weakref.ref(loop)
    del loop, found
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("kind", [Watcher, Plain])
async def test_what_is_not_urgent_is_done_before_long(kind: type[Watcher] | type[Plain]) -> None:
    watched = kind(asyncio.get_running_loop())
    done: list[int] = []
    both = asyncio.Event()

    def second() -> None:
        done.append(2)
        both.set()

    watched.later(lambda: done.append(1))
    watched.later(second)
    assert done == []
    async with asyncio.timeout(5):
        await both.wait()
        assert done == [1, 2]
        both.clear()
        watched.later(second)
        await both.wait()


async def test_elsewhere_it_is_the_loops_own(pipes: list[Pipe]) -> None:
    watched = Plain(asyncio.get_running_loop())
    watched.add(pipes[0].reading, pipes[0].take)
    pipes[0].say(b"ab")
    await turns()
    watched.remove(pipes[0].reading)
    assert pipes[0].read == 2
