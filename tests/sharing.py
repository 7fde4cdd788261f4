"""A program of its own that uses sshmux, told what to do line by line: for what programs share.

`python -m tests.sharing JSON` makes one manager (`Settings` says how) and answers each line of JSON
on its stdin, `[number, name, [arguments]]`, with one: `[number, result, error]`. Several may be
under way at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp

from sshmux import ConnectionManager, Prompt

if TYPE_CHECKING:
    from sshmux.testing import PrivateServer

ROOT = Path(__file__).parent.parent
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


# In the program


class User:
    """Types an answer ("code": the current one-time code), and has each question noted."""

    def __init__(self, answer: str | None, asked: Path, pause: float) -> None:
        self._answer, self._asked, self._pause = answer, asked, pause

    async def __call__(self, prompt: Prompt) -> str | None:
        with self._asked.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {prompt.kind} {prompt.who}\n")
        await asyncio.sleep(self._pause)
        return pyotp.TOTP(SECRET).now() if self._answer == "code" else self._answer


class Steps:
    """What it can be told to do."""

    def __init__(self, manager: ConnectionManager) -> None:
        self.manager = manager

    async def run(self, cluster: str, line: str) -> str:
        async with self.manager.get_connection(cluster) as connection:
            return str((await connection.run(line, check=True)).stdout)

    async def many(self, cluster: str, line: str, count: int) -> int:
        """So many runs one after the other, each seen to be whole; how many there were."""
        for number in range(count):
            assert await self.run(cluster, f"{line}; echo {number}") == f"{number}\n"
        return count

    async def disconnect(self, cluster: str) -> None:
        await self.manager.disconnect(cluster)

    async def code(self, cluster: str) -> bool:
        self.manager.set_totp_secret(cluster, SECRET, keyring=False)
        return await self.manager.test_connection(cluster)

    async def limit(self, cluster: str) -> int:
        return self.manager._pool(cluster).dialler.facts.max_sessions


async def _main(settings: dict[str, Any]) -> None:
    user = None
    if settings["user"]:
        user = User(settings["answer"], Path(settings["asked"]), settings["pause"])
    async with ConnectionManager(prompter=user, **settings["manager"]) as manager:
        for name, how in settings["clusters"].items():
            manager.register_cluster(name, **how)
        steps, tasks = Steps(manager), set[asyncio.Task[None]]()
        reader = asyncio.StreamReader(limit=2**20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        print("[0, null, null]", flush=True)
        while line := await reader.readline():
            tasks.add(asyncio.ensure_future(_answer(steps, *json.loads(line))))
        await asyncio.gather(*tasks)


async def _answer(steps: Steps, number: int, name: str, words: list[Any]) -> None:
    result, failure = None, None
    try:
        result = await getattr(steps, name)(*words)
    except Exception as error:
        failure = [type(error).__name__, str(error)]
    print(json.dumps([number, result, failure]), flush=True)


# In the test


class Failed(Exception):
    """What the program was told ended in an error there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


class Program:
    """Such a program, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {0: asyncio.Future()}
        self._reading = asyncio.ensure_future(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def gone(self) -> bool:
        return self._reading.done()

    async def ready(self) -> None:
        await self._waiting[0]

    def start(self, name: str, *words: Any) -> asyncio.Future[Any]:
        """Tells it to do something; what comes of it."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps([number, name, words]) + "\n").encode())
        return future

    async def do(self, name: str, *words: Any) -> Any:
        async with asyncio.timeout(90):
            return await self.start(name, *words)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self._reading
        await self._process.wait()

    async def stop(self) -> int:
        """Lets it end by itself: its manager is stopped."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(60):
            await self._reading
            return await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, result, failure = json.loads(line)
            future = self._waiting.pop(number)
            if future.done():
                continue
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(Failed(*failure))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(EOFError("the program has ended"))
            future.exception()  # nobody may want to know
        self._waiting.clear()


class Desk:
    """One user's programs, with one control directory and one file of questions asked."""

    def __init__(self, directory: Path, asked: Path, clusters: dict[str, dict[str, Any]]) -> None:
        self.directory, self._asked, self.clusters = directory, asked, clusters

    @property
    def asked(self) -> list[str]:
        """Who was asked for what, a line each."""
        return self._asked.read_text("utf-8").splitlines() if self._asked.exists() else []

    @asynccontextmanager
    async def program(
        self,
        *,
        user: bool = True,
        answer: str | None = "code",
        pause: float = 0.5,
        **manager: Any,
    ) -> AsyncIterator[Program]:
        """A program, which is killed at the end of the block if it still runs."""
        program = await self.launch(user=user, answer=answer, pause=pause, **manager)
        try:
            yield program
        finally:
            program.signal(signal.SIGCONT)
            await program.kill()

    async def launch(
        self,
        *,
        user: bool = True,
        answer: str | None = "code",
        pause: float = 0.5,
        **manager: Any,
    ) -> Program:
        """A program, which is the caller's to end."""
        settings = {
            "user": user,
            "answer": answer,
            "pause": pause,
            "asked": str(self._asked),
            "clusters": self.clusters,
            "manager": {"control_dir": str(self.directory), **manager},
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.sharing", json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=2**24,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        program = Program(process)
        await program.ready()
        return program


def way_to(server: PrivateServer, config: Path | None = None) -> dict[str, Any]:
    """How a server is registered."""
    return {"host": server.alias, "config_file": str(config or server.config_file)}


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
