"""The figures of a pool."""

from __future__ import annotations

from dataclasses import dataclass

from sshmux.config import PoolConfig
from sshmux.pool.events import State
from sshmux.pool.slots import PooledConnection, Slots
from sshmux.pool.stats import Counters, metrics


@dataclass
class Link:
    usable: bool = True


def test_an_empty_pool_has_the_keys_of_the_seed() -> None:
    figures = metrics(Slots[Link](PoolConfig()), Counters(), 100.0)
    seed = ["total_connections", "in_use", "available", "avg_age_seconds", "avg_idle_seconds"]
    assert {key: figures[key] for key in seed} == dict.fromkeys(seed, 0)
    assert figures["wait_seconds_avg"] == 0
    assert figures["pool_size"] == 5
    assert set(figures["states"]) == {state.value for state in State}


def test_figures_of_a_busy_pool() -> None:
    book: Slots[Link] = Slots(PoolConfig(pool_size=3))
    busy, idle = (PooledConnection(Link(), "hpc", at, at) for at in (10.0, 30.0))
    for each in (busy, idle):
        book.reserve()
        book.dialled(each)
    busy.mark_used(80)
    idle.mark_used(60)
    idle.mark_available(70)
    book.reserve()
    counters = Counters(requests=7)
    counters.waited(1)
    counters.waited(3)
    figures = metrics(book, counters, 100.0)
    assert (figures["total_connections"], figures["in_use"], figures["available"]) == (2, 1, 1)
    assert (figures["avg_age_seconds"], figures["avg_idle_seconds"]) == (80, 30)
    assert (figures["dialling"], figures["closing"], figures["waiting"]) == (1, 0, 0)
    assert figures["states"]["in use"] == figures["states"]["available"] == 1
    assert figures["requests"] == 7
    assert (figures["requests_waited"], figures["wait_seconds_avg"]) == (2, 2)
    assert figures["wait_seconds_max"] == 3
