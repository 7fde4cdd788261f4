"""Clocks, counts, and rounds in which nobody has the better half of the machine."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Samples:
    """One value for each round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def per(self, other: Samples) -> Samples:
        """Round by round: what slowed one round down slowed both of its sides down."""
        return Samples(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def minus(self, other: Samples) -> Samples:
        return Samples(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def times(self, factor: float) -> Samples:
        return Samples(tuple(value * factor for value in self.values))


@dataclass(frozen=True)
class Cost:
    """What a block of work took: by the clock, and of processors."""

    seconds: float
    own_cpu: float  # this Python's, all threads
    child_cpu: float  # that of the children it has reaped


class Stopwatch:
    """`with Stopwatch() as watch: …`, then `watch.cost`."""

    cost: Cost

    def __enter__(self) -> Stopwatch:
        self._begun = _clocks()
        return self

    def __exit__(self, *exc: object) -> None:
        ended = _clocks()
        self.cost = Cost(
            *(after - before for before, after in zip(self._begun, ended, strict=True))
        )


def _clocks() -> tuple[float, float, float]:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), time.process_time(), children.ru_utime + children.ru_stime


Contender = Callable[[], Awaitable[Mapping[str, float]]]
_PATIENCE = 60  # seconds for one turn of one contender


async def interleave(
    rounds: int,
    contenders: Mapping[str, Contender],
    *,
    warm_up: int = 1,
    dropped: Callable[[str, Exception], object],
) -> dict[str, dict[str, Samples]]:
    """Lets everybody have a turn in each round, in an order that moves on by one.

    Returns for each contender the values it reported, by their names. The rounds of the warm-up
    are not counted. Who fails is told to `dropped`, and takes no further part: the figures of the
    others are no worse for that.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in contenders}
    names = list(contenders)
    for number in range(-warm_up, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if name not in found:
                continue
            gc.collect()  # nobody pays for another's garbage
            try:
                async with asyncio.timeout(_PATIENCE):
                    values = await contenders[name]()
            except Exception as error:
                del found[name]
                dropped(name, error)
                continue
            if number >= 0:
                for key, value in values.items():
                    found[name].setdefault(key, []).append(value)
    return {
        name: {key: Samples(tuple(values)) for key, values in by_key.items()}
        for name, by_key in found.items()
    }


async def one_by_one(count: int, work: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Does something `count` times, one after the other: the median, and processor time each."""
    took = []
    with Stopwatch() as watch:
        for _ in range(count):
            begun = time.perf_counter()
            await work()
            took.append(time.perf_counter() - begun)
    return {
        "p50": statistics.median(took),
        "own_cpu": watch.cost.own_cpu / count,
        "child_cpu": watch.cost.child_cpu / count,
    }


@dataclass
class ProcessStarts:
    """Every process that this Python starts, from the moment `watch()` is called.

    An audit hook sees them all, however short they live, and nothing that others do.
    """

    lines: list[Sequence[str]] = field(default_factory=list)
    on_start: Callable[[Sequence[str]], object] | None = None
    _watching: bool = False

    def watch(self) -> None:
        if not self._watching:
            self._watching = True
            sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in ("os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
            self._add((event,))
        elif event == "subprocess.Popen":
            line = arguments[1]
            self._add(tuple(map(os.fsdecode, line)) if isinstance(line, list | tuple) else (event,))

    def _add(self, line: Sequence[str]) -> None:
        self.lines.append(line)
        if self.on_start is not None:
            self.on_start(line)


STARTS = ProcessStarts()


def column(found: Mapping[str, Mapping[str, Samples]], key: str) -> dict[str, Samples]:
    """One of the values that were reported, of all who reported it."""
    return {who: values[key] for who, values in found.items() if key in values}


async def each(count: int, work: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Seconds for one of so many."""
    begun = time.perf_counter()
    await work()
    return {"seconds": (time.perf_counter() - begun) / count}
