"""A Python program that uses a keyring, told what to do line by line.

Which keyring a program uses is settled once, when it first asks: so each test brings programs of
its own. `python -m tests.keyring_programs` reads JSON, `[name, [arguments]]`, and answers each line
with one: `{"value": …, "warnings": […]}`. It imports keyring only then, as programs with sshmux do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sshmux import ConnectionManager
from sshmux.errors import ConfigError
from sshmux.login.credentials import DEADLINE, Credentials
from sshmux.system.secret import Secret

from .support import PATIENCE

ROOT = Path(__file__).parent.parent


# In the program


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


class Steps:
    """What the program can be told to do: the public methods, by their names."""

    def __init__(self, service: str, deadline: float) -> None:
        self._credentials = Credentials(service, deadline)
        self._manager = ConnectionManager(keyring_service=service)
        self._manager._credentials = self._credentials  # its deadline is no option

    def set(self, name: str, secret: str) -> str | None:
        """What was wrong with it, if it was refused."""
        try:
            self._credentials.set(name, Secret(secret))
        except ConfigError as error:
            return str(error)
        return None

    def get(self, name: str) -> str | None:
        return _revealed(self._credentials.get(name))

    def delete(self, name: str) -> bool:
        return self._credentials.delete(name)

    def lookup(self, name: str) -> str | None:
        return _revealed(asyncio.run(self._credentials.lookup(name)))

    def lookup_while_ticking(self, name: str) -> tuple[str | None, int, float]:
        """The secret, how often the loop went round meanwhile, and its longest pause."""

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.01)
                ticks.append(time.monotonic())

        async def main() -> str | None:
            ticker = asyncio.ensure_future(tick())
            secret = _revealed(await self._credentials.lookup(name))
            ticker.cancel()
            ticks.append(time.monotonic())
            return secret

        ticks = [time.monotonic()]
        secret = asyncio.run(main())
        pauses = (later - sooner for sooner, later in itertools.pairwise(ticks))
        return secret, len(ticks), max(pauses)

    def register(self, **arguments: Any) -> None:
        """The cluster of the following steps, 1, of a manager with the same credentials."""
        self._manager.register_cluster(1, **arguments)

    def set_password(self, password: str) -> None:
        self._manager.set_password(1, password)

    def get_password(self) -> str | None:
        return self._manager.get_password(1)

    def delete_password(self) -> None:
        self._manager.delete_password(1)

    def log_in(self) -> str:
        """What a remote command says, or how the log-in failed."""

        async def main() -> str:
            async with self._manager as manager, manager.get_connection(1) as connection:
                return str((await connection.run("echo in")).stdout)

        try:
            return asyncio.run(main())
        except Exception as error:
            return f"{type(error).__name__}: {error}"


class _Collecting(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main() -> None:
    service, deadline = sys.argv[1:]
    collecting = _Collecting()
    logging.getLogger().addHandler(collecting)
    steps = Steps(service, float(deadline))
    for line in sys.stdin:
        name, positional, named = json.loads(line)
        value = getattr(steps, name)(*positional, **named)
        print(json.dumps({"value": value, "warnings": collecting.messages}), flush=True)


# In the test


class Program:
    """A running program; its methods are those of `Steps`.

    Attributes:
        warnings: what it has logged so far, warnings and worse.
        seconds: how long the last step took.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.warnings: list[str] = []
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return lambda *positional, **named: self._tell([name, positional, named])

    def _tell(self, step: list[object]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        started = time.monotonic()
        print(json.dumps(step), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        self.seconds = time.monotonic() - started
        assert line, "the program has died: see its standard error"
        answer = json.loads(line)
        self.warnings = answer["warnings"]
        return answer["value"]

    def end(self) -> float:
        """Lets it come to its end; returns the seconds that took."""
        assert self._process.stdin is not None
        started = time.monotonic()
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0
        return time.monotonic() - started


@contextmanager
def program(
    env: dict[str, str], *, service: str = "sshmux", deadline: float = DEADLINE
) -> Iterator[Program]:
    """Starts one; in the end it has to end by itself, without an error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.keyring_programs", service, str(deadline)],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        started = Program(process)
        try:
            yield started
            started.end()
        finally:
            process.kill()


if __name__ == "__main__":
    main()
