"""A deadline that stands still while a user is asked."""

from __future__ import annotations

import asyncio

import pytest

from sshmux.system.deadline import Deadline


async def test_it_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline(0.02).enforced():
            await asyncio.sleep(10)


async def test_it_stands_still() -> None:
    deadline = Deadline(0.1)
    async with deadline.enforced():
        with deadline.stopped():
            await asyncio.sleep(0.3)
            left = deadline.left
            await asyncio.sleep(0.05)
            assert deadline.left == left
    assert 0 < deadline.left <= 0.1


async def test_stops_may_overlap() -> None:
    deadline = Deadline(0.1)

    async def stop(seconds: float) -> None:
        with deadline.stopped():
            await asyncio.sleep(seconds)

    async with deadline.enforced():
        await asyncio.gather(stop(0.2), stop(0.3), stop(0.1))
    assert deadline.left > 0


async def test_it_may_be_extended() -> None:
    deadline = Deadline(0.05)
    async with deadline.enforced():
        deadline.extend(0.3)
        await asyncio.sleep(0.15)
    with deadline.stopped():
        deadline.extend(1)
    assert 1 < deadline.left < 1.3


async def test_it_goes_on_afterwards() -> None:
    deadline = Deadline(0.05)

    async def work() -> None:
        async with deadline.enforced():
            with deadline.stopped():
                await asyncio.sleep(0.1)
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await work()


async def test_it_may_be_stopped_before_it_is_enforced_and_used_again() -> None:
    deadline = Deadline(0.2)
    with deadline.stopped():
        await asyncio.sleep(0.3)
    for _ in range(2):
        async with deadline.enforced():
            await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        async with deadline.enforced():
            await asyncio.sleep(10)


async def test_a_cancellation_is_one() -> None:
    async def work() -> None:
        async with Deadline(10).enforced():
            await asyncio.sleep(10)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_extended_while_it_is_stopped_it_has_both() -> None:
    deadline = Deadline(0.1)
    async with deadline.enforced():
        with deadline.stopped():
            deadline.extend(0.2)
            await asyncio.sleep(0.15)
        assert 0.2 < deadline.left <= 0.3
        await asyncio.sleep(0.15)


async def test_an_error_in_a_stop_lets_it_go_on() -> None:
    deadline = Deadline(0.05)
    with pytest.raises(KeyError):
        with deadline.stopped():
            raise KeyError
    with pytest.raises(TimeoutError):
        async with deadline.enforced():
            await asyncio.sleep(10)


async def test_one_that_has_passed_ends_at_once_but_not_while_it_is_stopped() -> None:
    deadline = Deadline(-1)
    assert deadline.left < 0
    with deadline.stopped():
        async with deadline.enforced():
            await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError):
        async with deadline.enforced():
            await asyncio.sleep(10)


async def test_the_blocks_own_timeout_is_no_deadline() -> None:
    deadline = Deadline(60)
    with pytest.raises(TimeoutError):
        async with deadline.enforced(), asyncio.timeout(0.01):
            await asyncio.sleep(10)
    assert deadline.left > 50


async def test_a_stop_that_outlives_the_block_is_harmless() -> None:
    deadline = Deadline(60)
    stop = deadline.stopped()
    async with deadline.enforced():
        stop.__enter__()
    stop.__exit__(None, None, None)
    assert 59 < deadline.left <= 60


async def test_one_without_an_end() -> None:
    deadline = Deadline(None)
    async with deadline.enforced():
        with deadline.stopped():
            await asyncio.sleep(0.01)
        deadline.extend(1)
        await asyncio.sleep(0.01)
    assert deadline.left > 1e9
