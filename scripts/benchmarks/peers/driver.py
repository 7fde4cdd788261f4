"""The side of a peer that lives in a process of its own: does what lines of JSON ask for.

So its threads, its greenlets and its memory touch nobody else's figures. One line is one request
or one answer; net_openssh.pl speaks the same.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any


class Driver:
    """One library. A subclass says how it connects and runs."""

    def connect(self, account: Mapping[str, Any]) -> Any:
        """An open connection."""
        raise NotImplementedError

    def run(self, connection: Any, command: str, data: bytes) -> bytes:
        """A command's stdout. Raises unless it ended with 0."""
        raise NotImplementedError

    def close(self, connection: Any) -> None:
        connection.close()

    def together(self, works: Sequence[Callable[[], None]]) -> None:
        """All of them at once; raises what the first of them raised."""
        errors: list[BaseException] = []

        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


class _Jobs:
    """What can be asked for, by its name."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._connections: list[Any] = []
        self._account: Mapping[str, Any] = {}

    def connect(self, connections: int, **account: Any) -> dict[str, float]:
        self._account = account
        self._connections = [self._driver.connect(account) for _ in range(connections)]
        return {}

    def sequential(self, count: int, command: str) -> dict[str, float]:
        took = []
        cpu = time.process_time()
        for _ in range(count):
            begun = time.perf_counter()
            self._driver.run(self._connections[0], command, b"")
            took.append(time.perf_counter() - begun)
        return {"p50": median(took), "own_cpu": (time.process_time() - cpu) / count}

    def crowd(
        self, tasks: int, count: int, command: str, input: int, output: int
    ) -> dict[str, float]:
        data = bytes(input)

        def worker(number: int) -> None:
            connection = self._connections[number % len(self._connections)]
            for _ in range(count // tasks):
                found = len(self._driver.run(connection, command, data))
                if found != output:
                    raise RuntimeError(f"{found} bytes came, not {output}")

        begun, cpu = time.perf_counter(), time.process_time()
        if tasks == 1:
            worker(0)
        else:
            self._driver.together([lambda n=n: worker(n) for n in range(tasks)])  # type: ignore[misc]
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "own_cpu": (time.process_time() - cpu) / count}

    def dial(self, count: int, tasks: int) -> dict[str, float]:
        """`count` log-ins, all at once if `tasks` is more than 1. Their ends are not timed."""
        took: list[float] = []
        opened: list[Any] = []

        def one() -> None:
            begun = time.perf_counter()
            opened.append(self._driver.connect(self._account))
            took.append(time.perf_counter() - begun)

        begun, cpu = time.perf_counter(), time.process_time()
        if tasks == 1:
            for _ in range(count):
                one()
        else:
            self._driver.together([one] * count)
        seconds = time.perf_counter() - begun
        cpu = (time.process_time() - cpu) / count
        for connection in opened:
            self._driver.close(connection)
        return {"open": median(took), "seconds": seconds, "cpu": cpu}


def at_once(connection: socket.socket) -> None:
    """Turns Nagle's algorithm off, as OpenSSH and asyncssh do.

    The libraries that leave it on wait for the other side's delayed acknowledgement: some 40 ms a
    command, beside which nothing else could be seen.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)


def serve(driver: Driver) -> None:
    """Answers until there are no more requests."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    jobs = _Jobs(driver)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(jobs, request.pop("job"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
