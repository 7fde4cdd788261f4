"""How many log-ins may be under way: to one server, and in all."""

from __future__ import annotations

import asyncio

import pytest

from sshmux.config import ConnectionConfig, PoolConfig
from sshmux.login.context import DialLimiter
from sshmux.system.deadline import Deadline


def places(each: int, all_: int) -> DialLimiter:
    return DialLimiter(PoolConfig(max_parallel_dials=each, max_total_dials=all_))


async def crowd(places: DialLimiter, hosts: list[ConnectionConfig]) -> tuple[int, dict[str, int]]:
    """The most at once, in all and of each host."""
    under_way: list[str] = []
    most, of_each = 0, dict.fromkeys((config.address for config in hosts), 0)

    async def log_in(config: ConnectionConfig) -> None:
        nonlocal most
        give_back = await places.take(config, Deadline(60))
        under_way.append(config.address)
        most = max(most, len(under_way))
        of_each[config.address] = max(of_each[config.address], under_way.count(config.address))
        await asyncio.sleep(0.005)
        under_way.remove(config.address)
        give_back()

    await asyncio.gather(*map(log_in, hosts))
    return most, of_each


async def test_of_one_server_and_of_all() -> None:
    a, b = ConnectionConfig("a"), ConnectionConfig("b")
    assert await crowd(places(2, 3), [a, b] * 6) == (3, {"a": 2, "b": 2})
    assert await crowd(places(4, 16), [a] * 9) == (4, {"a": 4})


async def test_a_server_is_a_host_and_a_port_whoever_logs_in() -> None:
    ada, eve = ConnectionConfig("a", username="ada"), ConnectionConfig("a", username="eve")
    assert (await crowd(places(2, 16), [ada, eve] * 4))[0] == 2
    assert (await crowd(places(2, 16), [ada, ConnectionConfig("a", 2222)] * 4))[0] == 4


@pytest.mark.parametrize("which", ["own", "everybody's"])
async def test_cancelled_while_it_waits_it_takes_no_place(which: str) -> None:
    found = places(1, 5) if which == "own" else places(5, 1)
    config = ConnectionConfig("a")
    give_back = await found.take(config, Deadline(60))
    deadline = Deadline(60)
    waiting = asyncio.ensure_future(found.take(config, deadline))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    give_back()
    for _ in range(3):  # every place is there, and the deadline runs on
        (await asyncio.wait_for(found.take(config, Deadline(60)), 1))()
    left = deadline.left
    await asyncio.sleep(0.01)
    assert deadline.left < left


async def test_waiting_does_not_count() -> None:
    found, config, deadline = places(1, 1), ConnectionConfig("a"), Deadline(0.05)
    give_back = await found.take(config, Deadline(60))

    async def later() -> None:
        await asyncio.sleep(0.15)
        give_back()

    async with deadline.enforced():
        _, mine = await asyncio.gather(later(), found.take(config, deadline))
    mine()
    assert deadline.left > 0
