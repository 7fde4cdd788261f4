"""What everybody who takes part can be asked to do, and the doing of it in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from .measure import one_by_one


class Contestant(Protocol):
    """Somebody with open connections."""

    async def sequential(self, count: int, command: str) -> dict[str, float]:
        """Commands one after the other on one connection: `p50` and `own_cpu` of one."""

    async def crowd(
        self, tasks: int, count: int, command: str, *, input: int = 0, output: int = 0
    ) -> dict[str, float]:
        """`count` commands, `tasks` at once: `seconds` in all, and `own_cpu` of one.

        Each gets `input` bytes on stdin, and must write `output` bytes.
        """


Run = Callable[[int, str, bytes], Awaitable[bytes]]


class Coroutines:
    """A contestant of the event loop.

    Parameters:
        run: runs a command, given the number of the task, the command and its stdin; returns its
            stdout.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    async def sequential(self, count: int, command: str) -> dict[str, float]:
        return await one_by_one(count, lambda: self._run(0, command, b""))

    async def crowd(
        self, tasks: int, count: int, command: str, *, input: int = 0, output: int = 0
    ) -> dict[str, float]:
        data = bytes(input)

        async def worker(number: int) -> None:
            for _ in range(count // tasks):
                found = len(await self._run(number, command, data))
                if found != output:
                    raise RuntimeError(f"{found} bytes came, not {output}")

        begun, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(worker(number))
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "own_cpu": (time.process_time() - cpu) / count}
