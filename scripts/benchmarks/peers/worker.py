"""Our side of a peer that lives in a process of its own."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from typing import Any


class Worker:
    """A contestant that is asked by lines of JSON: see driver.py."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, line: Sequence[str], account: dict[str, Any], connections: int) -> Worker:
        """Starts it, and lets it connect."""
        process = await asyncio.create_subprocess_exec(
            *line, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        worker = cls(process)
        try:
            await worker._ask("connect", connections=connections, **account)
        except BaseException:
            await worker.stop()
            raise
        return worker

    async def sequential(self, count: int, command: str) -> dict[str, float]:
        return await self._ask("sequential", count=count, command=command)

    async def crowd(
        self, tasks: int, count: int, command: str, *, input: int = 0, output: int = 0
    ) -> dict[str, float]:
        return await self._ask(
            "crowd", tasks=tasks, count=count, command=command, input=input, output=output
        )

    async def dial(self, count: int, tasks: int) -> dict[str, float]:
        """Log-ins: the median `open`, `seconds` in all, and the `cpu` of one."""
        return await self._ask("dial", count=count, tasks=tasks)

    async def stop(self) -> None:
        """Ends it; its connections end with it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _ask(self, job: str, **details: Any) -> dict[str, float]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("it was started without pipes")
        try:
            stdin.write(json.dumps({"job": job, **details}).encode() + b"\n")
            line = await stdout.readline()
        except BaseException:
            stdin.close()  # or a late answer would be taken for the next one's
            raise
        if not line:
            raise RuntimeError("it ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer
